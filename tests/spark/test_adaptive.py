"""Adaptive query execution, which clusters have on, leaves
the packing of partitions into tasks as it was planned.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from builders import days, make_spec, write_csv

from manymodels_spark.modeling.fingerprint import spec_hash
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.train import fit_wave
from manymodels_spark.stages.train.due import Choice, select
from manymodels_spark.stages.train.packing import expected
from manymodels_spark.stages.train.waves import Waves

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
EAGER = {
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.adaptive.coalescePartitions.enabled": "true",
    "spark.sql.adaptive.coalescePartitions.parallelismFirst": "false",
    "spark.sql.adaptive.advisoryPartitionSizeInBytes": "1g",
    "spark.sql.adaptive.optimizeSkewsInRebalancePartitions.enabled": "true",
}


@pytest.fixture
def adaptive(spark: SparkSession) -> Iterator[SparkSession]:
    """A session that puts small tasks together wherever it may."""
    before = {name: spark.conf.get(name) for name in EAGER}
    for name, value in EAGER.items():
        spark.conf.set(name, value)
    yield spark
    for name, old in before.items():
        spark.conf.set(name, str(old))


def test_small_partitions_stay_in_the_tasks_that_they_were_packed_into(
    adaptive: SparkSession, tmp_path: Path
) -> None:
    from pyspark.sql import functions as F

    rows = [{"store": n, "item": "a", "date": day, "units": 1.0} for n in range(40) for day in days(20)]
    write_csv(tmp_path / "sales.csv", rows)
    job = Job.of(make_spec(tmp_path), adaptive)
    ingest(job), prepare(job)
    assert (
        adaptive.range(1000)
        .groupBy((F.col("id") % 50).alias("k"))
        .count()
        .select(F.spark_partition_id())
        .distinct()
        .count()
        == 1
    )
    todo = select(job.lake, Choice(), spec_hash(job.spec), "run").todo
    todo["cost"] = expected(todo["rows"], job.spec)
    (wave,) = Waves(todo, 100, 2, 1)
    packed = fit_wave._rows(job.lake, job.spec, wave, None).select(
        F.spark_partition_id().alias("task"), fit_wave.NUMBER
    )
    found = {row[fit_wave.NUMBER]: row["task"] for row in packed.distinct().collect()}
    assert wave.tasks > 2
    assert [found[number] for number in range(len(wave.members))] == list(wave.members["task"])
