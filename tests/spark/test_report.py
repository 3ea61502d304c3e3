"""What people look at, from a small job's own tables: the report's records, its page, the status."""

from __future__ import annotations

import os
from dataclasses import astuple, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from builders import days, make_spec, write_csv

from manymodels_spark.cli.overview import live_line
from manymodels_spark.errors import ManyModelsError
from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.find_partition import find_partition
from manymodels_spark.lake.tables import FITS, PROGRESS, RUNS, SILVER, Lake
from manymodels_spark.reporting import records as r
from manymodels_spark.reporting.collect import collect, report
from manymodels_spark.reporting.partition_details import details
from manymodels_spark.reporting.runs import general
from manymodels_spark.reporting.status import status
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.load.stage import load
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.promote.stage import promote
from manymodels_spark.stages.runs.job import LOCK_SCHEMA, Job
from manymodels_spark.stages.runs.lock import RUNNING
from manymodels_spark.stages.runs.owner import of_process
from manymodels_spark.stages.score.stage import score
from manymodels_spark.stages.train.due import Choice
from manymodels_spark.stages.train.stage import train
from manymodels_spark.warehouse import open_warehouse

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

WEEK = [3.0, 5.0, 4.0, 6.0, 8.0, 12.0, 10.0]
SCRIPT = "<script>alert(1)</script>"


def rows_of(item: str, count: int, level: float = 1.0) -> list[dict[str, object]]:
    wave = [1.0, 1.1, 0.9]
    return [
        {"store": 1, "item": item, "date": day, "units": level * WEEK[n % 7] * wave[n % 3]}
        for n, day in enumerate(days(count))
    ]


BASE = [*rows_of("a", 40), *rows_of("b", 40, 2.0), *rows_of(SCRIPT, 40), *rows_of("short", 4)]


def ready(folder: Path, spark: SparkSession, rows: list[dict[str, object]]) -> Job:
    write_csv(folder / "sales.csv", rows)
    candidates = [{"theta": {}}, {"seasonal_naive": {}}]
    gates = {"all": [{"metric": "wape", "below": 0.5}]}
    job = Job.of(
        make_spec(folder, candidates=candidates, promote=gates, backtest={"folds": 2, "intervals": [80]}),
        spark,
    )
    ingest(job)
    prepare(job)
    return job


