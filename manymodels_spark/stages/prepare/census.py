"""The census of a spec's partitions: who they are, how many rows each has, which are inactive, and what is
wrong with some of them.

One pass over the rows. Ids are computed here, in Python, for every distinct key.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.types import StructType

from manymodels_spark.frames import instant
from manymodels_spark.keys import PartitionKey
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.prepare import casting as flag
from manymodels_spark.stages.prepare.activity import Activity
from manymodels_spark.stages.prepare.problems import problem_of

COUNTS = (
    "rows",
    "times",
    "copies",
    "null_target",
    "null_key",
    "bad_times",
    "not_numeric",
    "not_finite",
    "negatives",
)
MOST_BUCKETS_OF_A_WAVE = 16
SMALLEST_WAVE = 24


@dataclass(frozen=True)
class Census:
    """A row per partition: its columns, id, key, counts, span, fences, problem, until when it is filled and
    whether it is inactive. Broken ones are in it, too.
    """

    rows: list[dict[str, Any]]
    table: DataFrame
    activity: Activity

    @classmethod
    def of(cls, rows: DataFrame, spec: Spec) -> Census:
        """Count the typed rows of every partition (the frame of `casting.cast_rows`)."""
        grouped = rows.groupBy(*(quote(name) for name in spec.partition_by))
        counted = [row.asDict() for row in grouped.agg(*_facts(spec)).collect()]
        number = buckets(len(counted), spec.limits.partitions_per_wave)
        activity = Activity.of(counted, spec)
        entries = [_entry(row, spec, activity, rows.schema, number) for row in counted]
        return cls(entries, _table(rows.sparkSession, entries, _schema(rows.schema, spec)), activity)

    def revived(self, ids: set[str]) -> Census:
        """The same with these partitions active."""
        until = self.activity.until
        changed = {"inactive": False, "filled_until": None if until is None else until.isoformat(" ")}
        entries = [{**entry, **changed} if entry["partition_id"] in ids else entry for entry in self.rows]
        return replace(self, rows=entries, table=_table(self.table.sparkSession, entries, self.table.schema))


def _table(spark: SparkSession, entries: list[dict[str, Any]], schema: StructType) -> DataFrame:
    return spark.createDataFrame(
        [tuple(entry[name] for name in schema.fieldNames()) for entry in entries], schema
    )


def buckets(partitions: int, largest: int) -> int:
    """Into how many buckets silver is cut, so that a wave reads little more than its own rows."""
    return max(1, -(-partitions // largest), min(MOST_BUCKETS_OF_A_WAVE, -(-partitions // SMALLEST_WAVE)))


def _facts(spec: Spec) -> list[Column]:
    def count(condition: Column) -> Column:
        return F.count(F.when(condition, 1))

    kept = ~F.col(flag.BAD_TIME) & ~F.col(flag.NOT_FINITE)
    facts = [F.count("*").alias("rows"), count(F.col(flag.NULL_KEY)).alias("null_key")]
    names = {
        "bad_times": flag.BAD_TIME,
        "not_numeric": flag.NOT_NUMERIC,
        "not_finite": flag.NOT_FINITE,
        "null_target": flag.NULL_TARGET,
        "negatives": flag.NEGATIVE,
    }
    facts += [count(F.col(column)).alias(name) for name, column in names.items()]
    forecast = spec.task == "forecast" and spec.columns.time is not None
    time = F.when(kept, F.col(quote(str(spec.columns.time)))) if forecast else F.lit(None).cast("timestamp")
    facts += [count(kept).alias("kept"), F.count_distinct(time).alias("times")]
    target = F.col(quote(spec.columns.target))
    demand = F.max(F.when(target != 0, time)) if forecast else F.lit(None).cast("timestamp")
    spans = {"first": F.min(time), "last": F.max(time), "last_demand": demand}
    spans["copied_at"] = F.max(F.col(flag.ORDER)["t"])
    facts += [moment.cast("string").alias(name) for name, moment in spans.items()]
    quartiles = F.percentile_approx(target, [0.25, 0.75]) if spec.prepare.outliers else F.lit(None)
    return [*facts, quartiles.alias("quartiles"), hashed(spec).alias("raw_hash")]


def hashed(spec: Spec) -> Column:
    """An aggregate that is equal for equal rows in any order, and hardly ever for others.

    Only what shapes a fit counts: of a table without order in time, rows that have a label.
    """
    c = spec.columns
    shaping = [c.time, c.target, *c.inputs, c.group, spec.prepare.closed.column]
    columns = [F.col(quote(name)) for name in dict.fromkeys(shaping) if name is not None]
    counts = F.lit(True) if spec.task == "forecast" else F.col(quote(c.target)).isNotNull()
    one = F.when(counts, F.xxhash64(*columns))
    other = F.when(counts, F.xxhash64(F.lit(1), *columns))
    parts = [F.count(one), F.bit_xor(one), F.sum(F.pmod(other, F.lit(2**31)))]
    return F.sha2(F.concat_ws(" ", *(part.cast("string") for part in parts)), 256)


def _entry(
    row: dict[str, Any], spec: Spec, activity: Activity, schema: StructType, buckets: int
) -> dict[str, Any]:
    values = {name: _value(row[name], schema[name].dataType.typeName()) for name in spec.partition_by}
    key = PartitionKey.of(values)
    facts = {**row, "copies": row["kept"] - row["times"] if spec.task == "forecast" else 0}
    reason, detail = problem_of(facts, spec)
    inactive = reason is None and activity.is_inactive(row)
    low, high = fences(row["quartiles"], spec.prepare.outliers)
    return {
        **facts,
        **values,
        "partition_id": key.id,
        "key": key.canonical,
        "bucket": key.seed % buckets,
        "low": low,
        "high": high,
        "problem": reason,
        "problem_detail": detail,
        "inactive": inactive,
        "filled_until": None if inactive or activity.until is None else activity.until.isoformat(" "),
    }


def fences(quartiles: list[float] | None, width: float | None) -> tuple[float | None, float | None]:
    """The bounds beyond which a target is an outlier: `width` interquartile ranges from the quartiles.

    None where no outliers are looked for, and where the quartiles are equal: most values then are one and
    the same, and every other one would be an outlier.
    """
    if quartiles is None or width is None or quartiles[0] == quartiles[1]:
        return None, None
    spread = quartiles[1] - quartiles[0]
    return float(quartiles[0] - width * spread), float(quartiles[1] + width * spread)


def _value(value: Any, kind: str) -> Any:
    """A partition column's value; instants are named in UTC, on every machine the same."""
    return instant(value) if kind == "timestamp" else value


def _schema(typed: StructType, spec: Spec) -> StructType:
    fields = [typed[name] for name in spec.partition_by]
    texts = ["partition_id", "key", "problem", "problem_detail", "first", "last", "last_demand", "raw_hash"]
    texts.append("filled_until")
    fields += [T.StructField(name, T.StringType()) for name in texts]
    fields += [T.StructField("bucket", T.IntegerType()), T.StructField("inactive", T.BooleanType())]
    fields += [T.StructField(name, T.LongType()) for name in COUNTS]
    fields += [T.StructField(name, T.DoubleType()) for name in ("low", "high")]
    return T.StructType([T.StructField(field.name, field.dataType, True) for field in fields])
