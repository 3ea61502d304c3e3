"""The steps on which a partition is closed (`prepare.closed`), which no gap is filled with."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from manymodels_spark.families.public_holidays import holidays_between
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.data import PlaceColumn
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.prepare.clock import local_date

ID = "partition_id"
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# `auto`: a weekday counts as closed when it came this often without a row.
LEAST_WEEKS = 4


@dataclass(frozen=True)
class ClosedSteps:
    """What the spec's rules need of the data: each partition's open weekdays and place, and the calendar.

    `weekdays` has partition_id and `_open` (an array of 0 for Monday to 6), `places` partition_id and
    `_place`, `days` `_place` and `_day`, `calendar` partition_id, the time and the column that says closed;
    each is None where no rule needs it.
    """

    spec: Spec
    weekdays: DataFrame | None = None
    places: DataFrame | None = None
    days: DataFrame | None = None
    calendar: DataFrame | None = None

    @classmethod
    def of(
        cls, rows: DataFrame, partitions: DataFrame, spec: Spec, calendar: DataFrame | None
    ) -> ClosedSteps | None:
        """The rules as they apply to `rows` (partition_id and the spec's columns); None where there are
        none.
        """
        rules = spec.prepare.closed
        if not rules or spec.columns.time is None or spec.task != "forecast":
            return None
        weekdays = _open_weekdays(rows, spec) if rules.auto else None
        places = _places(rows, partitions, spec) if rules.holidays else None
        days = None if places is None else _holidays(places, partitions)
        said = rules.column if calendar is not None and rules.column in calendar.columns else None
        return cls(spec, weekdays, places, days, calendar if said else None)

    def dropped(self, steps: DataFrame) -> DataFrame:
        """Those of the steps (partition_id, time) on which their partition is not closed."""
        rules, time = self.spec.prepare.closed, str(self.spec.columns.time)
        day = local_date(F.col(quote(time)), self.spec)
        left = steps
        if rules.weekdays:
            numbers = [WEEKDAYS.index(name) for name in rules.weekdays]
            left = left.filter(~F.weekday(day).isin(numbers))
        if self.weekdays is not None:
            known = left.join(F.broadcast(self.weekdays), ID, "left").withColumn("_weekday", F.weekday(day))
            is_open = F.col("_open").isNull() | F.array_contains("_open", F.col("_weekday"))
            left = known.filter(is_open).drop("_open", "_weekday")
        if self.places is not None and self.days is not None:
            placed = left.join(F.broadcast(self.places), ID, "left").withColumn("_day", day)
            left = placed.join(F.broadcast(self.days), ["_place", "_day"], "left_anti").drop("_place", "_day")
        if self.calendar is not None and rules.column is not None:
            closed = self.calendar.filter(_is_true(self.calendar, rules.column)).select(ID, quote(time))
            left = left.join(closed, [ID, time], "left_anti")
        return left.select(*map(quote, steps.columns))


def _is_true(rows: DataFrame, name: str) -> Column:
    """A column of flags, which is a number where it is a known-future column, too."""
    return F.col(quote(name)).cast("double") == 1.0


def _open_weekdays(rows: DataFrame, spec: Spec) -> DataFrame:
    """The weekdays on which each partition ever had a row; all of them where its rows span too few weeks."""
    day = local_date(F.col(quote(str(spec.columns.time))), spec)
    found = rows.select(ID, day.alias("_day")).groupBy(ID)
    seen = found.agg(
        F.collect_set(F.weekday("_day")).alias("_seen"),
        F.datediff(F.max("_day"), F.min("_day")).alias("_span"),
    )
    every = F.array(*(F.lit(number) for number in range(7)))
    open_days = F.when(F.col("_span") >= 7 * LEAST_WEEKS, F.col("_seen")).otherwise(every)
    return seen.select(ID, open_days.alias("_open"))


def _places(rows: DataFrame, partitions: DataFrame, spec: Spec) -> DataFrame | None:
    """Where each partition is, by the spec or by a column of its key or rows."""
    where = spec.columns.holidays
    if where is None:
        return None
    if not isinstance(where, PlaceColumn):
        return partitions.select(ID, F.lit(where).alias("_place"))
    if where.column in spec.partition_by:
        return partitions.select(ID, F.col(quote(where.column)).cast("string").alias("_place"))
    place = F.first(F.col(quote(where.column)).cast("string"), ignorenulls=True)
    return rows.groupBy(ID).agg(place.alias("_place"))


def _holidays(places: DataFrame, partitions: DataFrame) -> DataFrame:
    """`_place` and `_day` of every public holiday between the first and the last time of all partitions."""
    span = partitions.agg(F.min("first").alias("a"), F.max(F.greatest("last", "filled_until")).alias("b"))
    row = span.first()
    named = [line["_place"] for line in places.select("_place").distinct().collect()]
    first, last = (str(row["a"])[:10], str(row["b"])[:10]) if row and row["a"] else ("2000-01-01",) * 2
    cells = [
        (place, day.date())
        for place in named
        if place is not None
        for day in holidays_between(place, first, last)
    ]
    return partitions.sparkSession.createDataFrame(cells, "_place string, _day date")
