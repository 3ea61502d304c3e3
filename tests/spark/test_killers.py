"""Partitions whose fits kill their process every time: each
is set aside under its own code, and the rest are fitted.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from builders import days, make_spec, write_csv

from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.tables import FITS, MODELS, QUARANTINE
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.train.stage import train
from tests.spark.killers import KILLED, MEMORY, SEGFAULT, SLEEP

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
SOUND = 30
REASONS = {
    "segfault": "worker_crashed",
    "killed": "out_of_memory",
    "memory": "out_of_memory",
    "sleep": "timed_out",
}
LEVELS = {"segfault": SEGFAULT, "killed": KILLED, "memory": MEMORY, "sleep": SLEEP}


@pytest.mark.slow
def test_fits_that_kill_their_process_every_time_are_set_aside_and_the_rest_are_fitted(
    spark: SparkSession, tmp_path: Path
) -> None:
    levels = {**{f"sound-{n}": float(n) for n in range(SOUND)}, **LEVELS}
    rows = [
        {"store": 1, "item": item, "date": day, "units": level + n % 7}
        for item, level in levels.items()
        for n, day in enumerate(days(30))
    ]
    write_csv(tmp_path / "sales.csv", rows)
    limits = {"seconds_per_fit": 3, "memory_per_fit": 512, "failures": 1.0}
    job = Job.of(make_spec(tmp_path, candidates=["tests.spark.killers:Killer"], limits=limits), spark)
    ingest(job), prepare(job)
    for attempt, unchanged in enumerate((0, SOUND), start=1):
        counts = train(job).counts
        fitted = SOUND - unchanged
        assert counts == {
            "partitions": SOUND + 4,
            "fitted": fitted,
            "fallback": 0,
            "unchanged": unchanged,
            "inactive": 0,
            "quarantined": 4,
        }
        table = job.lake.read(QUARANTINE).select("key", "reason", "advice").collect()
        assert {PartitionKey.parse(row["key"]).as_dict()["item"]: row["reason"] for row in table} == REASONS
        assert all(row["advice"] for row in table)
        assert job.lake.read(MODELS).count() == SOUND
        assert job.lake.read(FITS).filter("status = 'failed'").count() == 4 * attempt, (
            "such reasons are tried again each time"
        )
