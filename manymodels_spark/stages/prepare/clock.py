"""Times as the lake keeps them: the one conversion, for rows, calendars and times that a user gives.

See `spec.clock` for the two clocks. The session's own time zone is UTC (`spark.session.require_utc`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.types import DataType

from manymodels_spark.errors import SourceError
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.clock import kept_zone
from manymodels_spark.spec.model import Spec

if TYPE_CHECKING:
    from datetime import datetime


# pandas counts nanoseconds and holds 1677 to 2262; forecasts need room after the last row.
EARLIEST, BEYOND = "1700-01-01", "2200-01-01"
_ZONE = r"(Z|[+-]\d{2}:?\d{2})$"


def kept_time(name: str, kind: DataType, spec: Spec) -> Column:
    """The column as a timestamp on the spec's clock.

    Instants, and text that names a zone, are instants; dates, times without zone and other text are wall
    times in `prepare.timezone`. Text that is no time is null. Raises SourceError where the type holds no
    times.
    """
    column, kept = F.col(quote(name)), kept_zone(spec)
    if isinstance(kind, T.StringType):
        moment = F.expr(f"try_cast({quote(name)} AS timestamp)")  # `Column.try_cast` is not in Spark 3.5
        return F.when(column.rlike(_ZONE), _of_instant(moment, kept)).otherwise(_of_wall_time(moment, spec))
    if isinstance(kind, T.TimestampType):
        return _of_instant(column, kept)
    if isinstance(kind, (T.DateType, T.TimestampNTZType)):
        return _of_wall_time(column.cast("timestamp"), spec)
    raise SourceError(
        f"columns.time: {name!r} is of type {kind.simpleString()}. "
        "A date, a timestamp or text holding one is expected"
    )


def kept_moment(at: datetime, spec: Spec) -> Column:
    """A time that a user gave, which is a wall time in `prepare.timezone` unless it names a zone."""
    moment = F.lit(at.isoformat(" ")).cast("timestamp")
    return _of_wall_time(moment, spec) if at.tzinfo is None else _of_instant(moment, kept_zone(spec))


def local_date(time: Column, spec: Spec) -> Column:
    """The date in `prepare.timezone` of a time on the spec's clock."""
    zone = spec.prepare.timezone
    return (F.from_utc_timestamp(time, zone) if kept_zone(spec) != zone else time).cast("date")


def unusable(time: Column) -> Column:
    """No time, or one that no fit can be given: in a pandas frame it would end the task of all its
    partitions.
    """
    early, late = (F.lit(text).cast("timestamp") for text in (EARLIEST, BEYOND))
    return time.isNull() | (time < early) | (time >= late)


def is_wall_time(name: str, kind: DataType) -> Column:
    """Whether a row's time names no zone."""
    if isinstance(kind, T.StringType):
        return ~F.coalesce(F.col(quote(name)).rlike(_ZONE), F.lit(False))
    return F.lit(not isinstance(kind, T.TimestampType))


def with_repeated_hour_apart(rows: DataFrame, spec: Spec, wall_time: str, order: str) -> DataFrame:
    """Rows of an hour that a clock showed twice, the later ones moved to its second pass.

    Wall times without zone say an autumn hour twice, and Spark reads both as the first pass. Of two rows of
    a partition that came in one copy with the same such time, the later one is of the second pass; a row
    that came in a later copy corrects the first. Column `wall_time` says which rows name no zone, `order`
    which come later. Only steps below a day in a zone other than UTC have such rows.
    """
    zone, name = spec.prepare.timezone, spec.columns.time
    if name is None or kept_zone(spec) == zone:
        return rows
    time, hour = F.col(quote(name)), F.expr("INTERVAL 1 HOUR")
    again = F.from_utc_timestamp(time, zone) == F.from_utc_timestamp(time + hour, zone)
    repeated = F.col(wall_time) & F.coalesce(again, F.lit(False))
    keys = [quote(column) for column in [*spec.partition_by, name]]
    same = Window.partitionBy(*keys, f"{order}.t").orderBy(order)
    twice = rows.filter(repeated).withColumn("_pass", F.row_number().over(same))
    apart = twice.withColumn(name, F.when(F.col("_pass") == 2, time + hour).otherwise(time)).drop("_pass")
    return rows.filter(~repeated).unionByName(apart)


def _of_instant(moment: Column, kept: str) -> Column:
    return moment if kept == "UTC" else F.from_utc_timestamp(moment, kept)


def _of_wall_time(moment: Column, spec: Spec) -> Column:
    zone = spec.prepare.timezone
    return moment if kept_zone(spec) == zone else F.to_utc_timestamp(moment, zone)
