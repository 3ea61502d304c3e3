"""Which run is under way: a new one, or one that was interrupted and is to be continued; never two at once.

The lock is Delta's own: a run claims its stage by a commit to the table `runs`, and commits have an order
that all machines agree on. Of two claims, the first one counts and the other withdraws. Stages that change
the champions are claimed together: while one of them works, none of the others may. While a run works it
writes a heartbeat every minute; one that was silent for `EXPIRY`, or whose process is known to have ended,
may be continued by anybody.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from manymodels_spark.errors import ConcurrentWrite, ManyModelsError
from manymodels_spark.lake.tables import RUNS
from manymodels_spark.stages.runs.job import LOCK_COLUMNS, LOCK_SCHEMA, Job, StageReport, new_run_id
from manymodels_spark.stages.runs.owner import Owner, is_running, this_process

RUNNING, WITHDRAWN = "running", "withdrawn"
CHAMPIONS = ("promote", "rollback", "retire", "index")  # these change the champions, or rest on who they are
HEARTBEAT = timedelta(minutes=1)
EXPIRY = timedelta(minutes=10)
# Of the lake's tables together; see `require_format`.
LAKE_FORMAT, FORMAT_COLUMN = 1, "format"
_OLD_OWNER = " owner="  # version 0.1 kept `SIGNATURE owner=HOST:PID CLAIM` in the note

_at_work: set[str] = set()


@dataclass(frozen=True)
class Run:
    """What the table says of the newest run of a stage, or of those that are claimed with it. `seen` is when
    it was last heard of, in seconds since 1970; `claim` the id of its claim, None for a heartbeat.
    """

    run_id: str
    stage: str
    status: str
    signature: str
    owner: Owner
    seen: float
    claim: str | None = None

    @classmethod
    def of(cls, row: Any) -> Run:
        """From a row of `with_lock_columns`, also one of version 0.1."""
        signature, claim, owner = row["signature"], row["claim"], Owner()
        if row["owner"] is not None:
            owner = Owner(**row["owner"].asDict())
        elif _OLD_OWNER in (row["note"] or ""):
            signature, _, by = str(row["note"]).rpartition(_OLD_OWNER)
            place, _, claim = by.partition(" ")
            owner = Owner.parse(place)
        seen = float(row["seen"])
        return cls(row["run_id"], row["stage"], row["status"], signature or "", owner, seen, claim or None)


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
    _ensure_columns(job)
    before = job.lake.version(RUNS)
    last = newest(job, stage)
    if last is not None and last.status == RUNNING and is_alive(last, time.time()):
        raise _taken(job, last.stage, last.run_id, str(last.owner))
    resumed = (
        last is not None and last.status != "done" and (last.stage, last.signature) == (stage, signature)
    )
    run_id = last.run_id if last is not None and resumed else new_run_id()
    claim(job, stage, run_id, signature, before)
    return run_id, resumed


def _ensure_columns(job: Job) -> None:
    """The table with all columns, before anybody claims: claims at once must not race for its creation, nor
    for the columns that version 0.1 did not have.
    """
    job.lake.ensure(RUNS, LOCK_SCHEMA)
    runs = job.lake.read(RUNS)
    if FORMAT_COLUMN in runs.columns:
        require_format(job, runs)
    if not LOCK_COLUMNS.keys() <= set(runs.columns):
        job.lake.append(RUNS, job.spark.createDataFrame([], LOCK_SCHEMA))


def require_format(job: Job, runs: DataFrame) -> None:
    """Return where no newer version of this package has worked on the lake. A version whose tables an older
    one would misread adds a column `format` to `runs`; a run that names none is of the first.

    Raises:
        ManyModelsError: A run in the table names a newer format.

    """
    row = runs.selectExpr(f"max({FORMAT_COLUMN}) AS newest").first()
    newest_format = int(row["newest"] or 1) if row else 1
    if newest_format > LAKE_FORMAT:
        raise ManyModelsError(
            f"the tables in {job.lake.location('')} have format {newest_format}, and this version reads and "
            f"writes up to {LAKE_FORMAT}. Install a newer manymodels-spark"
        )


def interrupted(job: Job, stage: str, signature: str) -> str | None:
    """The id of the first run of this very stage with the signature since one ended well, whatever else ran
    since; None where the last one did.
    """
    if not job.lake.exists(RUNS):
        return None
    events = [
        Run.of(row)
        for row in with_lock_columns(job.lake.read(RUNS).filter(F.col("stage") == stage)).collect()
    ]
    begun = {event.run_id for event in events if event.status == RUNNING and event.signature == signature}
    done = begun & {event.run_id for event in events if event.status == "done"}
    return min((run for run in begun if run > max(done, default="")), default=None)


def claim(job: Job, stage: str, run_id: str, signature: str, before: int) -> None:
    """Claim the stage, whose state was read at version `before` of `runs`. Raises ConcurrentWrite where
    another claim, also one of this process, was faster.
    """
    mark = uuid.uuid4().hex
    token = f"{_claim(stage)}{mark}"
    _record(job, Run(run_id, stage, RUNNING, signature, this_process(), 0.0, mark), token)
    claims = job.lake.notes(RUNS, since=before)
    first = next(note for note in claims if note.startswith(_claim(stage)))
    if first != token:
        _record(job, Run(run_id, stage, WITHDRAWN, signature, this_process(), 0.0, mark))
        raise _taken(job, stage, run_id, "another process")
    _at_work.add(run_id)


@contextmanager
def heartbeat(job: Job, stage: str, run_id: str, every: timedelta = HEARTBEAT) -> Iterator[threading.Event]:
    """Record every minute that the run is at work; what cannot be written now is written a minute later.

    The event is set where the run was taken over by another process, or could not be heard for so long that
    it may be.
    """
    lost, over, began = threading.Event(), threading.Event(), datetime.now(UTC)

    def record() -> bool:
        last = newest(job, stage)
        if last is not None and (last.run_id, last.owner) != (run_id, this_process()):
            return False
        signature = last.signature if last else ""
        _record(job, Run(run_id, stage, RUNNING, signature, this_process(), 0.0), began=began)
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

    thread = threading.Thread(target=beat, name=f"{stage}-heartbeat", daemon=True)
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
    events = job.lake.read(RUNS).filter(F.col("stage").isin(*_together(stage)))
    order = (F.col("run_id").desc(), F.col("seen").desc())
    found = [Run.of(row) for row in with_lock_columns(events).orderBy(*order).limit(20).collect()]
    withdrawn = {event.claim for event in found if event.status == WITHDRAWN}
    counted = [event for event in found if event.claim is None or event.claim not in withdrawn]
    mine = [event for event in counted if event.run_id == counted[0].run_id]
    if not mine:
        return None
    # How it ended says nothing of who worked on it: the newest claim or heartbeat does.
    by = next((event for event in mine if event.status == RUNNING), mine[0])
    return replace(by, status=mine[0].status, seen=mine[0].seen)


def with_lock_columns(events: DataFrame, *more: Column) -> DataFrame:
    """Rows of `runs` as `Run.of` takes them, and `more`; null in columns that the table does not have yet."""
    # As a number: a timestamp would come in the time zone of this machine.
    facts = [F.col(name) for name in ("run_id", "stage", "status", "note")]
    facts.append(F.col("ended_at").cast("double").alias("seen"))
    lock = [
        F.col(name) if name in events.columns else F.lit(None).cast(kind).alias(name)
        for name, kind in LOCK_COLUMNS.items()
    ]
    return events.select(*facts, *lock, *more)


def is_alive(run: Run, now: float) -> bool:
    """Whether the process that works on a run may still do so: the system is asked where it can tell, else
    the heartbeat decides.
    """
    if run.owner == this_process():
        return run.run_id in _at_work
    running = is_running(run.owner)
    return now - run.seen < EXPIRY.total_seconds() if running is None else running


def _together(stage: str) -> tuple[str, ...]:
    return CHAMPIONS if stage in CHAMPIONS else (stage,)


def _claim(stage: str) -> str:
    return f"claim {_together(stage)[0]} "


def _record(job: Job, run: Run, token: str | None = None, began: datetime | None = None) -> None:
    now = datetime.now(UTC)
    note = "another claim came first" if run.status == WITHDRAWN else ""
    result: tuple[object, ...] = (run.run_id, run.stage, run.status, began or now, now, 0.0, 0, {}, note)
    row = (*result, run.signature, run.claim, astuple(run.owner))
    job.lake.append(RUNS, job.spark.createDataFrame([row], LOCK_SCHEMA), note=token)


def _taken(job: Job, stage: str, run_id: str, by: str) -> ConcurrentWrite:
    return ConcurrentWrite(
        f"{stage} of {job.spec.name} is already running (run {run_id}, {by}). Wait for it to end; what it "
        "commits is kept, and a second run then does only what is left. A run on another machine that died "
        f"is free after {EXPIRY.total_seconds() / 60:.0f} minutes"
    )
