"""Training while the MLflow server goes away and comes back:
told clearly, nothing fitted twice, every model logged once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from builders import days, make_spec, write_csv
from integration import mlflow_server
from integration.mlflow_server import MlflowServer

from manymodels_spark.errors import TrackingError
from manymodels_spark.lake.tables import FITS, MODELS, RUNS
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.train.log_models import Recorder
from manymodels_spark.stages.train.stage import train
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.opening import open_repository

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.services]
PARTITIONS = 16


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MlflowServer]:
    running = mlflow_server.start(tmp_path / "server")
    yield running
    running.stop()


@pytest.fixture
def job(spark: SparkSession, server: MlflowServer, tmp_path: Path) -> Job:
    """Sixteen partitions in several waves, prepared, their models to go to the server."""
    rows = [
        {"store": n, "item": "a", "date": day, "units": float(n + d % 7)}
        for n in range(PARTITIONS)
        for d, day in enumerate(days(30))
    ]
    write_csv(tmp_path / "sales.csv", rows)
    spec = make_spec(
        tmp_path,
        limits={"partitions_per_wave": 4},
        mlflow={
            place: {"tracking": server.url, "experiment": place} for place in ("development", "production")
        },
    )
    job = Job.of(spec, spark)
    ingest(job), prepare(job)
    return job


def table(job: Job, name: str, *columns: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(row) for row in job.lake.read(name).select(*columns).collect())


@pytest.mark.slow
def test_a_server_that_stops_between_waves_and_comes_back_gets_each_model_once_and_nothing_is_fitted_again(
    job: Job, server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, first = Recorder.record, threading.Lock()

    def stops(self: Recorder, wave: int, *, resumed: bool = False) -> int:
        with first:  # one wave is logged whole; the next ones meet a server that is gone
            logged = record(self, wave, resumed=resumed)
            server.stop()
        return logged

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "record", stops)
        patch.setattr("manymodels_spark.tracking.faults.backoff", lambda *_: 0.0)
        with pytest.raises(
            TrackingError,
            match=r"MLflow at http://127\.0\.0\.1:\d+ did not answer.*what was committed so far is safe",
        ):
            train(job)

    fitted = table(job, FITS, "partition_id", "run_id", "wave", "fitted_at")
    logged = table(job, MODELS, "partition_id", "model_id")
    assert len({wave for _, _, wave, _ in fitted}) > 1
    assert 0 < len(logged) < len(fitted)
    assert [
        row["status"] for row in job.lake.read(RUNS).filter("stage = 'train'").orderBy("ended_at").collect()
    ][-1] == "failed"

    server.start()
    assert train(job).counts == {
        "partitions": PARTITIONS,
        "fitted": PARTITIONS,
        "fallback": 0,
        "unchanged": 0,
        "inactive": 0,
        "quarantined": 0,
    }

    after = table(job, FITS, "partition_id", "run_id", "wave", "fitted_at")
    assert set(fitted) <= set(after), "what was fitted stands"
    assert len(after) == len({partition for partition, *_ in after}) == PARTITIONS
    assert {run for _, run, _, _ in after} == {run for _, run, _, _ in fitted}, "one run, continued"
    assert set(logged) <= set(table(job, MODELS, "partition_id", "model_id"))
    found = list(open_repository(job.spec.mlflow.development, job.spec).search(t.where(SPEC="sales")))
    assert sorted((model.partition_id, model.model_id) for model in found) == table(
        job, MODELS, "partition_id", "model_id"
    )
    assert len(found) == PARTITIONS
    assert all(model.ready for model in found)
    assert train(job).counts["unchanged"] == PARTITIONS
