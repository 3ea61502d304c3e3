"""Remove from table `fits` the payloads of old models that MLflow has, too; the rest of their rows stays.

A champion's payload stays, and so does that of each partition's newest model: the next promotion copies it.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from manymodels_spark.lake.queries import latest_fits
from manymodels_spark.lake.tables import CHAMPIONS, FITS, MODELS, Lake, write_lock
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.opening import open_repository

_KEY = ("run_id", "partition_id")


def remove_old_payloads(job: Job, older_than: timedelta) -> tuple[int, int]:
    """The payloads removed, and the MLflow calls made: none where no payload is old enough.

    Raises TrackingError where MLflow cannot be asked, and ConcurrentWrite where `fits` was changed meanwhile.
    """
    lake = job.lake
    if not lake.exists(FITS) or not lake.exists(MODELS):
        return 0, 0
    old = old_payloads(lake, datetime.now(UTC) - older_than)
    if old.isEmpty():
        return 0, 0
    repository = open_repository(job.spec.mlflow.development, job.spec)
    present = [
        (model.model_id,) for model in repository.search_all(t.where(SPEC=repository.spec)) if model.ready
    ]
    kept_there = job.spark.createDataFrame(present, "model_id string")
    return _remove(lake, old.join(kept_there, "model_id", "left_semi")), repository.client.total


def old_payloads(lake: Lake, before: datetime) -> DataFrame:
    """run_id, partition_id and model_id of logged fits from before a time that nothing in the lake needs."""
    fits = lake.read(FITS).filter("payload IS NOT NULL").select(*_KEY, "sha256", "fitted_at")
    models = lake.read(MODELS).select(*_KEY, "model_id")
    logged = fits.join(models, [*_KEY])
    old = logged.filter(F.col("fitted_at") < F.lit(before))
    old = old.join(latest_fits(logged).select(*_KEY), [*_KEY], "left_anti")
    if lake.exists(CHAMPIONS):
        champions = lake.read(CHAMPIONS).select("partition_id", "sha256")
        old = old.join(F.broadcast(champions), ["partition_id", "sha256"], "left_anti")
    return old.select(*_KEY, "model_id").distinct()


def _remove(lake: Lake, old: DataFrame) -> int:
    """Empty the payloads of these fits, in one commit; how many."""
    removed = old.count()
    if not removed:
        return 0
    view = f"payloads_{uuid.uuid4().hex}"
    old.createOrReplaceTempView(view)
    on = " AND ".join(f"f.{name} = o.{name}" for name in _KEY)
    with write_lock(FITS):
        lake.spark.sql(
            f"MERGE INTO {lake.ref(FITS)} f USING {view} o ON {on} "
            "WHEN MATCHED THEN UPDATE SET f.payload = NULL"
        )
    lake.spark.catalog.dropTempView(view)
    return removed
