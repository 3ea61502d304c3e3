"""Inactivity counted in open steps: a partition that sold nothing because it was closed is not inactive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from manymodels_spark.spark.names import quote
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.prepare.census import Census
from manymodels_spark.stages.prepare.steps import with_missing_steps

if TYPE_CHECKING:
    from manymodels_spark.stages.prepare.closed import ClosedSteps

ID, _UNTIL, _MADE = "partition_id", "_until", "_made"


def wrongly_inactive(census: Census, closed: ClosedSteps, spec: Spec) -> set[str]:
    """The ids of inactive partitions that were open on fewer than `prepare.inactive_after` steps since their
    last demand.

    The census counts all steps, of which the open ones are at most as many: only those that it calls inactive
    are looked at.
    """
    after, now, time = spec.prepare.inactive_after, census.activity.now, str(spec.columns.time)
    if after is None or now is None or not any(entry["inactive"] for entry in census.rows):
        return set()
    suspects = census.table.filter("inactive").select(
        ID,
        F.coalesce("last_demand", "first").cast("timestamp").alias(time),
        F.lit(now.isoformat(" ")).cast("timestamp").alias(_UNTIL),
    )
    steps = with_missing_steps(suspects, time, spec.columns.frequency, made=_MADE, until=_UNTIL)
    opened = closed.dropped(steps.filter(_MADE).select(ID, quote(time))).groupBy(ID)
    counted = suspects.select(ID).join(opened.agg(F.count("*").alias("open")), ID, "left")
    few = counted.filter(F.coalesce("open", F.lit(0)) < after)
    return {row[ID] for row in few.collect()}