@pytest.fixture(scope="module")
def job(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Trained twice, so that there is a model before; then promoted and scored."""
    made = ready(tmp_path_factory.mktemp("report"), spark, BASE)
    train(made)
    train(made, Choice(force=True, only="item = 'a'"))
    promote(made)
    score(made)
    return made


def test_the_records_are_what_the_tables_say(job: Job) -> None:
    data = collect(job)
    frame = data.partitions.set_index(r.column("item"))
    assert sorted(frame.index) == [SCRIPT, "a", "b", "short"]
    assert frame["status"].to_dict() == {"a": "fitted", "b": "fitted", SCRIPT: "fitted", "short": "failed"}
    assert frame["fresh"].to_dict() == {"a": True, "b": False, SCRIPT: False, "short": False}
    assert frame["decision"].dropna().to_dict() == {"a": "promoted", "b": "promoted", SCRIPT: "promoted"}
    assert frame.loc["a", "previous"] == frame.loc["a", "metric"]
    assert frame["previous"].isna().sum() == 3
    assert [
        (row.candidate, row.tried, row.errors)
        for row in sorted(data.candidates, key=lambda row: row.candidate)
    ] == [
        ("seasonal_naive", 3, 0),
        ("theta", 3, 0),
    ]
    assert sum(row.wins for row in data.candidates) == 3
    assert [(row.reason, row.partitions) for row in data.quarantine] == [("too_short", 1)]
    assert [(row.level, row.partitions) for row in data.coverage] == [(80, 3)]
    assert sum(share.count for share in data.champions) == 3
    assert [(run.status, run.counts["fitted"]) for run in data.training] == [("done", 1), ("done", 3)]
    assert data.predictions == 21


def test_each_partition_from_near_has_its_history_folds_and_forecast(job: Job) -> None:
    data = collect(job)
    ids = data.partitions.set_index(r.column("item"))["partition_id"]
    near = data.details[ids["b"]]
    assert (near.history[0][0], near.history[-1][0], len(near.history)) == ("2026-01-01", "2026-02-09", 40)
    assert near.forecast[0][0] == "2026-02-10" and len(near.forecast) == 7
    assert all(low <= value <= high for _, value, bands in near.forecast for low, high in [bands[80]])
    assert {score["candidate"]: len(score["folds"]) for score in near.scores} == {
        "theta": 2,
        "seasonal_naive": 2,
    }
    reach = [(fold[0][0], fold[-1][0], len(fold)) for fold in near.folds]
    assert reach == [("2026-02-03", "2026-02-09", 7), ("2026-01-27", "2026-02-02", 7)]
    assert near.decision is not None and near.decision.startswith("promoted: held: wape")
    short = data.details[ids["short"]]
    assert short.message is not None and "4 rows" in short.message
    assert short.unscored is not None


def test_fits_of_an_older_version_have_no_folds_to_draw_and_newer_ones_beside_them_do(
    job: Job, tmp_path: Path
) -> None:
    from pyspark.sql import functions as F

    partitions, older = collect(job).partitions, Lake(job.spark, str(tmp_path), "sales")
    older.overwrite(SILVER, job.lake.read(SILVER))
    older.overwrite(FITS, job.lake.read(FITS).drop("folds"))
    found = details(older, job.spec, partitions).values()
    assert [(len(near.scores), near.folds) for near in found if near.scores] == [(2, [])] * 3
    older.append(FITS, job.lake.read(FITS).withColumn("fitted_at", F.expr("fitted_at + INTERVAL 1 HOUR")))
    assert sorted(len(near.folds) for near in details(older, job.spec, partitions).values()) == [0, 2, 2, 2]


def test_the_page_is_written_where_asked_and_escapes_keys(job: Job, tmp_path: Path) -> None:
    path = report(job, tmp_path / "deep" / "page.html")
    page = path.read_text(encoding="utf-8")
    assert page.count("<script") == 2
    assert "&lt;script&gt;alert(1)" in page
    assert "4 in = " not in page, "the newest training run was of one partition"
    assert "1 in = 1 fitted + 0 unchanged + 0 inactive + 0 in quarantine" in page


def test_reasons_are_told_without_their_numbers() -> None:
    assert (
        general("failed: wape 1.25, required below 0.6; held: no champion to compare with")
        == "failed: wape …, required below 0.6"
    )
    assert general("failed: wape nan, wanted below 0.6") == "failed: wape …, wanted below 0.6", "of 0.1"
    folds = "(its theta(lags=[1, 7]) on the same folds)"
    assert (
        general(f"failed: wape 0.31, champion 0.301 {folds}, by 1.0%")
        == f"failed: wape …, champion … {folds}, by 1.0%"
    )
    assert general("no gates") == "no gates"


def test_status_counts_champions_reasons_and_what_is_due(job: Job) -> None:
    found = status(job)
    assert (found.partitions, found.due, found.unchanged, found.quarantined) == (4, 0, 3, 1)
    assert [(share.name, share.count) for share in found.reasons] == [("too_short", 1)]
    assert [(share.name, share.count) for share in found.ages] == [("under a day", 3)]
    assert (found.live, found.stale) == (None, 0)
    assert [row.stage for row in found.stages] == ["ingest", "prepare", "train", "promote", "score"]


def test_the_warehouse_has_the_star_after_a_load(job: Job) -> None:
    load(job)
    with open_warehouse(job.spec.warehouse, "sales") as warehouse:
        states = warehouse.fetch(
            "SELECT state, count(*) AS n FROM sales_dim_partition GROUP BY state ORDER BY state"
        )
        assert states.to_numpy().tolist() == [["in production", 3], ["quarantined", 1]]
        facts = warehouse.fetch("SELECT count(*) AS n, count(actual) AS known FROM sales_fact_predictions")
        assert facts.to_numpy().tolist() == [[21, 0]], "no actual has come for any prediction"
        assert warehouse.fetch("SELECT count(*) AS n FROM sales_fact_actuals")["n"].iat[0] == 3 * 21
        median = warehouse.fetch(
            "SELECT count(*) AS n FROM sales_fact_metrics WHERE metric = 'wape' AND value < 0.5"
        )
        assert median["n"].iat[0] == 3
        assert warehouse.fetch("SELECT count(*) AS n FROM sales_fact_alerts")["n"].iat[0] == 0
        assert set(warehouse.fetch("SELECT DISTINCT stage FROM sales_fact_runs")["stage"]) >= {
            "ingest",
            "train",
            "score",
        }


def test_a_partition_is_found_by_what_a_person_types(job: Job) -> None:
    assert find_partition(job.lake, ["store", "item"], f"store=1, item={SCRIPT}") == PartitionKey.of(
        {"store": 1, "item": SCRIPT}
    )
    with pytest.raises(ManyModelsError, match="no partition is called 'store=2, item=a'"):
        find_partition(job.lake, ["store", "item"], "store=2, item=a")


def test_new_rows_make_partitions_due_and_their_champions_stale(job: Job) -> None:
    write_csv(Path(job.lake.root).parent / "sales.csv", [*BASE, *rows_of("a", 41)[-1:]])
    ingest(job, full_refresh=True)
    prepare(job)
    found = status(job)
    assert (found.due, found.unchanged, found.stale) == (1, 2, 1)


def test_a_spec_that_was_never_prepared_has_an_empty_status(spark: SparkSession, tmp_path: Path) -> None:
    found = status(Job.of(make_spec(tmp_path), spark))
    assert (found.stages, found.partitions, found.due) == ([], 0, 0)


def test_a_stage_under_way_is_told_by_its_progress_and_an_abandoned_one_as_such(job: Job) -> None:
    now = datetime.now(UTC)
    for run_id, pid, alive in (
        ("29990101T000000-aaaaaa", os.getppid(), True),
        ("29990101T000001-bbbbbb", 2**22 + 1, False),
    ):
        owner = replace(of_process(os.getppid()), pid=pid)
        opened = (run_id, "train", RUNNING, now, now, 0.0, 0, {}, "", "x", None, astuple(owner))
        job.lake.append(RUNS, job.spark.createDataFrame([opened], LOCK_SCHEMA))
        schema = (
            "run_id string, stage string, done bigint, failed bigint, skipped bigint, total bigint, rate "
            "double, "
            "left_seconds double, at timestamp"
        )
        recorded = [
            (run_id, "train", done, 1, 2, 10, 0.5, (10 - done) / 0.5, now + timedelta(seconds=done))
            for done in (0, 4)
        ]
        job.lake.append(PROGRESS, job.spark.createDataFrame(recorded, schema))
        live = status(job).live
        assert live is not None
        assert (live.run_id, live.done, live.failed, live.skipped, live.total, live.seconds_left) == (
            run_id,
            4,
            1,
            2,
            10,
            12.0,
        )
        assert live.alive is alive
        label, text = live_line(live)
        assert (
            label == ("running" if alive else "interrupted") and "4 of 10 done, 1 failed, 2 skipped" in text
        )


def test_a_promotion_under_way_is_told_without_the_counts_of_a_training(job: Job) -> None:
    now = datetime.now(UTC)
    opened = (
        "29990102T000000-cccccc",
        "promote",
        RUNNING,
        now,
        now,
        0.0,
        0,
        {},
        "",
        "x",
        None,
        astuple(of_process(os.getppid())),
    )
    job.lake.append(RUNS, job.spark.createDataFrame([opened], LOCK_SCHEMA))
    live = status(job).live
    assert live is not None
    assert (live.stage, live.done, live.total, live.alive) == ("promote", 0, None, True)
    label, text = live_line(live)
    assert label == "running" and text.startswith("promote 29990102T000000-cccccc, since ")
