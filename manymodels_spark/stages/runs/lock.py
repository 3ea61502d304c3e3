"""Which run is under way: a new one, or one that was interrupted and is to be continued; and never two at
once.

The lock is Delta's own: a run claims its stage by a commit to the table `runs`, and commits have an order
that all machines agree on. Of two claims, the first one counts and the other withdraws. Stages that change
the champions are claimed together: while one of them works, none of the others may. While a run works it
tells so every minute; one that was silent for `EXPIRY`, or whose process on this machine is gone, may be
continued by anybody.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from manymodels_spark.errors import ConcurrentWrite, ManyModelsError
from manymodels_spark.lake.tables import RUNS
from manymodels_spark.stages.runs.job import RUNS_SCHEMA, Job, StageReport, new_run_id

RUNNING, WITHDRAWN = "running", "withdrawn"
CHAMPIONS = ("promote", "rollback", "retire", "index")  # these change the champions, or rest on who they are
BEAT = timedelta(minutes=1)
EXPIRY = timedelta(minutes=10)

_at_work: set[str] = set()


@dataclass(frozen=True)
class Run:
    """What the table says of the newest run of a stage, or of those that are claimed with it. `seen` is when
    it was last heard of, in seconds since 1970.
    """

    run_id: str
    status: str
    signature: str
    owner: str
    seen: float
    stage: str = ""


@contextmanager
def hold(job: Job, stage: str, signature: str | None = None) -> Iterator[tuple[StageReport, threading.Event]]:
    """A stage on which nobody else works meanwhile: its report, and the event of `heartbeat`.

    With a signature, an interrupted run of the same one is continued under its id. Raises ConcurrentWrite as
    `open_run` does.
    """
    run_id, _ = open_run(job, stage, uuid.uuid4().hex if signature is None else signature)
    with job.stage(stage, run_id=run_id) as report, heartbeat(job, stage, run_id) as lost:
        yield report, lost


def open_run(job: Job, stage: str, signature: str) -> tuple[str, bool]:
    """The id of the run to work on, and whether it continues an interrupted one of the same signature.

    Raises ConcurrentWrite where another process is at work on the same spec's stage, or on one that is
    claimed with it, here or on another machine.
    """
    job.lake.ensure(RUNS, RUNS_SCHEMA)
    before = job.lake.version(RUNS)
    last = newest(job, stage)
    if last is not None and last.status == RUNNING and is_alive(last, time.time()):
        raise _taken(job, last.stage, last.run_id, last.owner)
    resumed = (
        last is not None and last.status != "done" and (last.stage, last.signature) == (stage, signature)
    )
    run_id = last.run_id if last is not None and resumed else new_run_id()
    claim(job, stage, run_id, signature, before)
    return run_id, resumed


def interrupted(job: Job, stage: str, signature: str) -> str | None:
    """The id of the first run of this very stage with the signature since one ended well, whatever else ran
    since; None where the last one did.
    """
    from pyspark.sql import functions as F

    if not job.lake.exists(RUNS):
        return None
    events = job.lake.read(RUNS).filter(F.col("stage") == stage).select("run_id", "status", "note").collect()
    begun = {str(row["run_id"]) for row in events if str(row["note"]).startswith(f"{signature} owner=")}
    done = begun & {str(row["run_id"]) for row in events if row["status"] == "done"}
    return min((run for run in begun if run > max(done, default="")), default=None)


def claim(job: Job, stage: str, run_id: str, signature: str, before: int) -> None:
    """Claim the stage, whose state was read at version `before` of `runs`. Raises ConcurrentWrite where
    another claim, also one of this process, was faster.
    """
    mark = uuid.uuid4().hex
    token = f"{_claim(stage)}{mark}"
    _record(job, stage, RUNNING, run_id, f"{signature} owner={owner()} {mark}", token)
    claims = job.lake.notes(RUNS, since=before)
    first = next(note for note in claims if note.startswith(_claim(stage)))
    if first != token:
        _record(job, stage, WITHDRAWN, run_id, f"another claim came first owner={owner()} {mark}")
        raise _taken(job, stage, run_id, "another process")
    _at_work.add(run_id)


@contextmanager
def heartbeat(job: Job, stage: str, run_id: str, every: timedelta = BEAT) -> Iterator[threading.Event]:
    """Tell every minute that the run is at work; what cannot be told now is told a minute later.

    The event is set where the run was taken over by another process, or could not be heard for so long that
    it may be.
    """
    lost, over, began = threading.Event(), threading.Event(), datetime.now(UTC)

    def record() -> bool:
        last = newest(job, stage)
        if last is not None and (last.run_id, last.owner) != (run_id, owner()):
            return False
        _record(job, stage, RUNNING, run_id, f"{last.signature if last else ''} owner={owner()}", began=began)
        return True

    def beat() -> None:
        heard = time.monotonic()
        while not (lost.is_set() or over.wait(every.total_seconds())):
            with suppress(Exception):  # the storage is away for a moment, or another writer was quicker
                if record():
                    heard = time.monotonic()
                else:
                    lost.set()
            if time.monotonic() - heard > EXPIRY.total_seconds():
                lost.set()

    thread = threading.Thread(target=beat, name=f"{stage}-beat", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        over.set()
        thread.join()
        _at_work.discard(run_id)


def require(lost: threading.Event, run_id: str) -> None:
    """Raise ManyModelsError where the run was taken over: this process must change nothing any more."""
    if lost.is_set():
        raise ManyModelsError(
            f"run {run_id} was silent and another process took it over, or may have: this one stops"
        )


def newest(job: Job, stage: str) -> Run | None:
    """The newest run of a stage and of those claimed with it, whatever became of it; claims that were
    withdrawn are none.
    """
    from pyspark.sql import functions as F

    events = job.lake.read(RUNS).filter(F.col("stage").isin(*_together(stage)))
    # As a number: a timestamp would come in the time zone of this machine.
    facts = events.select("run_id", "stage", "status", "note", F.col("ended_at").cast("double").alias("seen"))
    rows = facts.orderBy(F.col("run_id").desc(), F.col("seen").desc()).limit(20).collect()
    withdrawn = {_mark(row["note"]) for row in rows if row["status"] == WITHDRAWN}
    rows = [
        row
        for row in rows
        if not (row["status"] in (RUNNING, WITHDRAWN) and _mark(row["note"]) in withdrawn - {None})
    ]
    mine = [row for row in rows if row["run_id"] == rows[0]["run_id"]]
    if not mine:
        return None
    told = next((str(row["note"] or "") for row in mine if row["status"] == RUNNING), "")
    signature, _, by = told.rpartition(" owner=")
    by = by.partition(" ")[0]
    return Run(mine[0]["run_id"], mine[0]["status"], signature, by, float(mine[0]["seen"]), mine[0]["stage"])


def _together(stage: str) -> tuple[str, ...]:
    return CHAMPIONS if stage in CHAMPIONS else (stage,)


def _claim(stage: str) -> str:
    return f"claim {_together(stage)[0]} "


def _mark(note: str | None) -> str | None:
    """The mark of a claim, by which its withdrawal names it; None for what is no claim."""
    return (note or "").rpartition(" owner=")[2].partition(" ")[2] or None


def is_alive(run: Run, now: float) -> bool:
    """Whether the process that opened a run may still work: on this machine it is looked at, elsewhere it
    must tell.
    """
    host, _, pid = run.owner.rpartition(":")
    if host == socket.gethostname() and pid.isdigit():
        return run.run_id in _at_work if int(pid) == os.getpid() else Path(f"/proc/{pid}").exists()
    return now - run.seen < EXPIRY.total_seconds()


def owner() -> str:
    """This process, as other machines know it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _record(
    job: Job,
    stage: str,
    status: str,
    run_id: str,
    note: str,
    token: str | None = None,
    began: datetime | None = None,
) -> None:
    now = datetime.now(UTC)
    row: tuple[object, ...] = (run_id, stage, status, began or now, now, 0.0, 0, {}, note)
    job.lake.append(RUNS, job.spark.createDataFrame([row], RUNS_SCHEMA), note=token)


def _taken(job: Job, stage: str, run_id: str, by: str) -> ConcurrentWrite:
    return ConcurrentWrite(
        f"{stage} of {job.spec.name} is already running (run {run_id}, {by}). Wait for it to end; what it "
        "commits is "
        "kept, and a second run then does only what is left. A run on another machine that died is free "
        "after "
        f"{EXPIRY.total_seconds() / 60:.0f} minutes"
    )
