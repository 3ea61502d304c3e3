"""One row per partition and time: repeated rows merged, missing steps filled, and only as the spec says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manymodels_spark.spark.names import quote
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.prepare.casting import ORDER

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, WindowSpec

ID = "partition_id"
# More steps are no gap but a wrong date: minutes from 1900 on would fill memory and lake.
LONGEST_GAP = 1_000_000
_DAY = 86_400
_SECONDS = {"min": 60, "15min": 900, "30min": 1800, "h": 3600, "D": _DAY, "B": _DAY, "W": 7 * _DAY}
_PERIODS = {"M": ("month", 1), "Q": ("quarter", 3), "Y": ("year", 12)}
_MIDNIGHT = "CAST(CAST(_at AS DATE) AS TIMESTAMP_NTZ)"


def merge_duplicates(rows: DataFrame, spec: Spec, repeating: DataFrame | None) -> DataFrame:
    """Rows with the same time merged by `prepare.duplicates`; inputs are those of the last row.

    `repeating` has the partition_id of the partitions where a time stands more than once, None where there
    are none: all others pass as they are, since merging shuffles and sorts every row.
    """
    from pyspark.sql import functions as F

    if spec.columns.time is None or spec.task != "forecast" or repeating is None:
        return rows.drop(ORDER)
    ids = F.broadcast(repeating.select(ID))
    return (
        rows.join(ids, ID, "left_anti")
        .drop(ORDER)
        .unionByName(_merged(rows.join(ids, ID, "left_semi"), spec))
    )


def _merged(rows: DataFrame, spec: Spec) -> DataFrame:
    from pyspark.sql import functions as F

    target = F.col(quote(spec.columns.target))
    rule = spec.prepare.duplicates
    value = {"sum": F.sum(target), "mean": F.avg(target)}.get(rule, F.max_by(target, ORDER))
    others = [
        name for name in rows.columns if name not in (ID, spec.columns.time, spec.columns.target, ORDER)
    ]
    last = [F.max_by(F.col(quote(name)), ORDER).alias(name) for name in others]
    return rows.groupBy(ID, quote(str(spec.columns.time))).agg(value.alias(spec.columns.target), *last)


def fill_gaps(rows: DataFrame, spec: Spec, calendar: DataFrame | None) -> DataFrame:
    """Steps missing between two rows of a partition added; targets filled by `prepare.gaps`.

    `calendar` has partition_id, the time and the known-future columns, which it tells for the steps that were
    added.
    """
    from pyspark.sql import functions as F

    if spec.prepare.gaps == "leave" or spec.columns.time is None or spec.task != "forecast":
        return rows
    target = spec.columns.target
    full = _with_calendar(_with_steps(rows, spec.columns.time, spec.columns.frequency), spec, calendar)
    forward = [target] if spec.prepare.gaps == "forward" else []
    if carried := [*spec.columns.inputs, *forward]:  # Spark Connect refuses to add no columns
        full = full.withColumns({name: _carried(name, spec) for name in carried})
    zero = F.coalesce(F.col(quote(target)), F.lit(0.0))
    return full.withColumn(target, zero) if spec.prepare.gaps == "zero" else full


def shortened(rows: DataFrame, spec: Spec) -> DataFrame:
    """Only the last `prepare.history` rows of each partition, where the spec says so."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    if spec.prepare.history is None or spec.columns.time is None:
        return rows
    tie = F.xxhash64(
        *(F.col(quote(name)) for name in rows.columns)
    )  # rows of one time are cut alike in every run
    newest = Window.partitionBy(ID).orderBy(F.col(quote(spec.columns.time)).desc(), tie)
    return (
        rows.withColumn("_rank", F.row_number().over(newest))
        .filter(F.col("_rank") <= spec.prepare.history)
        .drop("_rank")
    )


