"""The census of a spec's partitions: who they are, how many rows each has, and what is wrong with some of
them.

One pass over the rows. Ids are computed here, in Python, for every distinct key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from manymodels_spark.errors import Reason
from manymodels_spark.frames import instant
from manymodels_spark.keys import PartitionKey
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.prepare import casting as flag

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructType

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
    """A row per partition: its columns, id, key, counts, span, fences and problem. Broken ones are in it,
    too.
    """

    rows: list[dict[str, Any]]
    table: DataFrame

    @classmethod
    def of(cls, rows: DataFrame, spec: Spec) -> Census:
        """Count the typed rows of every partition (the frame of `casting.cast_rows`)."""
        counted = [
            row.asDict()
            for row in rows.groupBy(*(quote(n) for n in spec.partition_by)).agg(*_facts(spec)).collect()
        ]
        number = buckets(len(counted), spec.limits.partitions_per_wave)
        people = [_person(row, spec, rows.schema, number) for row in counted]
        schema = _schema(rows.schema, spec)
        cells = [tuple(person[name] for name in schema.fieldNames()) for person in people]
        return cls(people, rows.sparkSession.createDataFrame(cells, schema))


def buckets(partitions: int, largest: int) -> int:
    """Into how many buckets silver is cut, so that a wave reads little more than its own rows."""
    return max(1, -(-partitions // largest), min(MOST_BUCKETS_OF_A_WAVE, -(-partitions // SMALLEST_WAVE)))


def _facts(spec: Spec) -> list[Column]:
    from pyspark.sql import functions as F

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
    facts += [F.min(time).cast("string").alias("first"), F.max(time).cast("string").alias("last")]
    target = F.col(quote(spec.columns.target))
    quartiles = F.percentile_approx(target, [0.25, 0.75]) if spec.prepare.outliers else F.lit(None)
    return [*facts, quartiles.alias("quartiles"), hashed(spec).alias("raw_hash")]


def hashed(spec: Spec) -> Column:
    """An aggregate that is equal for equal rows in any order, and hardly ever for others."""
    from pyspark.sql import functions as F

    columns = [*([spec.columns.time] if spec.columns.time else []), spec.columns.target, *spec.columns.inputs]
    one = F.xxhash64(*(F.col(quote(name)) for name in columns))
    other = F.xxhash64(F.lit(1), *(F.col(quote(name)) for name in columns))
    parts = [F.count("*"), F.bit_xor(one), F.sum(F.pmod(other, F.lit(2**31)))]
    return F.sha2(F.concat_ws(" ", *(part.cast("string") for part in parts)), 256)


def _person(row: dict[str, Any], spec: Spec, schema: StructType, buckets: int) -> dict[str, Any]:
    values = {name: _value(row[name], schema[name].dataType.typeName()) for name in spec.partition_by}
    key = PartitionKey.of(values)
    copies = row["kept"] - row["times"] if spec.task == "forecast" else 0
    person = {
        **row,
        **values,
        "partition_id": key.id,
        "key": key.canonical,
        "bucket": key.seed % buckets,
        "copies": copies,
    }
    quartiles, width = row["quartiles"], spec.prepare.outliers
    low = high = None
    if quartiles is not None and width is not None:
        spread = quartiles[1] - quartiles[0]
        low, high = float(quartiles[0] - width * spread), float(quartiles[1] + width * spread)
    reason, detail = _problem(person, spec)
    return {**person, "low": low, "high": high, "problem": reason, "problem_detail": detail}


def _value(value: Any, kind: str) -> Any:
    """A partition column's value; instants are named in UTC, on every machine the same."""
    return instant(value) if kind == "timestamp" else value


def _problem(person: dict[str, Any], spec: Spec) -> tuple[str | None, str | None]:
    """The first thing that makes a partition unfit for a fit, and how it shows."""
    rules, total = spec.prepare, person["rows"]
    time, target = spec.columns.time, spec.columns.target
    found: list[tuple[Callable[[], bool], Reason, str]] = [
        (
            lambda: person["null_key"] > 0 and rules.null_keys == "quarantine",
            Reason.NULL_KEY,
            f"a partition column is null in all {total} rows",
        ),
        (
            lambda: person["bad_times"] > 0 and rules.bad_times == "quarantine",
            Reason.BAD_TIMES,
            f"{person['bad_times']} of {total} rows have no valid {time}",
        ),
        (
            lambda: person["not_numeric"] > 0,
            Reason.NOT_NUMERIC,
            f"{person['not_numeric']} of {total} values of {target} are text that is no number",
        ),
        (
            lambda: person["not_finite"] > 0 and rules.not_finite == "quarantine",
            Reason.NOT_FINITE,
            f"{person['not_finite']} of {total} values of {target} are infinite",
        ),
        (
            lambda: person["null_target"] + person["not_finite"] >= total,
            Reason.ALL_NULL,
            f"none of {total} rows has a value in {target}",
        ),
        (lambda: person["kept"] == 0, Reason.TOO_SHORT, f"none of {total} rows is left after prepare"),
        (
            lambda: person["copies"] > 0 and rules.duplicates == "error",
            Reason.DUPLICATE_TIMES,
            f"{person['copies']} of {total} rows repeat a {time} that is there already",
        ),
    ]
    return next(((str(reason), detail) for is_so, reason, detail in found if is_so()), (None, None))


def _schema(typed: StructType, spec: Spec) -> StructType:
    from pyspark.sql import types as T

    fields = [typed[name] for name in spec.partition_by]
    texts = ["partition_id", "key", "problem", "problem_detail", "first", "last", "raw_hash"]
    fields += [T.StructField(name, T.StringType()) for name in texts]
    fields += [T.StructField("bucket", T.IntegerType())]
    fields += [T.StructField(name, T.LongType()) for name in COUNTS]
    fields += [T.StructField(name, T.DoubleType()) for name in ("low", "high")]
    return T.StructType([T.StructField(field.name, field.dataType, True) for field in fields])
