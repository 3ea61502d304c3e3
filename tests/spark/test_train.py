"""Training at the level of one partition among many:
hostile rows, one giant, fits that leave nothing behind.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
from builders import days, make_spec, write_csv

from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.tables import FITS, PROGRESS
from manymodels_spark.modeling.fingerprint import spec_hash
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.promote.stage import promote
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.train.due import Choice, select
from manymodels_spark.stages.train.in_flight import files_of
from manymodels_spark.stages.train.packing import TASKS_PER_CORE
from manymodels_spark.stages.train.sandbox import PREFIX
from manymodels_spark.stages.train.stage import train

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
Rows = list[dict[str, object]]
CORES = 2


def rows_of(
    item: str,
    count: int,
    value: Callable[[int], object] = lambda n: float(5 + n % 7),
    start: str = "2026-01-01",
) -> Rows:
    return [
        {"store": 1, "item": item, "date": day, "units": value(n)} for n, day in enumerate(days(count, start))
    ]


def ready(folder: Path, spark: SparkSession, rows: Rows, **changes: Any) -> Job:
    write_csv(folder / "sales.csv", rows)
    job = Job.of(make_spec(folder, **changes), spark)
    ingest(job), prepare(job)
    return job


def outcomes(job: Job, *columns: str) -> dict[str, tuple[Any, ...]]:
    """Item to the named columns of its newest fit."""
    newest = job.lake.read(FITS).orderBy("fitted_at").select("key", *columns).collect()
    return {str(PartitionKey.parse(row["key"]).as_dict()["item"]): tuple(row)[1:] for row in newest}


# Thousands are two minutes more of fits and models that are like the hundreds.
@pytest.mark.parametrize("sound", [250, pytest.param(2000, marks=pytest.mark.slow)])
def test_each_hostile_partition_among_many_ends_under_its_own_code(
    sound: int, spark: SparkSession, tmp_path: Path
) -> None:
    hostile: dict[str, tuple[Rows, tuple[str, str | None]]] = {
        "too short for a fold": (rows_of("too short for a fold", 10), ("fallback", None)),
        "a single row": (rows_of("a single row", 1), ("fallback", None)),
        "one value": (rows_of("one value", 40, lambda n: 7.0), ("fitted", None)),
        "only zeros": (rows_of("only zeros", 40, lambda n: 0.0), ("fitted", None)),
        "a gap of two years": (
            [*rows_of("a gap of two years", 30), *rows_of("a gap of two years", 30, start="2028-02-01")],
            ("fitted", None),
        ),
        "in the future": (rows_of("in the future", 40, start="2099-01-01"), ("fitted", None)),
        "leap days": (rows_of("leap days", 40, start="2024-02-10"), ("fitted", None)),
        "no value": (rows_of("no value", 40, lambda n: None), ("failed", "all_null")),
        "infinite": (
            rows_of("infinite", 40, lambda n: "Infinity" if n == 3 else 1.0),
            ("failed", "not_finite"),
        ),
        "text": (rows_of("text", 40, lambda n: "many" if n == 3 else 1.0), ("failed", "not_numeric")),
        "twice a day": (
            [*rows_of("twice a day", 40), *rows_of("twice a day", 1)],
            ("failed", "duplicate_times"),
        ),
        "no such day": (
            [
                *rows_of("no such day", 40),
                {"store": 1, "item": "no such day", "date": "2026-13-45", "units": 1.0},
            ],
            ("failed", "bad_times"),
        ),
        "until the end of time": (
            [*rows_of("until the end of time", 40), *rows_of("until the end of time", 1, start="9999-12-31")],
            ("failed", "bad_times"),
        ),
        "since the year one": (
            [*rows_of("since the year one", 40), *rows_of("since the year one", 1, start="0001-01-01")],
            ("failed", "bad_times"),
        ),
        "huge": (rows_of("huge", 40, lambda n: 1e308 * (-1) ** n), ("fallback", None)),
        "../x/é🙂'\"": (rows_of("../x/é🙂'\"", 40), ("fitted", None)),
    }
    rows = [row for some, _ in hostile.values() for row in some]
    rows += [row for number in range(sound) for row in rows_of(f"sound {number}", 30)]
    job = ready(
        tmp_path,
        spark,
        rows,
        candidates=["seasonal_naive", "mean"],
        fallback="naive",
        prepare={"duplicates": "error"},
        limits={"partitions_per_wave": sound // 3 + 34},
    )
    counts = train(job).counts
    found = outcomes(job, "status", "reason")
    assert {name: found[name] for name in hostile} == {
        name: expected for name, (_, expected) in hostile.items()
    }
    assert {found[f"sound {number}"] for number in range(sound)} == {("fitted", None)}
    assert counts["partitions"] == sound + len(hostile) == counts["fitted"] + counts["quarantined"]
    recorded = job.lake.read(PROGRESS).orderBy("at").collect()
    assert [recorded[0][name] for name in ("stage", "done", "left_seconds")] == ["train", 0, None]
    assert (
        recorded[-1]["done"]
        == recorded[-1]["total"]
        == sound + len(hostile) - sum(reason in FOUND_BY_PREPARE for _, reason in found.values())
    )
    written = list(Path(job.lake.location(FITS)).glob("*.parquet"))
    assert files_of(job.lake, FITS) == len(written) >= 3, "what the bar counts while a wave is under way"


FOUND_BY_PREPARE = {"all_null", "not_finite", "not_numeric", "duplicate_times", "bad_times"}


@pytest.mark.slow
def test_a_giant_holds_nobody_up_and_measured_seconds_pack_the_next_run(
    spark: SparkSession, tmp_path: Path
) -> None:
    small, giant = 20, 4000
    rows = [row for number in range(40) for row in rows_of(f"small {number}", small)]
    rows += rows_of("giant", giant, start="2012-01-01") + rows_of("slow", small, lambda n: 1e6)
    job = ready(
        tmp_path,
        spark,
        rows,
        candidates=[{"tests.spark.slow_family:SlowByRows": {}}],
        refit=False,
        limits={"partitions_per_wave": 100, "seconds_per_fit": 60},
    )
    train(job)
    first = outcomes(job, "wave", "task", "seconds", "rows")
    longest, mean, single = loads(first)
    assert first["giant"][3] == giant == 200 * small
    assert len({task for _, task, _, _ in first.values()}) == CORES * TASKS_PER_CORE, (
        "nothing was put together again"
    )
    assert longest <= 1.3 * max(single, mean)
    assert has_own_task(first, "giant")

    known = select(job.lake, Choice(force=True), spec_hash(job.spec), "another run").todo["cost"]
    assert sorted(known.round(6)) == sorted(round(seconds, 6) for _, _, seconds, _ in first.values())
    train(job, Choice(force=True))
    again = outcomes(job, "wave", "task", "seconds", "rows")
    assert has_own_task(again, "slow"), "as long as the giant, which only the last run has shown"
    longest, mean, single = loads(again)
    assert longest <= 1.3 * max(single, mean)


def loads(found: dict[str, tuple[Any, ...]]) -> tuple[float, float, float]:
    """Seconds of the longest task, of the mean task and of the longest single fit."""
    tasks: dict[tuple[int, int], float] = {}
    for wave, task, seconds, _ in found.values():
        tasks[wave, task] = tasks.get((wave, task), 0.0) + seconds
    return (
        max(tasks.values()),
        float(np.mean(list(tasks.values()))),
        max(seconds for _, _, seconds, _ in found.values()),
    )


def has_own_task(found: dict[str, tuple[Any, ...]], item: str) -> bool:
    """Whether a partition has a task of its own."""
    return [row[:2] for row in found.values()].count(found[item][:2]) == 1


# What Stan leaves behind: by default fits do not run it.
@pytest.mark.slow
def test_a_hundred_prophet_fits_leave_no_file_behind_and_the_next_ones_start_from_the_champions(
    spark: SparkSession, tmp_path: Path
) -> None:
    by_stan = {"solver": "stan", "warm_start": True}
    prophet = {"prophet": {"weekly": True, "yearly": False, "changepoints": 2, **by_stan}}
    rows = [
        row
        for number in range(50)
        for row in rows_of(f"item {number}", 40, lambda n: 10.0 + n % 7 + (n * 7919) % 5)
    ]
    before = litter()
    job = ready(tmp_path, spark, rows, candidates=[prophet])
    assert train(job).counts["fitted"] == 50, "each once for its fold and once on all rows"
    assert litter() - before == set()

    assert promote(job).counts["promoted"] == 50
    champions = {row["key"]: row["sha256"] for row in job.lake.read("champions").collect()}
    train(job, Choice(only="item < 'item 2'", force=True))
    started = job.lake.read(FITS).filter("started_from IS NOT NULL").select("key", "started_from").collect()
    assert len(started) == 12
    assert all(champions[row["key"]] == row["started_from"] for row in started)


def litter() -> set[Path]:
    """Files that fits left in the temporary folder: below
    the sandboxes' folders of this session, or Prophet's own.

    An empty folder of cmdstanpy's, one a process, is there as long as the process, and is no file.
    """
    mine = {str(process.pid) for process in psutil.Process().children(recursive=True)}
    top = Path(tempfile.gettempdir())
    folders = [
        folder
        for folder in top.glob(f"{PREFIX}*")
        if folder.name.removeprefix(PREFIX).partition("-")[0] in mine
    ]
    return {path for folder in folders for path in folder.rglob("*") if not path.is_dir()} | set(
        top.glob("prophet-*")
    )
