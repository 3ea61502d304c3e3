"""Score: one set of rows per partition and cutoff, whoever else is at work; and the table stays quick to
read.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from builders import days, outside, write_spec
from champions import lay_out
from pyspark.sql import functions as F

from manymodels_spark.errors import ConcurrentWrite, ManyModelsError, TooManyUnscored
from manymodels_spark.lake.tables import (
    ALERTS,
    CHAMPIONS,
    FITS,
    MODELS,
    PARTITIONS,
    PREDICTIONS,
    RUNS,
    SCORING,
    SILVER,
    UNSCORED,
    WRITERS,
)
from manymodels_spark.spec.model import Candidate
from manymodels_spark.stages.load.stage import load
from manymodels_spark.stages.maintain.payloads import _remove, old_payloads
from manymodels_spark.stages.maintain.stage import maintain
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.score.inputs import champion_payloads
from manymodels_spark.stages.score.stage import score

pytestmark = pytest.mark.spark
MakeJob = Callable[..., Job]
LIMIT_SECONDS = 240
LATER = datetime(2026, 1, 25)


@pytest.fixture
def job(make_job: MakeJob) -> Job:
    job = make_job(partition_by=["item"])
    weeks = {
        (name,): pd.DataFrame({"date": pd.to_datetime(days(21)), "units": [float(n % 7) for n in range(21)]})
        for name in "ab"
    }
    lay_out(job, weeks)
    return job


def more_days(job: Job, count: int, *, inactive: str = "") -> None:
    """`count` more days of units 50 for every partition in silver, and nothing trained since."""
    first = datetime(2026, 1, 22)
    new = [(first + timedelta(days=n), 50.0) for n in range(count)]
    fresh = job.spark.createDataFrame(new, "date timestamp, units double")
    keys = job.lake.read(PARTITIONS).select("partition_id", "bucket", "item")
    silver = job.lake.read(SILVER, job.lake.version(SILVER))
    job.lake.append(SILVER, keys.crossJoin(fresh).select(*silver.columns))
    partitions = job.lake.read(PARTITIONS, job.lake.version(PARTITIONS))
    last = (first + timedelta(days=count - 1)).isoformat(" ")
    dead = partitions.withColumn("inactive", partitions["item"] == inactive)
    job.lake.overwrite(PARTITIONS, dead.selectExpr("* EXCEPT (end)", f"timestamp'{last}' AS end"))


def counts(job: Job) -> dict[tuple[str, str], int]:
    """Item and cutoff to rows."""
    rows = job.lake.read(PREDICTIONS).groupBy("item", "cutoff").count().collect()
    return {(row["item"], f"{row['cutoff']:%m-%d}"): int(row["count"]) for row in rows}


def test_the_same_cutoff_is_replaced_and_another_is_added(job: Job) -> None:
    score(job)
    assert counts(job) == {("a", "01-21"): 7, ("b", "01-21"): 7}
    score(job, force=True)
    assert counts(job) == {("a", "01-21"): 7, ("b", "01-21"): 7}
    score(job, at=LATER)
    assert counts(job) == {("a", "01-21"): 7, ("b", "01-21"): 7, ("a", "01-25"): 7, ("b", "01-25"): 7}
    trained = job.lake.read(PREDICTIONS).select("trained_until").distinct().collect()
    assert [f"{row['trained_until']:%Y-%m-%d}" for row in trained] == ["2026-01-21"]
    first = job.lake.read(PREDICTIONS).filter("item = 'a' AND cutoff = '2026-01-25'").orderBy("date").first()
    assert (str(first["date"])[:10], first["prediction"]) == ("2026-01-26", pytest.approx(4.0))  # type: ignore[index]


def test_rows_beyond_a_shorter_horizon_go_and_a_new_interval_gets_its_column(job: Job) -> None:
    score(job)
    changed = job.spec.model_copy(
        update={"horizon": 5, "backtest": job.spec.backtest.model_copy(update={"intervals": [50]})}
    )
    score(Job.of(changed, job.spark), only="item = 'a'")
    assert counts(job) == {("a", "01-21"): 5, ("b", "01-21"): 7}
    rows = job.lake.read(PREDICTIONS)
    kept = {(row["item"], row["lower_80"] is None, row["lower_50"] is None) for row in rows.collect()}
    assert kept == {("a", True, False), ("b", False, True)}


@pytest.mark.slow  # a second form of `test_the_same_cutoff_is_replaced_and_another_is_added`
def test_rows_without_a_time_are_replaced_too(make_job: MakeJob) -> None:
    columns = {"target": "units", "features": ["price"]}
    job = make_job(
        partition_by=["item"], task="regression", columns=columns, candidates=["mean"], backtest={"folds": 2}
    )

    def answers(slope: float, count: int) -> list[tuple[str, int, float]]:
        price = [float(n) for n in range(count)]
        lay_out(
            job,
            {(name,): pd.DataFrame({"price": price, "units": [slope * n for n in price]}) for name in "ab"},
        )
        score(job, every_row=True)
        rows = job.lake.read(PREDICTIONS).groupBy("item").agg({"row": "count", "prediction": "max"}).collect()
        return sorted((row["item"], row["count(row)"], round(row["max(prediction)"])) for row in rows)

    assert answers(2.0, 20) == [("a", 20, 19), ("b", 20, 19)]
    assert answers(3.0, 25) == [("a", 25, 36), ("b", 25, 36)]
    assert answers(5.0, 15) == [("a", 15, 35), ("b", 15, 35)], "rows that are no more go"


def test_a_payload_that_was_altered_costs_its_own_partition_only(job: Job) -> None:
    job.spark.sql(f"UPDATE {job.lake.ref(FITS)} SET payload = unhex('00') WHERE key LIKE '%b%'")
    with pytest.raises(TooManyUnscored, match=r"1 of 2 partitions have a champion and no forecast \(50.0%\)"):
        score(job)
    with pytest.raises(TooManyUnscored) as again:
        score(job)
    assert again.value.report.counts == {
        "partitions": 2, "inactive": 0, "scored": 1, "fallback": 0, "unscored": 1, "lost": 1, "rows": 7
    }, "also where nothing changed since"  # fmt: skip
    assert job.lake.read(UNSCORED).first()["error"].startswith("PayloadError: ")  # type: ignore[index]
    alert = job.lake.read(ALERTS).first()
    assert (alert["check"], alert["subject"]) == ("unscored", "PayloadError")  # type: ignore[index]

    # The fallback forecasts where the spec has one, marked as such; the alert says so.
    spec = job.spec.model_copy(update={"fallback": Candidate(family="mean")})
    rescued = score(Job.of(spec, job.spark)).counts
    assert (rescued["scored"], rescued["fallback"], rescued["lost"]) == (2, 1, 0)
    marked = job.lake.read(PREDICTIONS).filter("fallback").select("item", "family", "model_id").distinct()
    assert [tuple(row) for row in marked.collect()] == [("b", "mean", None)]
    assert job.lake.read(ALERTS).first()["check"] == "fallback"  # type: ignore[index]


def test_a_second_night_forecasts_from_the_newest_row_and_never_from_before_a_training(job: Job) -> None:
    score(job)
    more_days(job, 3, inactive="b")
    counted = score(job).counts
    assert (counted["scored"], counted["inactive"], counted["unscored"]) == (1, 1, 0)
    assert counts(job) == {("a", "01-21"): 7, ("b", "01-21"): 7, ("a", "01-24"): 7}
    newest = job.lake.read(PREDICTIONS).filter("cutoff = '2026-01-24'").orderBy("date").collect()
    assert {f"{row['trained_until']:%m-%d}" for row in newest} == {"01-21"}
    assert f"{newest[0]['date']:%m-%d}" == "01-25"
    with pytest.raises(ManyModelsError, match=r"1 champions were trained on later rows, until 2026-01-21"):
        score(job, at=datetime(2026, 1, 20))
    assert job.lake.read(PREDICTIONS).filter("cutoff = '2026-01-20'").isEmpty()


def test_only_the_champions_payloads_are_read_and_old_ones_go_where_mlflow_has_them(job: Job) -> None:
    fits = job.lake.read(FITS).filter("partition_id IS NOT NULL")
    ages = {"champion": 90, "old": 60, "lost": 60, "newest": 40}
    for name, age in ages.items():
        own = fits.withColumns(
            {
                "run_id": F.lit(name),
                "fitted_at": F.current_timestamp() - F.expr(f"INTERVAL {age} DAYS"),
                "sha256": F.col("sha256") if name == "champion" else F.lit(name),
            }
        )
        job.lake.append(FITS, own)
        logged = own.selectExpr("run_id", "partition_id", f"'m-{name}' AS model_id")
        job.lake.append(MODELS, logged)
    champions = job.lake.read(CHAMPIONS).select("partition_id", "sha256", "source_run")
    read = champion_payloads(job.lake, champions)
    assert read.count() == 2
    with redirect_stdout(StringIO()) as plan:
        read.explain()
    assert "SortMergeJoin" not in plan.getvalue()
    assert "LeftSemi, BuildRight" in plan.getvalue(), "the champions go to the payloads, not they to them"

    old = old_payloads(job.lake, datetime.now(UTC) - timedelta(days=30))
    assert {row["run_id"] for row in old.collect()} == {"old", "lost"}
    kept_there = old.filter("model_id = 'm-old'")
    assert _remove(job.lake, kept_there) == 2
    left = job.lake.read(FITS).filter("payload IS NOT NULL").select("run_id").distinct().collect()
    assert {row["run_id"] for row in left} == {None, "champion", "lost", "newest"}


@pytest.mark.slow
def test_two_scorings_at_once_leave_one_set_of_rows(job: Job) -> None:
    score(job)

    def again(_: int) -> str:
        try:
            return score(Job.of(job.spec, job.spark), at=LATER, force=True).note
        except ConcurrentWrite as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(again, range(2)))
    assert any("predictions for 2 partitions" in line for line in told), told
    assert counts(job) == {("a", "01-21"): 7, ("b", "01-21"): 7, ("a", "01-25"): 7, ("b", "01-25"): 7}


# Another Java and Spark for one lock: tests/spark/test_lock.py has the locks of other machines, and the test
# above has two scorings of one process.
@pytest.mark.slow
def test_a_second_process_is_refused_while_the_first_one_lives(job: Job, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "manymodels_spark.cli",
        "score",
        str(write_spec(tmp_path, partition_by=["item"])),
    ]
    with (tmp_path / "log").open("w") as log:
        other = subprocess.Popen(command, stdout=log, stderr=log, env=outside())
    limit = time.monotonic() + LIMIT_SECONDS
    while not (job.lake.exists(RUNS) and job.lake.read(RUNS).filter("status = 'running'").count()):
        assert other.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < limit
    with pytest.raises(ManyModelsError, match="score of sales is already running"):
        score(job)
    assert other.wait(LIMIT_SECONDS) == 0, (tmp_path / "log").read_text()
    assert counts(job) == {("a", "01-21"): 7, ("b", "01-21"): 7}
    assert score(job).counts["scored"] == 2, "and when it has ended there is nothing left to do"


@pytest.mark.slow
def test_small_files_are_put_together_and_nothing_has_to_be_done_again(job: Job) -> None:
    for day in (LATER, LATER + timedelta(days=1), LATER + timedelta(days=2)):
        score(job, at=day)
    before = sorted(map(str, job.lake.read(PREDICTIONS).collect()))
    version = job.lake.version(PREDICTIONS)

    report = maintain(job)

    assert report.counts["removed"] > report.counts["added"] >= 1
    assert len(job.lake.read(PREDICTIONS).inputFiles()) == 1
    assert sorted(map(str, job.lake.read(PREDICTIONS).collect())) == before
    assert job.lake.version(PREDICTIONS) == version + 1
    score(job, at=LATER + timedelta(days=2))
    assert job.lake.version(PREDICTIONS) == version + 1, "what was scored is not scored again"


def test_old_versions_go_from_every_table(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    score(job)
    asked, sql = list[str](), type(job.spark).sql

    def heard(self: object, query: str, **named: object) -> object:
        asked.append(query)
        return sql(self, query, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(type(job.spark), "sql", heard)
    versions = {table: job.lake.version(table) for table in (SILVER, PARTITIONS, CHAMPIONS, SCORING)}
    maintain(job, vacuum=timedelta(days=7))
    assert {table: job.lake.version(table) for table in versions} == versions, (
        "or the next run would do its work again"
    )
    tables = {
        table
        for table in WRITERS
        for query in asked
        if query == f"VACUUM {job.lake.ref(table)} RETAIN 168 HOURS"
    }
    assert tables == {SILVER, PARTITIONS, FITS, CHAMPIONS, SCORING, PREDICTIONS, UNSCORED, RUNS}
    assert counts(job) == {("a", "01-21"): 7, ("b", "01-21"): 7}


def test_what_the_warehouse_has_lost_is_loaded_again_on_demand(job: Job) -> None:
    score(job), load(job, tables=())
    with duckdb.connect(job.spec.warehouse.path) as connection:  # type: ignore[union-attr]
        connection.execute("DELETE FROM sales_predictions")
    assert load(job, tables=()).counts["rows"] == 0
    assert load(job, full=True, tables=()).counts["rows"] == 14
    with duckdb.connect(job.spec.warehouse.path) as connection:  # type: ignore[union-attr]
        assert connection.execute("SELECT count(*) FROM sales_predictions").fetchall() == [(14,)]


def test_files_of_the_last_week_are_not_removed(make_job: MakeJob) -> None:
    with pytest.raises(ManyModelsError, match="Expected 7d or more"):
        maintain(make_job(), vacuum=timedelta(days=1))
