"""Which run is under way: a new one, or one that was interrupted and is to be continued."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.stages.job import RUNS_SCHEMA, Job, new_run_id
from manymodels_spark.tables import RUNS

RUNNING = "running"


def open_run(job: Job, stage: str, signature: str) -> tuple[str, bool]:
    """The id of the run to work on, and whether it continues an interrupted one of the same signature.

    Raises ManyModelsError where another process is at work on the same spec's stage.
    """
    last = _last(job, stage)
    if last is not None and last["status"] != "done":
        begun, _, owner = str(last["begun"] or "").rpartition(" owner=")
        if last["status"] == RUNNING and _is_alive(owner):
            raise ManyModelsError(
                f"{stage} of {job.spec.name} is already running (run {last['run_id']}, {owner}). Wait for it to end; "
                "what it commits is kept, and a second run then does only what is left"
            )
        if begun == signature:
            _open(job, stage, str(last["run_id"]), signature)
            return str(last["run_id"]), True
    run_id = new_run_id()
    _open(job, stage, run_id, signature)
    return run_id, False


def _last(job: Job, stage: str) -> dict[str, object] | None:
    """The newest event of the stage's newest run, with the note that its opening left."""
    from pyspark.sql import functions as F

    if not job.lake.exists(RUNS):
        return None
    events = job.lake.read(RUNS).filter(F.col("stage") == stage)
    rows = events.orderBy(F.col("run_id").desc(), F.col("ended_at").desc()).limit(20).collect()
    mine = [row.asDict() for row in rows if row["run_id"] == rows[0]["run_id"]]
    if not mine:
        return None
    opened = next((row for row in mine if row["status"] == RUNNING), None)
    return {**mine[0], "begun": opened["note"] if opened else None}


def _open(job: Job, stage: str, run_id: str, signature: str) -> None:
    now = datetime.now(UTC)
    note = f"{signature} owner={socket.gethostname()}:{os.getpid()}"
    row: tuple[object, ...] = (run_id, stage, RUNNING, now, now, 0.0, 0, {}, note)
    job.lake.append(RUNS, job.spark.createDataFrame([row], RUNS_SCHEMA))


def _is_alive(owner: str) -> bool:
    """Whether the process that opened a run still works, as far as this machine can tell."""
    host, _, pid = owner.rpartition(":")
    if host != socket.gethostname() or not pid.isdigit() or int(pid) == os.getpid():
        return False
    return Path(f"/proc/{pid}").exists()
