"""Status: how the spec stands now, from the lake alone: runs, progress, counts,
quarantine, champions, what is stale.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from manymodels_spark.lake.queries import unscored_reasons
from manymodels_spark.lake.tables import (
    ALERTS,
    CHAMPIONS,
    FITS,
    PARTITIONS,
    PROGRESS,
    QUARANTINE,
    RUNS,
    SILVER,
    Lake,
)
from manymodels_spark.modeling.fingerprint import spec_hash
from manymodels_spark.reporting.records import ShareRow, StageRow
from manymodels_spark.reporting.runs import champions_by_family, newest_events, stage_rows
from manymodels_spark.stages.runs.job import Job, new_run_id
from manymodels_spark.stages.runs.lock import RUNNING, Run, is_alive, with_lock_columns
from manymodels_spark.stages.train.due import Choice, select

if TYPE_CHECKING:
    from pyspark.sql import Row

AGES = ((1, "a day"), (7, "a week"), (30, "a month"), (90, "three months"))


@dataclass(frozen=True)
class Live:
    """A stage under way: partitions done, failed, skipped, of how many; `seconds_left` at the rate so far,
    None if unknown.

    `total` is None where the stage reports no counts; `alive` is False where its process is gone: the next
    call of the stage goes on with it.
    """

    run_id: str
    stage: str
    seconds: float
    done: int = 0
    failed: int = 0
    skipped: int = 0
    total: int | None = None
    seconds_left: float | None = None
    alive: bool = True


@dataclass(frozen=True)
class SpecStatus:
    """What `status` prints. `due` partitions would be fitted by a training run now;
    `stale` champions rest on older rows.

    `unscored` are the partitions without a forecast by reason, `alerts` those of the newest monitoring by
    check, with the partitions that have them.
    """

    stages: list[StageRow]
    partitions: int = 0
    due: int = 0
    unchanged: int = 0
    quarantined: int = 0
    inactive: int = 0
    stale: int = 0
    live: Live | None = None
    reasons: list[ShareRow] = field(default_factory=list)
    families: list[ShareRow] = field(default_factory=list)
    ages: list[ShareRow] = field(default_factory=list)
    alerts: list[ShareRow] = field(default_factory=list)
    unscored: list[ShareRow] = field(default_factory=list)


def status(job: Job) -> SpecStatus:
    """The spec's state. Reads only; a spec that was never run has an empty one."""
    lake = job.lake
    if not lake.exists(PARTITIONS):
        return SpecStatus(stage_rows(lake))
    chosen = select(lake, Choice(), spec_hash(job.spec), new_run_id())
    due = len(chosen.todo) + len(chosen.broken)
    return SpecStatus(
        stages=stage_rows(lake),
        partitions=chosen.total,
        due=due,
        unchanged=chosen.unchanged,
        quarantined=chosen.quarantined,
        inactive=chosen.inactive,
        stale=_stale(lake),
        live=_live(lake, due),
        alerts=_alerts(lake),
        unscored=[ShareRow(reason, count) for reason, count in unscored_reasons(lake).items()],
        reasons=_reasons(lake),
        families=champions_by_family(lake),
        ages=_ages(lake),
    )


def _live(lake: Lake, due: int) -> Live | None:
    """The newest stage that says that it is at work, by its newest row of `progress`,
    else by what it committed.
    """
    from pyspark.sql import functions as F

    if not lake.exists(RUNS):
        return None
    elapsed = F.unix_timestamp(F.current_timestamp()) - F.unix_timestamp("started_at")
    open_runs = newest_events(lake).filter(F.col("status") == RUNNING).orderBy(F.desc("run_id"))
    row = with_lock_columns(open_runs, elapsed.alias("elapsed")).first()
    if row is None:
        return None
    run_id, stage, seconds = str(row["run_id"]), str(row["stage"]), float(row["elapsed"])
    alive = is_alive(Run.of(row), time.time())
    progress = _newest_progress(lake, run_id)
    if progress is not None:
        done, failed, skipped, total = (
            int(progress[name] or 0) for name in ("done", "failed", "skipped", "total")
        )
        return Live(run_id, stage, seconds, done, failed, skipped, total, progress["left_seconds"], alive)
    if stage != "train":
        return Live(run_id, stage, seconds, alive=alive)
    done, failed = _committed(lake, run_id)
    return Live(
        run_id, stage, seconds, done, failed, 0, done + due, due * seconds / done if done else None, alive
    )


