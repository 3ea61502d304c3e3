"""Tables that are written to while a stage reads them: it
takes one version whole, and the next call takes the rest once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import pytest
from builders import days, write_csv
from champions import lay_out

from manymodels_spark.lake.tables import BRONZE, CHAMPIONS, PARTITIONS, PREDICTIONS, SCORING, SILVER, Lake
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.load.export import Exporter
from manymodels_spark.stages.load.stage import load
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.score.stage import score

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
MakeJob = Callable[..., Job]
A_COMMIT = 10


class Theirs:
    """Somebody else's Delta table: commit number n brings ten rows whose units are n."""

    def __init__(self, spark: SparkSession, path: Path) -> None:
        self.spark, self.path, self.commits = spark, str(path), 0

    def commit(self, mode: str = "append") -> None:
        rows = [(1, f"item {n}", "2026-01-01", float(self.commits)) for n in range(A_COMMIT)]
        frame = self.spark.createDataFrame(rows, "store int, item string, date string, units double")
        frame.coalesce(1).write.format("delta").mode(mode).save(self.path)
        self.commits += 1


@pytest.fixture
def theirs(spark: SparkSession, tmp_path: Path) -> Theirs:
    return Theirs(spark, tmp_path / "theirs")


def units(job: Job) -> dict[float, int]:
    """Value to its number of rows in bronze."""
    return {
        row["units"]: int(row["count"]) for row in job.lake.read(BRONZE).groupBy("units").count().collect()
    }


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_commit_between_the_plan_and_the_copy_is_left_to_the_next_ingest(
    make_job: MakeJob, theirs: Theirs, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    theirs.commit(), theirs.commit()
    job = make_job(source={"delta": theirs.path})
    write = Lake.overwrite

    def late(self: Lake, table: str, *args: Any, **options: Any) -> None:
        if table == BRONZE:
            theirs.commit(mode)
        write(self, table, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "overwrite", late)
        assert ingest(job).counts == {"rows": 20, "new": 20}
    assert units(job) == {0.0: 10, 1.0: 10}
    everything = {2.0: 10} if mode == "overwrite" else {0.0: 10, 1.0: 10, 2.0: 10}
    assert ingest(job).counts == {"rows": sum(everything.values()), "new": sum(everything.values())}
    assert units(job) == everything
    assert ingest(job).counts["new"] == 0


@pytest.mark.slow
def test_while_another_writer_never_stops_every_copy_is_one_of_the_tables_versions(
    make_job: MakeJob, theirs: Theirs
) -> None:
    theirs.commit()
    job = make_job(source={"delta": theirs.path})
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            theirs.commit()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        copies = []
        for _ in range(3):
            ingest(job)
            (batch,) = {row["_batch"] for row in job.lake.read(BRONZE).select("_batch").distinct().collect()}
            copies.append((int(batch.removeprefix("version ")), units(job)))
    finally:
        over.set()
        writer.join()
    assert copies == [(version, {float(n): A_COMMIT for n in range(version + 1)}) for version, _ in copies]
    assert len({version for version, _ in copies}) > 1
    ingest(job)
    assert units(job) == {float(n): A_COMMIT for n in range(theirs.commits)}


@pytest.mark.slow
def test_rows_that_are_ingested_while_others_are_prepared_wait_for_the_next_prepare(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def arrive(item: str) -> None:
        write_csv(
            tmp_path / "in" / f"{item}.csv",
            [{"store": 1, "item": item, "date": day, "units": 1.0} for day in days(3)],
        )

    (tmp_path / "in").mkdir()
    arrive("a")
    job = make_job(source={"csv": str(tmp_path / "in")})
    ingest(job)
    write = Lake.overwrite

    def late(self: Lake, table: str, *args: Any, **options: Any) -> None:
        if table == SILVER:
            write_csv(
                tmp_path / "in" / "a2.csv", [{"store": 1, "item": "a", "date": "2026-01-04", "units": 2.0}]
            )
            arrive("b"), ingest(Job.of(job.spec, job.spark))
        write(self, table, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "overwrite", late)
        assert prepare(job).counts["rows"] == 3
    assert prepared(job) == {"a": 3}
    assert prepare(job).counts["rows"] == 7
    assert prepared(job) == {"a": 4, "b": 3}


def prepared(job: Job) -> dict[str, int]:
    """Item to its rows, as `partitions` has them; the rows of silver must be as many."""
    recorded = {
        row["item"]: int(row["rows"]) for row in job.lake.read(PARTITIONS).select("item", "rows").collect()
    }
    assert recorded == {
        row["item"]: int(row["count"]) for row in job.lake.read(SILVER).groupBy("item").count().collect()
    }
    return recorded


def test_a_scoring_predicts_from_the_rows_of_the_version_that_it_names(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(partition_by=["item"], fallback="naive")
    lay_out(
        job,
        {
            ("a",): pd.DataFrame(
                {"date": pd.to_datetime(days(21)), "units": [float(n % 7) for n in range(21)]}
            )
        },
    )
    job.spark.sql(
        f"DELETE FROM {job.lake.ref(CHAMPIONS)}"
    )  # the fallback is fitted to the rows while they are scored
    before, write = job.lake.version(SILVER), Lake.overwrite

    def late(self: Lake, table: str, *args: Any, **options: Any) -> None:
        if table == SCORING:
            self.spark.sql(f"UPDATE {self.ref(SILVER)} SET units = 100")
        write(self, table, *args, **options)

    monkeypatch.setattr(Lake, "overwrite", late)
    assert score(job).counts["fallback"] == 1
    predictions = job.lake.read(PREDICTIONS).select("prediction", "data_version").distinct().collect()
    assert [tuple(row) for row in predictions] == [(6.0, before)]


@pytest.fixture
def scored(make_job: MakeJob) -> Job:
    """A job whose two partitions were scored once."""
    job = make_job(partition_by=["item"])
    weeks = {
        (name,): pd.DataFrame({"date": pd.to_datetime(days(21)), "units": [float(n % 7) for n in range(21)]})
        for name in "ab"
    }
    lay_out(job, weeks)
    score(job)
    return job


def in_warehouse(job: Job) -> set[tuple[str, int]]:
    """Day of the cutoff and its number of rows."""
    with duckdb.connect(job.spec.warehouse.path) as connection:  # type: ignore[union-attr]
        return set(
            connection.execute(
                "SELECT strftime(cutoff, '%d'), count(*) FROM sales_predictions GROUP BY 1"
            ).fetchall()
        )


def test_a_load_brings_the_version_that_it_set_out_with_while_another_scoring_commits(
    scored: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = iter([datetime(2026, 1, 25), datetime(2026, 1, 26)])

    def during(method: str) -> None:
        original = getattr(Exporter, method)

        def late(self: Exporter, table: str, *args: Any) -> Any:
            if table == PREDICTIONS:
                score(Job.of(scored.spec, scored.spark), at=next(later))
            return original(self, table, *args)

        monkeypatch.setattr(Exporter, method, late)

    during("whole")
    assert load(scored, tables=[]).counts == {"rows": 14, "version": 0, "tables": 0}
    monkeypatch.undo()
    assert in_warehouse(scored) == {("21", 14)}

    during("changed")
    assert load(scored, tables=[]).counts == {"rows": 14, "version": 1, "tables": 0}
    monkeypatch.undo()
    assert in_warehouse(scored) == {("21", 14), ("25", 14)}

    assert load(scored, tables=[]).counts == {"rows": 14, "version": 2, "tables": 0}
    assert in_warehouse(scored) == {("21", 14), ("25", 14), ("26", 14)}
    assert load(scored, tables=[]).counts["rows"] == 0
