"""A plan from a small lake: it counts as a run would, fits
only its sample, and leaves no trace in what runs read.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from builders import days, make_spec, write_csv

from manymodels_spark.cli.overview import plan_lines
from manymodels_spark.lake.tables import FITS
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.train.plan import PLAN_FITS, plan
from manymodels_spark.stages.train.stage import train

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def rows_of(item: str, count: int) -> list[dict[str, object]]:
    return [
        {"store": 1, "item": item, "date": day, "units": 5.0 + n % 7} for n, day in enumerate(days(count))
    ]


BASE = [*rows_of("a", 40), *rows_of("b", 60), *rows_of("c", 80), *rows_of("short", 9)]


def test_a_plan_counts_what_a_run_would_fit_before_and_after_it(spark: SparkSession, tmp_path: Path) -> None:
    write_csv(tmp_path / "sales.csv", BASE)
    job = Job.of(make_spec(tmp_path, limits={"partitions_per_wave": 2}), spark)
    ingest(job)
    prepare(job)

    first = plan(job, cores=8, sample=2)
    assert (first.partitions, first.new, first.changed, first.unchanged, first.too_short) == (4, 4, 0, 0, 1)
    assert (first.skew.rows, first.skew.smallest, first.skew.median, first.skew.largest) == (189, 9, 50, 80)
    assert (first.sampled, first.failed_in_sample) == (2, 1)
    assert (first.estimate.cores, first.estimate.waves) == (8, 2)
    assert first.estimate.seconds > first.estimate.fit_seconds / 8
    assert first.estimate.core_hours == pytest.approx(first.estimate.seconds * 8 / 3600)
    assert not job.lake.exists(FITS), "a plan fits into a table of its own"
    assert job.lake.read(PLAN_FITS).filter("wave = 1").count() == 2

    report = train(job)
    assert first.calls.train >= report.calls - 2
    write_csv(tmp_path / "sales.csv", [*BASE, *rows_of("a", 41)[-1:], *rows_of("d", 50)])
    ingest(job, full_refresh=True)
    prepare(job)
    second = plan(job, sample=1)
    assert (second.new, second.changed, second.unchanged, second.quarantined) == (1, 1, 2, 1)
    assert set(second.others) == {"ingest", "prepare"}
    assert second.lake_bytes > 0 and second.mlflow_bytes > second.lake_bytes
    said = dict(plan_lines(second))
    assert (
        said["partitions"]
        == "5 = 2 to fit (1 new, 1 fitted before) + 2 unchanged + 1 in quarantine + 0 broken"
    )
    nothing = replace(second, new=0, changed=0)
    assert dict(plan_lines(nothing))["train"] == "nothing to fit"