def _newest_progress(lake: Lake, run_id: str) -> Row | None:
    if not lake.exists(PROGRESS):
        return None
    return lake.read(PROGRESS).filter(f"run_id = '{run_id}'").orderBy("at", ascending=False).first()


def _committed(lake: Lake, run_id: str) -> tuple[int, int]:
    """Outcomes of a run, and those without a model."""
    if not lake.exists(FITS):
        return 0, 0
    sums = (
        lake.read(FITS)
        .filter(f"run_id = '{run_id}' AND wave > 0")
        .selectExpr("count(*) AS n", "count(reason) AS failed")
        .first()
    )
    return (int(sums["n"]), int(sums["failed"])) if sums else (0, 0)


def _alerts(lake: Lake) -> list[ShareRow]:
    from pyspark.sql import functions as F

    if not lake.exists(ALERTS):
        return []
    counted = (
        lake.read(ALERTS)
        .groupBy("check")
        .agg(F.count_distinct("partition_id").alias("n"))
        .orderBy(F.desc("n"), "check")
    )
    return [ShareRow(row["check"], int(row["n"])) for row in counted.collect()]


def _reasons(lake: Lake) -> list[ShareRow]:
    from pyspark.sql import functions as F

    if not lake.exists(QUARANTINE):
        return []
    rows = (
        lake.read(QUARANTINE)
        .groupBy("reason")
        .agg(F.count("*").alias("n"))
        .orderBy(F.desc("n"), "reason")
        .collect()
    )
    return [ShareRow(row["reason"], int(row["n"])) for row in rows]


def _ages(lake: Lake) -> list[ShareRow]:
    """Champions by the time since they were promoted, youngest first; none where nobody is."""
    from pyspark.sql import functions as F

    if not lake.exists(CHAMPIONS):
        return []
    days = F.datediff(F.current_date(), F.to_date("promoted_at"))
    age = F.lit(len(AGES))
    for place, (bound, _) in reversed(list(enumerate(AGES))):
        age = F.when(days < bound, place).otherwise(age)
    counted = lake.read(CHAMPIONS).groupBy(age.alias("age")).agg(F.count("*").alias("n"))
    counts = {int(row["age"]): int(row["n"]) for row in counted.collect()}
    names = [*(f"under {name}" for _, name in AGES), f"over {AGES[-1][1]}"]
    return [ShareRow(name, counts[place]) for place, name in enumerate(names) if place in counts]


def _stale(lake: Lake) -> int:
    """Champions whose partition has had new rows since the version of silver that they were trained on."""
    from pyspark.sql import functions as F

    if not lake.exists(CHAMPIONS) or not lake.exists(FITS) or not lake.exists(SILVER):
        return 0
    ends = lake.read(PARTITIONS).select("partition_id", F.col("end").cast("timestamp").alias("end"))
    trained = lake.read(FITS).select(
        "partition_id", "sha256", F.col("cutoff").cast("timestamp").alias("cutoff")
    )
    trained = trained.filter("cutoff IS NOT NULL").dropDuplicates(["partition_id", "sha256"])
    champions = lake.read(CHAMPIONS).select("partition_id", "sha256")
    return int(
        champions.join(trained, ["partition_id", "sha256"])
        .join(ends, "partition_id")
        .filter("end > cutoff")
        .count()
    )
