"""One row per partition and time: repeated rows merged, missing steps filled, and only as the spec says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from manymodels_spark.lake.queries import newest_rows
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.prepare.casting import ORDER
from manymodels_spark.stages.prepare.steps import with_missing_steps

if TYPE_CHECKING:
    from manymodels_spark.stages.prepare.closed import ClosedSteps

ID, UNTIL = "partition_id", "_until"
_MADE = "_made"


def merge_duplicates(rows: DataFrame, spec: Spec, repeating: DataFrame | None) -> DataFrame:
    """Rows with the same time merged by `prepare.duplicates`; inputs are those of the last row.

    `repeating` has the partition_id of the partitions where a time stands more than once, None where there
    are none: all others pass as they are, since merging shuffles and sorts every row.
    """
    if spec.columns.time is None or spec.task != "forecast" or repeating is None:
        return rows.drop(ORDER)
    ids = F.broadcast(repeating.select(ID))
    once = rows.join(ids, ID, "left_anti").drop(ORDER)
    return once.unionByName(_merged(rows.join(ids, ID, "left_semi"), spec))


def _merged(rows: DataFrame, spec: Spec) -> DataFrame:
    target = F.col(quote(spec.columns.target))
    rule = spec.prepare.duplicates
    value = {"sum": F.sum(target), "mean": F.avg(target)}.get(rule, F.max_by(target, ORDER))
    own = (ID, spec.columns.time, spec.columns.target, ORDER)
    last = [F.max_by(F.col(quote(name)), ORDER).alias(name) for name in rows.columns if name not in own]
    return rows.groupBy(ID, quote(str(spec.columns.time))).agg(value.alias(spec.columns.target), *last)


def fill_gaps(
    rows: DataFrame, spec: Spec, calendar: DataFrame | None = None, closed: ClosedSteps | None = None
) -> DataFrame:
    """The steps that a partition lacks added, with targets by `prepare.gaps`; none where that is `leave`.

    Steps are missing between two rows and, where `rows` has a column `_until`, between the last one and that
    time (see `prepare.until`). Steps on which a partition is closed are never added. `calendar` has
    partition_id, the time and the known-future columns, from which those of added steps are taken.
    """
    if spec.prepare.gaps == "leave" or spec.columns.time is None or spec.task != "forecast":
        return rows.drop(UNTIL)
    target = spec.columns.target
    full = _with_calendar(_whole(rows, spec, closed), spec, calendar)
    forward = [target] if spec.prepare.gaps == "forward" else []
    if carried := [*spec.columns.inputs, *forward]:  # Spark Connect refuses to add no columns
        full = full.withColumns({name: _carried_forward(name, spec) for name in carried})
    zero = F.coalesce(F.col(quote(target)), F.lit(0.0))
    return full.withColumn(target, zero) if spec.prepare.gaps == "zero" else full


def missing_steps(rows: DataFrame, spec: Spec, closed: ClosedSteps | None) -> DataFrame:
    """partition_id and `missing`: the steps between its first and last row that have no row and are not
    closed.
    """
    times = rows.select(ID, quote(str(spec.columns.time)))
    whole = with_missing_steps(times, str(spec.columns.time), spec.columns.frequency, made=_MADE)
    added = whole.filter(_MADE)
    return (closed.dropped(added) if closed else added).groupBy(ID).agg(F.count("*").alias("missing"))


def shortened(rows: DataFrame, spec: Spec) -> DataFrame:
    """Only the last `prepare.history` rows of each partition, where the spec says so."""
    if spec.prepare.history is None or spec.columns.time is None:
        return rows
    # Rows of one time are cut alike in every run.
    tie = F.xxhash64(*(F.col(quote(name)) for name in rows.columns))
    return newest_rows(rows, [F.col(quote(spec.columns.time)).desc(), tie], spec.prepare.history)


def _whole(rows: DataFrame, spec: Spec, closed: ClosedSteps | None) -> DataFrame:
    """The rows and those of missing steps, of which only partition_id and time are known."""
    time, until = str(spec.columns.time), UNTIL if UNTIL in rows.columns else None
    whole = with_missing_steps(rows, time, spec.columns.frequency, until=until, made=_MADE)
    if closed is None:
        return whole.drop(_MADE)
    added = closed.dropped(whole.filter(_MADE))
    return whole.filter(~F.col(_MADE)).unionByName(added).drop(_MADE)


def _with_calendar(rows: DataFrame, spec: Spec, calendar: DataFrame | None) -> DataFrame:
    known = spec.columns.known_future
    if calendar is None or not known:
        return rows
    renamed = [F.col(quote(name)).alias(f"_known_{name}") for name in known]
    joined = rows.join(
        calendar.select(ID, quote(str(spec.columns.time)), *renamed), [ID, str(spec.columns.time)], "left"
    )
    own_first = {name: F.coalesce(F.col(quote(name)), F.col(quote(f"_known_{name}"))) for name in known}
    return joined.withColumns(own_first).drop(*(f"_known_{name}" for name in known))


def _carried_forward(name: str, spec: Spec) -> Column:
    so_far = Window.partitionBy(ID).orderBy(quote(str(spec.columns.time)))
    return F.last(F.col(quote(name)), ignorenulls=True).over(so_far)
