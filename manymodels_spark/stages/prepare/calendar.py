"""What is known of the days to come (promotions, prices, closed days), by partition."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from manymodels_spark.spark.names import quote
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.prepare.casting import says_closed, without_nan
from manymodels_spark.stages.prepare.clock import kept_time, unusable
from manymodels_spark.stages.prepare.grid import ID


def by_partition(calendar: DataFrame, partitions: DataFrame, spec: Spec) -> DataFrame:
    """partition_id, time (on the spec's clock), the known-future columns (double) and, where the calendar has
    it, `prepare.closed.column` (boolean) of the calendar's rows.

    A calendar may lack partition columns: its rows then hold for all partitions that have the others in
    common. Rows without a time, or with one that no fit could be given, are left out.
    """
    shared = [name for name in spec.partition_by if name in calendar.columns]
    named = F.broadcast(partitions.select(ID, *(F.col(quote(name)).alias(f"_key_{name}") for name in shared)))
    kinds = {field.name: field.dataType for field in partitions.schema}
    on = [calendar[quote(name)].cast(kinds[name]).eqNullSafe(F.col(quote(f"_key_{name}"))) for name in shared]
    joined = calendar.join(named, on) if on else calendar.crossJoin(named)
    time, closed = str(spec.columns.time), spec.prepare.closed.column
    moment = kept_time(time, calendar.schema[time].dataType, spec).alias(time)
    known = [without_nan(F.col(quote(n)).cast("double")).alias(n) for n in spec.columns.known_future]
    if closed in calendar.columns and closed not in spec.columns.known_future:
        known.append(says_closed(str(closed)).alias(str(closed)))
    return joined.select(ID, moment, *known).filter(~unusable(F.col(quote(time))))
