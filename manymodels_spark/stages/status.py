"""Status: how the spec stands now, from the lake alone: runs, progress, counts, quarantine, champions, what is stale."""

from __future__ import annotations

from dataclasses import dataclass, field

from manymodels_spark.fingerprint import spec_hash
from manymodels_spark.report.records import ShareRow, StageRow
from manymodels_spark.stages.job import Job, new_run_id
from manymodels_spark.stages.ledger import RUNNING
from manymodels_spark.stages.report import champions_by_family, newest_events, stage_rows
from manymodels_spark.stages.select import Choice, select
from manymodels_spark.tables import CHAMPIONS, FITS, PARTITIONS, QUARANTINE, RUNS, SILVER, Lake

AGES = ((1, "a day"), (7, "a week"), (30, "a month"), (90, "three months"))


@dataclass(frozen=True)
class Live:
    """A training run under way: outcomes committed so far, the time since it began, and what is left if known."""

    run_id: str
    done: int
    failed: int
    seconds: float
    left: int

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None before the first outcome."""
        return self.left * self.seconds / self.done if self.done else None


@dataclass(frozen=True)
class SpecStatus:
    """What `status` prints. `due` partitions would be fitted by a training run now; `stale` champions rest on older rows."""

    stages: list[StageRow]
    partitions: int = 0
    due: int = 0
    unchanged: int = 0
    quarantined: int = 0
    stale: int = 0
    live: Live | None = None
    reasons: list[ShareRow] = field(default_factory=list)
    families: list[ShareRow] = field(default_factory=list)
    ages: list[ShareRow] = field(default_factory=list)


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
        stale=_stale(lake),
        live=_live(lake, due),
        reasons=_reasons(lake),
        families=champions_by_family(lake),
        ages=_ages(lake),
    )


def _live(lake: Lake, due: int) -> Live | None:
    """The newest training run where it says that it is at work. Waves count when they are committed."""
    if not lake.exists(RUNS):
        return None
    elapsed = "unix_timestamp(current_timestamp()) - unix_timestamp(started_at) AS elapsed"
    row = newest_events(lake).filter("stage = 'train'").selectExpr("run_id", "status", elapsed).first()
    if row is None or row["status"] != RUNNING:
        return None
    done = failed = 0
    if lake.exists(FITS):
        mine = lake.read(FITS).filter(f"run_id = '{row['run_id']}' AND wave > 0")
        sums = mine.selectExpr("count(*) AS n", "count(reason) AS failed").first()
        done, failed = (int(sums["n"]), int(sums["failed"])) if sums else (0, 0)
    return Live(row["run_id"], done, failed, float(row["elapsed"]), due)


def _reasons(lake: Lake) -> list[ShareRow]:
    from pyspark.sql import functions as F

    if not lake.exists(QUARANTINE):
        return []
    rows = lake.read(QUARANTINE).groupBy("reason").agg(F.count("*").alias("n")).orderBy(F.desc("n"), "reason").collect()
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
    trained = lake.read(FITS).select("partition_id", "sha256", F.col("cutoff").cast("timestamp").alias("cutoff"))
    trained = trained.filter("cutoff IS NOT NULL").dropDuplicates(["partition_id", "sha256"])
    champions = lake.read(CHAMPIONS).select("partition_id", "sha256")
    return int(champions.join(trained, ["partition_id", "sha256"]).join(ends, "partition_id").filter("end > cutoff").count())
