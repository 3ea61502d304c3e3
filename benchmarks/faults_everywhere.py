"""Kills at each step of every stage that writes: nothing lost, nothing twice, one champion a partition.

    make bench-faults ARGS="--everywhere"                             20 nights, a kill of each stage a night
    make bench-faults ARGS="--everywhere --kills 3 --partitions 2"    the same, sooner
    make bench-faults ARGS="--everywhere --only rollback"             kills of one stage

A step is a commit to the lake, a call of MLflow or a statement of the warehouse, before or after it is made;
how many a stage has is counted in the first night in which it has work.
From a kill on, the process is dead: whatever it still tries to write is refused, as a killed process writes
nothing more, so that the outside is left as SIGKILL leaves it. Every night has new rows and new models; each
stage is killed at another step, run again, and then source, lake, MLflow and warehouse are compared. The
endpoint is a process of its own that gets SIGKILL (see `faults_serving`), in its swap of champions after each
night's promotion and at its start; SIGKILL of the job's processes is `faults.py`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.common import clock, cores, emit, scratch
from benchmarks.efficiency import spec_of
from benchmarks.faults_serving import Endpoint
from manymodels_spark.lake.tables import BRONZE, CHAMPIONS, PREDICTIONS, SILVER, Lake
from manymodels_spark.spark.session import get_session
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.load.stage import load
from manymodels_spark.stages.maintain.retire import retire
from manymodels_spark.stages.maintain.stage import maintain
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.promote import champions_index
from manymodels_spark.stages.promote.champions_index import verify
from manymodels_spark.stages.promote.rollback import rollback
from manymodels_spark.stages.promote.stage import promote
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.score.stage import score
from manymodels_spark.stages.train.due import Choice
from manymodels_spark.stages.train.stage import train
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.client import Client
from manymodels_spark.tracking.opening import open_production
from manymodels_spark.warehouse.duckdb import DuckDBWarehouse

DAYS, HORIZON = 40, 7
WEEK = (3.0, 5.0, 4.0, 6.0, 8.0, 12.0, 10.0)
NIGHT: dict[str, Callable[[Job], object]] = {
    "ingest": ingest,
    "prepare": prepare,
    "promote": promote,
    "score": score,
    "load": load,
    "rollback": rollback,
    "index": champions_index.rebuild,
    "maintain": maintain,
    "retire": lambda job: retire(job, keep=2),
}


# Without these a night has no new champions.
NEEDED = ("ingest", "prepare", "promote")


class Killed(BaseException):
    """The process is dead: nothing may catch this as an error."""


@dataclass
class Steps:
    """Counts the steps of a stage, and kills at one of them: step 2n is before, 2n + 1 after a write."""

    at: int | None = None
    seen: int = 0
    dead: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self) -> None:
        """One place to be killed at."""
        with self._lock:
            if self.seen == self.at:
                self.dead = True
            self.seen += 1
        if self.dead:
            raise Killed

    def around(self, write: Callable[..., Any]) -> Callable[..., Any]:
        """A function that writes, with a step before and one after it."""

        def counted(*args: Any, **options: Any) -> Any:
            self.step()
            result = write(*args, **options)
            self.step()
            return result

        return counted

    @contextmanager
    def installed(self) -> Iterator[None]:
        """All that writes is counted in here."""
        places: list[tuple[type, str]] = [(Lake, "append"), (Lake, "overwrite"), (Lake, "merge")]
        places += [(Client, "_counted"), (DuckDBWarehouse, "_run")]
        before = [(owner, name, getattr(owner, name)) for owner, name in places]
        for owner, name, write in before:
            setattr(owner, name, self.around(write))
        try:
            yield
        finally:
            for owner, name, write in before:
                setattr(owner, name, write)


def main(partitions: int, nights: int, only: Sequence[str] = ()) -> None:
    """Night after night under fire, and the line of JSON.

    Args:
        partitions: How many there are.
        nights: How many nights, each with a kill of every stage; one more comes first without any.
        only: The stages that are killed, by default all; others are left out where these do without.

    """
    stages = {name: stage for name, stage in NIGHT.items() if not only or name in (*NEEDED, *only)}
    kills: Counter[str] = Counter()
    steps: dict[str, int] = {}
    wrong: Counter[str] = Counter()
    with scratch() as folder, clock("nights under fire"):
        job = _job(folder)
        endpoint = Endpoint(job.spec, folder, [{"store": 1, "item": item} for item in range(partitions)])
        try:
            for night in range(nights + 1):
                rows = _write_days(folder, partitions, DAYS + night)
                for name, stage in stages.items():
                    killed = steps.get(name, 0) if not only or name in only else 0
                    at = int((night - 0.5) / nights * killed) if killed else None
                    if name == "promote":
                        train(job, Choice(force=True))
                    with endpoint.killed_in_swap() if name == "promote" and night else nullcontext():
                        found = _under_fire(job, stage, at) if _has_work(name, night) else 0
                    wrong += _restarted(job, endpoint) if name == "promote" else {}
                    steps[name] = max(found, steps.get(name, 0)) if at is None else steps[name]
                    kills[name] += at is not None
                    wrong += _compare(job, name, partitions, rows)
        finally:
            endpoint.stop()
        job.spark.stop()
        kills += endpoint.kills
    emit(
        "faults",
        workload={"partitions": partitions, "nights": nights, "everywhere": True},
        kills=kills.total(),
        kills_by_stage=dict(kills),
        steps_by_stage=steps,
        lost=wrong["lost"],
        duplicated=wrong["duplicated"],
        champions_wrong=wrong["champions"],
    )


def _has_work(name: str, night: int) -> bool:
    """On the first night there is nothing to go back to."""
    return name != "rollback" or night > 0


def _under_fire(job: Job, stage: Callable[[Job], object], at: int | None) -> int:
    """Run a stage, killed at a step, and again to its end; the steps that it has."""
    steps = Steps(at)
    with steps.installed(), suppress(Killed):
        stage(_another(job))
    if at is not None:
        stage(_another(job))
    return steps.seen


def _restarted(job: Job, endpoint: Endpoint) -> Counter[str]:
    """Kill the endpoint at its start, start it again, and what it answered and answers wrongly."""
    endpoint.killed_at_start()
    endpoint.start()
    repository = open_production(job.spec)
    models = repository.search_all(t.where(SPEC=job.spec.name))
    were = {
        (one.partition_id, one.model_id) for one in models if one.ready and one.tags.get(t.ROLE) != t.STAGED
    }
    champions = {one: model.model_id for one, model in champions_index.current_champions(repository).items()}
    return endpoint.wrong_before(were) + endpoint.wrong_after(champions)


def _another(job: Job) -> Job:
    """The job as the next process has it."""
    return Job.of(job.spec, job.spark)


def _compare(job: Job, name: str, partitions: int, rows: int) -> Counter[str]:
    """What is missing, there twice, or not what MLflow says, after a stage was run again."""
    wrong: Counter[str] = Counter()
    table = {"ingest": BRONZE, "prepare": SILVER}.get(name)
    if table is not None:
        found = job.lake.read(table).count()
        wrong += Counter(lost=max(rows - found, 0), duplicated=max(found - rows, 0))
    if name in ("promote", "rollback", "index", "retire"):
        repository = open_production(job.spec)
        called = [m for m in repository.search_all(t.where(SPEC=job.spec.name, ROLE=t.CHAMPION)) if m.ready]
        ids = {model.partition_id for model in called}
        indexed = job.lake.read(CHAMPIONS).count()
        wrong += Counter(lost=partitions - len(ids), duplicated=len(called) - len(ids))
        wrong += Counter(champions=len(verify(job)) + abs(indexed - partitions))
    if name == "load":
        wrong += _compare_warehouse(job)
    return wrong


def _compare_warehouse(job: Job) -> Counter[str]:
    expected = job.lake.read(PREDICTIONS).count()
    with duckdb.connect(str(job.spec.warehouse.path), read_only=True) as warehouse:  # type: ignore[union-attr]
        rows = warehouse.execute("SELECT count(*) FROM bench_predictions").fetchall()[0][0]
        twice = 'SELECT count(*) - count(DISTINCT version) FROM manymodels_loads WHERE "table" = ?'
        again = warehouse.execute(twice, ["bench_predictions"]).fetchall()[0][0]
    return Counter(lost=max(expected - rows, 0), duplicated=max(rows - expected, 0) + again)


def _job(folder: Path) -> Job:
    spec = spec_of(
        folder,
        ["seasonal_naive"],
        horizon=HORIZON,
        source={"csv": str(folder / "sales.csv")},
        columns={"time": "date", "target": "units", "frequency": "D"},
        mlflow={
            role: {"tracking": f"sqlite:///{folder}/{role}.db", "artifacts": str(folder / role)}
            for role in ("development", "production")
        },
        warehouse={"duckdb": str(folder / "warehouse.duckdb")},
    )
    return Job.of(spec, get_session("bench", f"local[{cores()}]"))


def _write_days(folder: Path, partitions: int, days: int) -> int:
    """All rows of the source so far; how many."""
    from datetime import date, timedelta

    lines = ["store,item,date,units"]
    for item in range(partitions):
        for n in range(days):
            units = WEEK[n % 7] * (1 + item) + (n * n) % 3
            lines.append(f"1,{item},{date(2026, 1, 1) + timedelta(n)},{units}")
    (folder / "sales.csv").write_text("\n".join(lines) + "\n")
    return partitions * days
