"""Bronze's rows with the types that a fit needs, and a flag for everything that is wrong with one of them.

Only expressions: nothing is dropped or corrected here, so that what is found can be counted first.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.types import DataType

from manymodels_spark.errors import SourceError
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.prepare.clock import (
    is_wall_time,
    kept_time,
    unusable,
    with_repeated_hour_apart,
)

NULL_KEY, BAD_TIME, NOT_NUMERIC = "_null_key", "_bad_time", "_not_numeric"
NOT_FINITE, NULL_TARGET, NEGATIVE = "_not_finite", "_null_target", "_negative"
FLAGS = (NULL_KEY, BAD_TIME, NOT_NUMERIC, NOT_FINITE, NULL_TARGET, NEGATIVE)
ORDER, _WALL_TIME = "_order", "_wall_time"
_CLOSED = ("true", "1", "1.0", "closed", "yes")


def cast_rows(bronze: DataFrame, spec: Spec) -> DataFrame:
    """Partition columns, time (timestamp on the spec's clock), target, inputs, the columns that are carried
    along, `_order` and the flags.

    `_order` says which of two rows of the same time is the later one. Numbers that are NaN are null. Raises
    SourceError where the type of a column cannot be what the spec says.
    """
    columns = spec.columns
    kinds = {field.name: field.dataType for field in bronze.schema}
    target = F.col(quote(columns.target))
    labels = spec.task == "classification"
    value = _label(columns.target) if labels else _number(columns.target, kinds[columns.target])
    selected = [*(F.col(quote(name)) for name in spec.partition_by)]
    if columns.time:
        selected.append(kept_time(columns.time, kinds[columns.time], spec).alias(columns.time))
        selected.append(is_wall_time(columns.time, kinds[columns.time]).alias(_WALL_TIME))
    selected.append(value.alias(columns.target))
    selected += [_input(name, kinds[name], spec) for name in columns.inputs]
    selected += [_carried(name, spec, name in kinds) for name in carried_columns(spec)]
    flags = _flags(spec, target, value, kinds[columns.target])
    rows = bronze.select(*selected, _order(bronze, spec), *(flag.alias(name) for name, flag in flags.items()))
    if columns.time is None:
        return rows.withColumn(BAD_TIME, F.lit(False))
    apart = with_repeated_hour_apart(rows, spec, _WALL_TIME, ORDER).drop(_WALL_TIME)
    return apart.withColumn(BAD_TIME, unusable(F.col(quote(columns.time))))


def carried_columns(spec: Spec) -> list[str]:
    """Columns that silver holds beside keys, time, target and inputs: id, group, and the one that says
    closed.
    """
    columns = spec.columns
    own = {*spec.partition_by, columns.time, columns.target, *columns.inputs}
    wanted = dict.fromkeys([columns.id, columns.group, spec.prepare.closed.column])
    return [name for name in wanted if name is not None and name not in own]


def says_closed(name: str) -> Column:
    """Whether a column says that a step is closed: true, 1, `closed` or `yes`."""
    text = F.lower(F.trim(F.col(quote(name)).cast("string")))
    return F.coalesce(text.isin(*_CLOSED), F.lit(False))


def without_nan(value: Column) -> Column:
    """The number, null where it is NaN."""
    return F.when(~F.isnan(value), value)


def _carried(name: str, spec: Spec, present: bool) -> Column:
    """A column as silver holds it. Only the one that says closed may be in the calendar alone: a row of the
    source was then made on an open step.
    """
    if name != spec.prepare.closed.column:
        return F.col(quote(name))
    return (says_closed(name) if present else F.lit(False)).alias(name)


def _flags(spec: Spec, target: Column, value: Column, kind: DataType) -> dict[str, Column]:
    from functools import reduce

    nulls = (F.col(quote(name)).isNull() for name in spec.partition_by)
    null_key = reduce(lambda left, right: left | right, nulls)
    no, number = F.lit(False), spec.task != "classification"
    is_text = number and isinstance(kind, T.StringType)
    return {
        NULL_KEY: null_key,
        NOT_NUMERIC: F.coalesce(value.isNull() & (F.lower(target) != "nan"), no) if is_text else no,
        NOT_FINITE: F.coalesce(F.abs(value) == F.lit(float("inf")), no) if number else no,
        NULL_TARGET: value.isNull(),
        NEGATIVE: F.coalesce(value < 0, no) if number else no,
    }


def repaired(rows: DataFrame, spec: Spec) -> DataFrame:
    """The rows without those that the spec lets go, and with the targets that it lets be changed. Flags are
    gone. Outliers stay: only what a model is trained on is capped (`modeling.outliers`).
    """
    rules, target = spec.prepare, spec.columns.target
    kept = rows.filter(~F.col(BAD_TIME) & ~F.col(NOT_FINITE))
    if rules.negatives == "drop":
        kept = kept.filter(~F.col(NEGATIVE))
    if rules.negatives == "zero":
        kept = kept.withColumn(target, F.when(F.col(NEGATIVE), 0.0).otherwise(F.col(quote(target))))
    return kept.drop(*FLAGS)


def _tried(name: str, kind: str) -> Column:
    """A column cast, null where it cannot be. In SQL, since `Column.try_cast` is not in Spark 3.5."""
    return F.expr(f"try_cast({quote(name)} AS {kind})")


def _label(name: str) -> Column:
    return F.col(quote(name)).cast("string")


def _number(name: str, kind: DataType) -> Column:
    if isinstance(kind, T.StringType):
        return without_nan(_tried(name, "double"))
    if isinstance(kind, (T.NumericType, T.BooleanType, T.NullType)):
        return without_nan(F.col(quote(name)).cast("double"))
    raise SourceError(
        f"columns.target: {name!r} is of type {kind.simpleString()}. "
        "A number, or text holding numbers, is expected"
    )


def _input(name: str, kind: DataType, spec: Spec) -> Column:
    """Known-future features of a forecast are numbers; other inputs keep their type."""
    column = F.col(quote(name))
    renamed = {spec.source.rename.get(one, one) for one in getattr(spec.source, "decimal_comma", ())}
    if name in renamed:
        return _tried(name, "double").alias(name)
    if spec.task == "forecast" and name in spec.columns.known_future:
        number = _tried(name, "double") if isinstance(kind, T.StringType) else column.cast("double")
        return without_nan(number).alias(name)
    if isinstance(kind, (T.FloatType, T.DoubleType)):
        return without_nan(column).alias(name)
    return (column.cast("double") if isinstance(kind, T.DecimalType) else column).alias(name)


def _order(bronze: DataFrame, spec: Spec) -> Column:
    """The watermark, then the time of the copy, then the row itself: the same choice in every run."""
    watermark = spec.source.watermark
    known = watermark is not None and watermark in bronze.columns
    first = F.col(quote(str(watermark))) if known else F.lit(None).cast("timestamp")
    own_columns = [name for name in bronze.columns if not name.startswith("_")]
    own = F.xxhash64(*(F.col(quote(name)).cast("string") for name in own_columns))
    return F.struct(first.alias("w"), F.col("_ingested_at").alias("t"), own.alias("h")).alias(ORDER)
