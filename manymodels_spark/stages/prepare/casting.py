"""Bronze's rows with the types that a fit needs, and a flag for everything that is wrong with one of them.

Only expressions: nothing is dropped or corrected here, so that what is found can be counted first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manymodels_spark.errors import SourceError
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.model import Spec

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

NULL_KEY, BAD_TIME, NOT_NUMERIC, NOT_FINITE, NULL_TARGET, NEGATIVE = (
    "_null_key",
    "_bad_time",
    "_not_numeric",
    "_not_finite",
    "_null_target",
    "_negative",
)
FLAGS = (NULL_KEY, BAD_TIME, NOT_NUMERIC, NOT_FINITE, NULL_TARGET, NEGATIVE)
ORDER = "_order"
# pandas counts nanoseconds and holds 1677 to 2262; forecasts need room after the last row.
EARLIEST, BEYOND = "1700-01-01", "2200-01-01"
_ZONE = r"(Z|[+-]\d{2}:?\d{2})$"


def cast_rows(bronze: DataFrame, spec: Spec) -> DataFrame:
    """Partition columns, time (timestamp, wall time in the spec's zone), target, inputs, `_order` and the
    flags.

    `_order` says which of two rows of the same time is the later one. Raises SourceError where the type of a
    column cannot be what the spec says.
    """
    from pyspark.sql import functions as F

    columns = spec.columns
    kinds = {field.name: field.dataType for field in bronze.schema}
    target = F.col(quote(columns.target))
    value = (
        target.cast("string")
        if spec.task == "classification"
        else _number(kinds[columns.target], columns.target)
    )
    selected = [*(F.col(quote(name)) for name in spec.partition_by)]
    if columns.time:
        selected.append(_time(columns.time, kinds[columns.time], spec).alias(columns.time))
    selected.append(value.alias(columns.target))
    selected += [_input(name, kinds[name], spec) for name in columns.inputs]
    flags = _flags(spec, target, value)
    rows = bronze.select(*selected, _order(bronze, spec), *(flag.alias(name) for name, flag in flags.items()))
    return rows.withColumn(BAD_TIME, unusable(F.col(quote(columns.time))) if columns.time else F.lit(False))


def unusable(time: Column) -> Column:
    """No time, or one that no fit can be given: as a frame of pandas it would stop the task with all its
    partitions.
    """
    from pyspark.sql import functions as F

    early, late = (F.lit(text).cast("timestamp") for text in (EARLIEST, BEYOND))
    return time.isNull() | (time < early) | (time >= late)


def _flags(spec: Spec, target: Column, value: Column) -> dict[str, Column]:
    from functools import reduce

    from pyspark.sql import functions as F

    null_key = reduce(
        lambda left, right: left | right, (F.col(quote(name)).isNull() for name in spec.partition_by)
    )
    no, number = F.lit(False), spec.task != "classification"
    infinite = F.coalesce(F.abs(value) == F.lit(float("inf")), no) if number else no
    missing = value.isNull() | F.isnan(value) if number else value.isNull()
    return {
        NULL_KEY: null_key,
        NOT_NUMERIC: target.isNotNull() & value.isNull() if number else no,
        NOT_FINITE: infinite,
        NULL_TARGET: missing,
        NEGATIVE: F.coalesce(value < 0, no) if number else no,
    }


def repaired(rows: DataFrame, spec: Spec) -> DataFrame:
    """The rows without those that the spec lets go, and with the targets that it lets be changed. Flags are
    gone.
    """
    from pyspark.sql import functions as F

    rules, target = spec.prepare, spec.columns.target
    kept = rows.filter(~F.col(BAD_TIME) & ~F.col(NOT_FINITE))
    if rules.negatives == "drop":
        kept = kept.filter(~F.col(NEGATIVE))
    if rules.negatives == "zero":
        kept = kept.withColumn(target, F.when(F.col(NEGATIVE), 0.0).otherwise(F.col(quote(target))))
    if rules.outliers is not None:
        value = F.col(quote(target))
        kept = kept.withColumn(target, F.greatest(F.least(value, F.col("_high")), F.col("_low")))
    return kept.drop(*FLAGS, "_low", "_high")


def _tried(name: str, kind: str) -> Column:
    """A column cast, null where it cannot be. In SQL, since `Column.try_cast` is not in Spark 3.5."""
    from pyspark.sql import functions as F

    return F.expr(f"try_cast({quote(name)} AS {kind})")


def _number(kind: DataType, name: str) -> Column:
    from pyspark.sql import functions as F
    from pyspark.sql import types as T

    if isinstance(kind, T.StringType):
        return _tried(name, "double")
    if isinstance(kind, (T.NumericType, T.BooleanType, T.NullType)):
        return F.col(quote(name)).cast("double")
    raise SourceError(
        f"columns.target: {name!r} is of type {kind.simpleString()}. A number, or text holding numbers, is "
        "expected"
    )


def _time(name: str, kind: DataType, spec: Spec) -> Column:
    """Dates and times as they stand; text with a zone, and instants, as wall time in the spec's zone."""
    from pyspark.sql import functions as F
    from pyspark.sql import types as T

    column, zone = F.col(quote(name)), spec.prepare.timezone
    if isinstance(kind, T.StringType):
        moment = _tried(name, "timestamp")
        return F.when(column.rlike(_ZONE), F.from_utc_timestamp(moment, zone)).otherwise(moment)
    if isinstance(kind, T.TimestampType):
        return column if zone == "UTC" else F.from_utc_timestamp(column, zone)
    if isinstance(kind, (T.DateType, T.TimestampNTZType)):
        return column.cast("timestamp")
    raise SourceError(
        f"columns.time: {name!r} is of type {kind.simpleString()}. A date, a timestamp or text holding one "
        "is expected"
    )


def _input(name: str, kind: DataType, spec: Spec) -> Column:
    """Known-future features of a forecast are numbers; other inputs keep their type."""
    from pyspark.sql import functions as F
    from pyspark.sql import types as T

    column = F.col(quote(name))
    if spec.task == "forecast" and name in spec.columns.known_future:
        return (_tried(name, "double") if isinstance(kind, T.StringType) else column.cast("double")).alias(
            name
        )
    return (column.cast("double") if isinstance(kind, T.DecimalType) else column).alias(name)


def _order(bronze: DataFrame, spec: Spec) -> Column:
    """The watermark, then the time of the copy, then the row itself: the same choice in every run."""
    from pyspark.sql import functions as F

    watermark = spec.source.watermark
    first = (
        F.col(quote(watermark))
        if watermark and watermark in bronze.columns
        else F.lit(None).cast("timestamp")
    )
    own = F.xxhash64(
        *(F.col(quote(name)).cast("string") for name in bronze.columns if not name.startswith("_"))
    )
    return F.struct(first.alias("w"), F.col("_ingested_at").alias("t"), own.alias("h")).alias(ORDER)
