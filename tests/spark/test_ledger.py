"""Two trainers at once: the first commit wins, whatever either had read, and the other one changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.stages import ledger
from manymodels_spark.stages.job import RUNS_SCHEMA, Job, new_run_id
from manymodels_spark.tables import RUNS

pytestmark = pytest.mark.spark


def test_of_three_claims_on_what_was_read_together_one_counts(make_job: Callable[..., Job]) -> None:
    job = make_job()
    job.lake.ensure(RUNS, RUNS_SCHEMA)
    before, ids = job.lake.version(RUNS), [new_run_id() for _ in range(3)]

    def claim(run_id: str) -> str | None:
        try:
            ledger.claim(job, "train", run_id, "spec", before)
        except ManyModelsError:
            return None
        return run_id

    with ThreadPoolExecutor(3) as pool:
        won = [run_id for run_id in pool.map(claim, ids) if run_id]
    assert len(won) == 1
    last = ledger.newest(job, "train")
    assert last is not None and (last.run_id, last.signature, last.owner) == (won[0], "spec", ledger.owner())


def test_a_trainer_on_another_machine_is_waited_for_until_it_falls_silent(make_job: Callable[..., Job]) -> None:
    job = make_job()
    run_id = new_run_id()

    def heard(ago: timedelta) -> None:
        at = datetime.now(UTC) - ago
        row = (run_id, "train", "running", at, at, 0.0, 0, {}, "spec owner=elsewhere:7")
        job.lake.append(RUNS, job.spark.createDataFrame([row], RUNS_SCHEMA))

    heard(timedelta(minutes=11))
    assert ledger.open_run(job, "train", "spec") == (run_id, True), "it is continued, since nothing changed"
    heard(timedelta(0) - timedelta(seconds=5))
    with pytest.raises(ManyModelsError, match=rf"train of sales is already running \(run {run_id}, elsewhere:7\)"):
        ledger.open_run(job, "train", "spec")


def test_a_run_tells_that_it_works_and_notices_when_it_was_taken_over(make_job: Callable[..., Job]) -> None:
    job = make_job()
    run_id, _ = ledger.open_run(job, "train", "spec")
    with ledger.beating(job, "train", run_id, every=timedelta(seconds=0.2)) as lost:
        begin = time.monotonic()
        while job.lake.read(RUNS).count() < 2 and time.monotonic() - begin < 60:
            time.sleep(0.2)
        assert not lost.is_set()
        at = datetime.now(UTC) + timedelta(seconds=60)
        row = (run_id, "train", "running", at, at, 0.0, 0, {}, "spec owner=elsewhere:7")
        job.lake.append(RUNS, job.spark.createDataFrame([row], RUNS_SCHEMA))
        assert lost.wait(60)
