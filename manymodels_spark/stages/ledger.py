"""Which run is under way: a new one, or one that was interrupted and is to be continued."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.stages.job import RUNS_SCHEMA, Job, new_run_id
from manymodels_spark.tables import RUNS

RUNNING, REFUSED = "running", "refused"
_RECENT = timedelta(days=2)


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
            _require_first(job, stage, str(last["run_id"]))
            return str(last["run_id"]), True
    run_id = new_run_id()
    _open(job, stage, run_id, signature)
    _require_first(job, stage, run_id)
    return run_id, False


def _require_first(job: Job, stage: str, run_id: str) -> None:
    """Raise ManyModelsError where another living process opened a run of the stage before this one did.

    Both may have found nobody before they opened theirs; the order of Delta's commits says who came first.
    """
    from pyspark.sql import functions as F

    recent = job.lake.read(RUNS).filter((F.col("stage") == stage) & (F.col("ended_at") > F.lit(datetime.now(UTC) - _RECENT)))
    rows = [row.asDict() for row in recent.orderBy("ended_at").collect()]
    newest = {str(row["run_id"]): row for row in rows}
    others = {str(row["note"]).rpartition(" owner=")[2]: run for run, row in newest.items() if row["status"] == RUNNING and run != run_id}
    living = {run: owner for owner, run in others.items() if _is_alive(owner)}
    if not living:
        return
    opened = _opened(job, stage)
    earlier = [run for run in living if opened.get(run, -1) < opened.get(run_id, 0)]
    if earlier:
        _end(job, stage, run_id)
        raise ManyModelsError(
            f"{stage} of {job.spec.name} was started by another process a moment ago (run {earlier[0]}, {living[earlier[0]]}). "
            "Wait for it to end; a second run then does only what is left"
        )


def _opened(job: Job, stage: str) -> dict[str, int]:
    """Run id to the version of `runs` in which it was opened."""
    history = job.spark.sql(f"DESCRIBE HISTORY {job.lake.ref(RUNS)} LIMIT 200").select("version", "userMetadata")
    marks = ((str(row["userMetadata"]).split(" "), int(row["version"])) for row in history.collect() if row["userMetadata"])
    return {mark[2]: version for mark, version in marks if mark[:2] == ["open", stage]}


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
    job.lake.append(RUNS, job.spark.createDataFrame([row], RUNS_SCHEMA), note=f"open {stage} {run_id}")


def _end(job: Job, stage: str, run_id: str) -> None:
    now = datetime.now(UTC)
    row: tuple[object, ...] = (run_id, stage, REFUSED, now, now, 0.0, 0, {}, "another process was first")
    job.lake.append(RUNS, job.spark.createDataFrame([row], RUNS_SCHEMA))


def _is_alive(owner: str) -> bool:
    """Whether the process that opened a run still works, as far as this machine can tell."""
    host, _, pid = owner.rpartition(":")
    if host != socket.gethostname() or not pid.isdigit() or int(pid) == os.getpid():
        return False
    return Path(f"/proc/{pid}").exists()
