"""What is known of the days to come (promotions, prices), by partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manymodels_spark.spark.names import quote
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.prepare.casting import unusable
from manymodels_spark.stages.prepare.grid import ID

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def by_partition(calendar: DataFrame, partitions: DataFrame, spec: Spec) -> DataFrame:
    """partition_id, time (timestamp) and the known-future columns (double) of the calendar's rows.

    A calendar may lack partition columns: its rows then hold for all partitions that have the others in
    common. Rows without a time, or with one that no fit could be given, are left out.
    """
    from pyspark.sql import functions as F

    shared = [name for name in spec.partition_by if name in calendar.columns]
    named = F.broadcast(partitions.select(ID, *(F.col(quote(name)).alias(f"_key_{name}") for name in shared)))
    kinds = {field.name: field.dataType for field in partitions.schema}
    on = [calendar[quote(name)].cast(kinds[name]).eqNullSafe(F.col(quote(f"_key_{name}"))) for name in shared]
    joined = calendar.join(named, on) if on else calendar.crossJoin(named)
    time, usable = str(spec.columns.time), ~unusable(F.col(quote(str(spec.columns.time))).cast("timestamp"))
    features = [F.col(quote(name)).cast("double").alias(name) for name in spec.columns.known_future]
    return joined.filter(usable).select(ID, F.col(quote(time)).cast("timestamp").alias(time), *features)
