"""What the fits of a wave may begin at: the payloads of the present champions, where a family of the spec
asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from manymodels_spark.families import registry
from manymodels_spark.lake.tables import CHAMPIONS, FITS, Lake
from manymodels_spark.spec.model import Spec


def warm_starts(lake: Lake, spec: Spec, partitions: Iterable[str]) -> dict[str, bytes]:
    """Partition id to its champion's payload; empty where no candidate has `warm_start`, or nothing was
    promoted yet.
    """
    if not any(registry.build(candidate).warm_start for candidate in spec.candidates) or not lake.exists(
        CHAMPIONS
    ):
        return {}
    return {row["partition_id"]: bytes(row["payload"]) for row in _payloads(lake, list(partitions)).collect()}


def _payloads(lake: Lake, partitions: list[str]) -> DataFrame:
    listed = lake.spark.createDataFrame([(partition,) for partition in partitions], "partition_id string")
    champions = (
        lake.read(CHAMPIONS)
        .select("partition_id", "sha256")
        .join(F.broadcast(listed), "partition_id", "left_semi")
    )
    fits = lake.read(FITS).filter("payload IS NOT NULL").select("partition_id", "sha256", "payload")
    return fits.join(F.broadcast(champions), ["partition_id", "sha256"]).dropDuplicates(["partition_id"])