def _with_steps(rows: DataFrame, time: str, frequency: str) -> DataFrame:
    """The rows, and one for each missing step, of which only partition_id and time are known. A time stands
    once.

    The steps are those of a forecast from the row before the gap. What holds a row gets no other: a step of
    fixed length where a row is within half of it, a day, month, quarter or year where a row is in it. So rows
    beside the steps stay, alone, and a clock that changes makes no second row.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    # Without zone: in a session's zone, a day of its clock's change would not have 24 hours.
    at = F.col(quote(time)).cast("timestamp_ntz")
    following = F.lead(at).over(Window.partitionBy(ID).orderBy(quote(time)))
    first, last, step, moment = (
        _in_periods(frequency) if frequency[0] in _PERIODS else _of_fixed_length(frequency)
    )
    gaps = rows.withColumn("_at", at).withColumn("_next", following)
    gaps = gaps.withColumn("_first", F.expr(first)).withColumn("_last", F.expr(last))
    days = LONGEST_GAP * _seconds(frequency) // _DAY
    listed = f"""CASE WHEN _first <= _last AND datediff(_last, _first) <= {days}
                 THEN concat(array(_at), sequence(_first, _last, {step})) ELSE array(_at) END"""
    each = gaps.select(
        *map(quote, rows.columns), "_at", F.posexplode(F.expr(listed)).alias("_number", "_step")
    )
    made = F.col("_number") > 0
    if frequency == "B":
        each = each.filter(~made | (F.weekday("_step") < 5))
    told = {name: F.when(~made, F.col(quote(name))) for name in rows.columns}
    told |= {
        ID: F.col(ID),
        time: F.when(made, F.expr(moment).cast("timestamp")).otherwise(F.col(quote(time))),
    }
    return each.select(*(column.alias(name) for name, column in told.items()))


def _seconds(frequency: str) -> int:
    """The length of a step; periods of the calendar, of which no gap has too many, count as weeks."""
    return _SECONDS.get(frequency.partition("-")[0], 7 * _DAY)


def _of_fixed_length(frequency: str) -> tuple[str, str, str, str]:
    """The first and last step of the gap between `_at` and `_next`, the interval and the time of `_step`, as
    SQL.
    """
    seconds = _seconds(frequency)
    step, half = _interval(seconds), _interval(seconds // 2)
    first, last = f"_at + {step}", f"_next - {half} - INTERVAL '0.000001' SECOND"
    if frequency in ("D", "B"):
        last = f"least({last}, CAST(CAST(_next AS DATE) AS TIMESTAMP_NTZ) - INTERVAL '0.000001' SECOND)"
    if frequency.startswith("W-"):  # three days on, since the row is within half a step of a nearer one
        first = (
            f"CAST(next_day(date_add(CAST(_at AS DATE), 3), '{frequency[2:]}') AS TIMESTAMP_NTZ) + (_at - "
            f"{_MIDNIGHT})"
        )
    return first, last, step, "_step"


def _in_periods(frequency: str) -> tuple[str, str, str, str]:
    """As `_of_fixed_length`, for months, quarters and years: `_step` is a period's first day.

    Up to half a day before a period that is told by its start, or after one told by its end, a row is that
    period's: in another zone a first day's midnight is on the day before.
    """
    unit, months = _PERIODS[frequency[0]]
    shift = f"{'-' if frequency.endswith('E') else '+'} {_interval(_DAY // 2)}"
    own, following = (f"trunc(CAST({name} {shift} AS DATE), '{unit}')" for name in ("_at", "_next"))
    ends = ((own, months), (following, -months))
    first, last = (f"CAST(add_months({period}, {number}) AS TIMESTAMP_NTZ)" for period, number in ends)
    day = f"date_sub(add_months(CAST(_step AS DATE), {months}), 1)" if frequency.endswith("E") else "_step"
    return first, last, f"INTERVAL '{months}' MONTH", f"CAST({day} AS TIMESTAMP_NTZ) + (_at - {_MIDNIGHT})"


def _interval(seconds: int) -> str:
    return f"INTERVAL '{seconds}' SECOND"


def _with_calendar(rows: DataFrame, spec: Spec, calendar: DataFrame | None) -> DataFrame:
    from pyspark.sql import functions as F

    known = spec.columns.known_future
    if calendar is None or not known:
        return rows
    renamed = calendar.select(
        ID, quote(str(spec.columns.time)), *(F.col(quote(name)).alias(f"_known_{name}") for name in known)
    )
    joined = rows.join(renamed, [ID, str(spec.columns.time)], "left")
    told = {name: F.coalesce(F.col(quote(name)), F.col(quote(f"_known_{name}"))) for name in known}
    return joined.withColumns(told).drop(*(f"_known_{name}" for name in known))


def _carried(name: str, spec: Spec) -> Column:
    from pyspark.sql import functions as F

    return F.last(F.col(quote(name)), ignorenulls=True).over(_within(spec))


def _within(spec: Spec) -> WindowSpec:
    from pyspark.sql import Window

    return Window.partitionBy(ID).orderBy(quote(str(spec.columns.time)))
