"""A training run that is killed again and again ends with the
tables and the MLflow contents of one that was left in peace.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from builders import days, make_spec
from lakes import after

from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.tables import FITS, MODELS, PROGRESS
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.train.sandbox import PREFIX
from manymodels_spark.stages.train.stage import train
from manymodels_spark.tracking.opening import open_repository
from tests.e2e import chaos

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

PARTITIONS, WAVE = 24, 6
CHANGING = {"manymodels.job", "manymodels.batch", "manymodels.wave"}


def prepared(spark: SparkSession, folder: Path, log: Path) -> Job:
    """A job of 24 partitions in waves of 6, one of which is too short, ready to train."""
    rows: list[dict[str, object]] = [
        {"store": 1, "item": item, "date": day, "units": float((n * (item + 3)) % 11)}
        for item in range(PARTITIONS)
        for n, day in enumerate(days(5 if item == 3 else 40))
    ]
    changes = {"candidates": [chaos.candidate(0.15, log)], "limits": {"partitions_per_wave": WAVE}}
    after("prepare", folder, spark, rows, **changes)
    return Job.of(make_spec(folder, **changes), spark)


def outcomes(job: Job) -> Counter[tuple[Any, ...]]:
    """What table `fits` says of each partition, but for times and places."""
    columns = (
        "partition_id",
        "key",
        "status",
        "family",
        "rows",
        "fingerprint",
        "reason",
        "sha256",
        "start",
        "cutoff",
    )
    return Counter(tuple(row) for row in job.lake.read(FITS).select(*columns).collect())


def models(job: Job) -> Counter[tuple[Any, ...]]:
    """What MLflow says of each partition's model, but for names of runs, moments and how long a fit took."""
    repository = open_repository(job.spec.mlflow.development, job.spec)
    return Counter(
        (
            tuple(sorted((name, value) for name, value in model.tags.items() if name not in CHANGING)),
            tuple(sorted((name, value) for name, value in model.metrics.items() if name != "fit_seconds")),
            model.ready,
            repository.read(model),
        )
        for model in repository.search("tags.`manymodels.spec` = 'sales'")
    )


# Each kill costs another start of Java and Spark; tests/spark/test_killers.py has fits that kill a worker.
@pytest.mark.slow
@pytest.mark.parametrize("killed", [("driver",), ("driver", "jvm")])
def test_a_run_whose_driver_jvm_and_workers_are_killed_equals_one_in_peace(
    killed: tuple[str, ...], spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANYMODELS_COMMIT", "0" * 40)
    peace, war = tmp_path / "peace", tmp_path / "war"
    peace.mkdir(), war.mkdir()
    log = tmp_path / "fits.log"
    undisturbed = prepared(spark, peace, log)
    job = prepared(spark, war, log)
    train(undisturbed)
    log.unlink()
    spec = chaos.write_spec(war / "spec.yaml", job.spec)
    moments = random.Random(4)

    kept: dict[str, int] = {}
    for who in killed:
        victim = chaos.Victim(spec)
        assert chaos.wait_for_fits(victim, log, moments.randint(2, 20)), victim.text()
        assert victim.kill(who)
        assert victim.wait() != 0
        now = committed_fits(job, log)
        assert now.items() >= kept.items(), "what was committed stays, and is not fitted again"
        kept = now
    last = chaos.Victim(spec)
    assert chaos.wait_for_fits(last, log, 3), last.text()
    assert last.kill("worker")
    assert last.wait() == 0, last.text()

    assert all(chaos.fits_of(log)[seed] == times for seed, times in kept.items()), (
        "no committed partition is fitted again"
    )
    assert outcomes(job) == outcomes(undisturbed)
    assert models(job) == models(undisturbed)
    assert (
        job.lake.read(MODELS).count()
        == job.lake.read(MODELS).select("partition_id").distinct().count()
        == PARTITIONS - 1
    )
    assert job.lake.read(FITS).select("run_id").distinct().count() == 1, "several processes, one run"
    assert list(last.scratch.glob(f"{PREFIX}*")) == [], "nothing of the killed ones is left on disk"
    recorded = job.lake.read(PROGRESS).orderBy("at").collect()
    assert (recorded[-1]["done"], recorded[-1]["left_seconds"]) == (recorded[-1]["total"], 0.0)


def committed_fits(job: Job, log: Path) -> dict[str, int]:
    """Fits of every partition that is in table `fits` and has a model, by its seed."""
    if not job.lake.exists(FITS):
        return {}
    keys = [row["key"] for row in job.lake.read(FITS).filter("payload IS NOT NULL").select("key").collect()]
    seeds = [str(PartitionKey.parse(key).seed) for key in keys]
    fits = chaos.fits_of(log)
    return {seed: fits[seed] for seed in seeds}
