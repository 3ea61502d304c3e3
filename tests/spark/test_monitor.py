"""Monitoring end to end: forecasts are kept by cutoff, met by actuals, and the partition that moved is fitted
again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from builders import days, make_spec, write_csv
from click.testing import CliRunner

from manymodels_spark.cli import main, overview
from manymodels_spark.errors import ManyModelsError
from manymodels_spark.lake.tables import ALERTS, MONITORING
from manymodels_spark.modeling.fingerprint import spec_hash
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.monitor.stage import monitor
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.promote.stage import promote
from manymodels_spark.stages.runs.job import Job, new_run_id
from manymodels_spark.stages.score.stage import score
from manymodels_spark.stages.train.due import Choice, select
from manymodels_spark.stages.train.stage import train

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

WEEK = [30.0, 50.0, 40.0, 60.0, 80.0, 120.0, 100.0]
NOISE = [1.0, 1.07, 0.95, 1.02, 0.9, 1.1, 0.97, 1.05, 0.93, 1.0, 1.04]


def rows_of(item: str, count: int, moved: int | None = None) -> list[dict[str, object]]:
    """Weekly sales with a little noise; from day `moved` on they are doubled."""
    shift = len(item)
    return [
        {
            "store": 1,
            "item": item,
            "date": day,
            "units": WEEK[n % 7]
            * NOISE[(n * n + shift) % 11]
            * (2 if moved is not None and n >= moved else 1),
        }
        for n, day in enumerate(days(count))
    ]


def refreshed(job: Job, rows: list[dict[str, object]]) -> None:
    write_csv(Path(job.lake.root).parent / "sales.csv", rows)
    ingest(job, full_refresh=True)
    prepare(job)


def test_the_moved_partition_is_found_and_it_alone_is_fitted_again(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(
        tmp_path, horizon=14, backtest={"folds": 2, "intervals": [80]}, monitor={"significance": 0.01}
    )
    job = Job.of(spec, spark)
    refreshed(job, [row for item in ("a", "bb", "ccc") for row in rows_of(item, 112)])
    train(job)
    promote(job)
    score(job)
    refreshed(job, [*rows_of("a", 126), *rows_of("bb", 126, moved=112), *rows_of("ccc", 112)])

    monkeypatch.setattr(overview, "job_of", lambda path: job)
    said = CliRunner().invoke(main, ["monitor", "sales.yaml"])
    assert said.exit_code == 3
    assert "1 of 2 monitored partitions have an alert" in said.output, "the third has no actuals yet"
    assert "accuracy" in said.output and "item=bb" in said.output
    alerts = job.lake.read(ALERTS).select("key", "check", "age", "steps", "advice").collect()
    assert {row["check"] for row in alerts} >= {"accuracy", "coverage", "level"}
    assert all('"bb"' in row["key"] and row["advice"] for row in alerts)
    assert {(row["age"], row["steps"]) for row in alerts} == {("all", 14)}
    found = (
        job.lake.read(MONITORING)
        .filter("check = 'accuracy' AND age <> 'all'")
        .select("age", "steps")
        .distinct()
        .collect()
    )
    assert sorted((row["age"], row["steps"]) for row in found) == [("1-7", 7), ("8-14", 7)]

    report = train(job, Choice(degraded=True))
    assert (report.counts["fitted"], report.counts["unchanged"]) == (1, 2)
    again = select(job.lake, Choice(degraded=True), spec_hash(spec), new_run_id())
    assert (len(again.todo), again.unchanged) == (0, 3), "fitted since the alert"


def test_only_forecasts_can_be_monitored(spark: SparkSession, tmp_path: Path) -> None:
    spec = make_spec(tmp_path, task="regression", candidates=["linear"], columns={"target": "units"})
    with pytest.raises(ManyModelsError, match="sales is a regression"):
        monitor(Job.of(spec, spark))
