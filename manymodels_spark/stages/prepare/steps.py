"""The steps of a frequency that a partition has no row for, as Spark expressions.

The steps are those of a forecast from the row before the gap. What holds a row gets no other: a step of
fixed length where a row is within half of it, a day, month, quarter or year where a row is in it. So rows
off the steps stay, on their own, and a clock that changes makes no second row.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from manymodels_spark.spark.names import quote
from manymodels_spark.spec.frequency import step_of

ID = "partition_id"
# More steps are no gap but a wrong date: minutes from 1900 on would fill memory and lake.
LONGEST_GAP = 1_000_000
_DAY, _WEEK = 86_400, 7 * 86_400
_MIDNIGHT = "CAST(CAST(_at AS DATE) AS TIMESTAMP_NTZ)"
_MOMENT = "INTERVAL '0.000001' SECOND"


@dataclass(frozen=True)
class _Steps:
    """SQL over `_at`, the time of a row, `_next`, that of the following one, and `_until`.

    `first` is the first step after `_at`, `last` the last possible time before `_next`, `tail` the last
    possible time after a partition's last row, `length` the interval, `moment` the time of `_step`.
    """

    first: str
    last: str
    tail: str
    length: str
    moment: str


def with_missing_steps(
    rows: DataFrame, time: str, frequency: str, *, made: str, until: str | None = None
) -> DataFrame:
    """The rows, and one for each missing step, of which only partition_id and time are known.

    A time stands once in `rows`. Steps are added between two rows and, where `until` names a column with a
    time, after the last row as far as that time. Column `made` says which rows were added; `until` is gone.
    """
    steps = _in_periods(frequency) if step_of(frequency).months else _of_fixed_length(frequency)
    # Without zone: in a session's zone, a day of its clock's change would not have 24 hours.
    at = F.col(quote(time)).cast("timestamp_ntz")
    end = (F.col(until) if until else F.lit(None)).cast("timestamp_ntz")
    following = F.lead(at).over(Window.partitionBy(ID).orderBy(quote(time)))
    gaps = rows.withColumn("_at", at).withColumn("_next", following).withColumn("_until", end)
    last = f"CASE WHEN _next IS NULL THEN {steps.tail} ELSE {steps.last} END"
    gaps = gaps.withColumn("_first", F.expr(steps.first)).withColumn("_last", F.expr(last))
    days = LONGEST_GAP * _gap_seconds(frequency) // _DAY
    listed = f"""CASE WHEN _first <= _last AND datediff(_last, _first) <= {days}
                 THEN concat(array(_at), sequence(_first, _last, {steps.length})) ELSE array(_at) END"""
    columns = [name for name in rows.columns if name != until]
    exploded = F.posexplode(F.expr(listed)).alias("_number", "_step")
    each = gaps.select(*map(quote, columns), "_at", exploded).withColumn(made, F.col("_number") > 0)
    if frequency == "B":
        each = each.filter(~F.col(made) | (F.weekday("_step") < 5))
    known = {name: F.when(~F.col(made), F.col(quote(name))) for name in columns}
    moment = F.expr(steps.moment).cast("timestamp")
    known |= {ID: F.col(ID), time: F.when(F.col(made), moment).otherwise(F.col(quote(time)))}
    return each.select(*(column.alias(name) for name, column in known.items()), made)


def _gap_seconds(frequency: str) -> int:
    """The length of a step in a gap: business days are a day apart there, and periods of the calendar, of
    which no gap has too many, count as weeks.
    """
    step = step_of(frequency)
    return _DAY if frequency == "B" else _WEEK if step.months else step.seconds


def _of_fixed_length(frequency: str) -> _Steps:
    seconds = _gap_seconds(frequency)
    length, half = _interval(seconds), _interval(seconds // 2)
    first, last, tail = f"_at + {length}", f"_next - {half} - {_MOMENT}", "_until"
    if frequency in ("D", "B"):
        last = f"least({last}, CAST(CAST(_next AS DATE) AS TIMESTAMP_NTZ) - {_MOMENT})"
        tail = f"CAST(date_add(CAST(_until AS DATE), 1) AS TIMESTAMP_NTZ) - {_MOMENT}"
    if frequency.startswith("W-"):  # three days on, since the row is within half a step of a nearer one
        day = f"next_day(date_add(CAST(_at AS DATE), 3), '{frequency[2:]}')"
        first = f"CAST({day} AS TIMESTAMP_NTZ) + (_at - {_MIDNIGHT})"
    return _Steps(first, last, tail, length, "_step")


def _in_periods(frequency: str) -> _Steps:
    """As `_of_fixed_length`, for months, quarters and years: `_step` is a period's first day.

    Up to half a day before a period that is named by its start, or after one named by its end, a row is that
    period's: in another zone a first day's midnight is on the day before.
    """
    step = step_of(frequency)
    shift = f"{'-' if frequency.endswith('E') else '+'} {_interval(_DAY // 2)}"

    def period(name: str, later: int) -> str:
        start = f"trunc(CAST({name} {shift} AS DATE), '{step.unit}')"
        return f"CAST(add_months({start}, {later}) AS TIMESTAMP_NTZ)"

    first, last, tail = period("_at", step.months), period("_next", -step.months), period("_until", 0)
    end = f"date_sub(add_months(CAST(_step AS DATE), {step.months}), 1)"
    day = end if frequency.endswith("E") else "_step"
    moment = f"CAST({day} AS TIMESTAMP_NTZ) + (_at - {_MIDNIGHT})"
    return _Steps(first, last, tail, f"INTERVAL '{step.months}' MONTH", moment)


def _interval(seconds: int) -> str:
    return f"INTERVAL '{seconds}' SECOND"
