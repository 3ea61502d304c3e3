"""Two at once, trainers or those who change the champions: the first commit wins, and the other one changes
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from promotions import promoted

from manymodels_spark.errors import ConcurrentWrite, ManyModelsError
from manymodels_spark.lake.tables import CHAMPIONS, PROMOTIONS, RUNS
from manymodels_spark.stages.maintain.retire import retire
from manymodels_spark.stages.promote import champions_index
from manymodels_spark.stages.promote import stage as promotion
from manymodels_spark.stages.promote.rollback import rollback
from manymodels_spark.stages.promote.stage import promote
from manymodels_spark.stages.runs import lock
from manymodels_spark.stages.runs.job import LOCK_SCHEMA, Job, StageReport, new_run_id
from manymodels_spark.stages.runs.owner import Owner, this_process
from manymodels_spark.stages.train.due import Choice
from manymodels_spark.stages.train.stage import train
from manymodels_spark.tracking.opening import open_production

pytestmark = pytest.mark.spark
ON_CHAMPIONS: dict[str, Callable[[Job], StageReport]] = {
    "promote": promote,
    "rollback": rollback,
    "retire": lambda job: retire(job, keep=1),
    "index": champions_index.rebuild,
}


def test_of_three_claims_on_what_was_read_together_one_counts(make_job: Callable[..., Job]) -> None:
    job = make_job()
    job.lake.ensure(RUNS, LOCK_SCHEMA)
    before, ids = job.lake.version(RUNS), [new_run_id() for _ in range(3)]

    def claim(run_id: str) -> str | None:
        try:
            lock.claim(job, "train", run_id, "spec", before)
        except ManyModelsError:
            return None
        return run_id

    with ThreadPoolExecutor(3) as pool:
        won = [run_id for run_id in pool.map(claim, ids) if run_id]
    assert len(won) == 1
    last = lock.newest(job, "train")
    assert last is not None and (last.run_id, last.signature, last.owner) == (won[0], "spec", this_process())


def test_a_lake_that_a_newer_version_worked_on_is_refused_by_name(make_job: Callable[..., Job]) -> None:
    job = make_job()
    job.lake.ensure(RUNS, LOCK_SCHEMA)
    columns = "run_id string, stage string, status string, format int"
    job.lake.append(RUNS, job.spark.createDataFrame([("r-1", "score", "done", 1)], columns))
    lock.open_run(job, "train", "spec")
    job.lake.append(RUNS, job.spark.createDataFrame([("r-2", "score", "done", 2)], columns))
    with pytest.raises(
        ManyModelsError, match=r"have format 2, and this version reads and writes up to 1\. Ins"
    ):
        lock.open_run(job, "prepare", "spec")


def test_a_trainer_on_another_machine_is_waited_for_until_it_falls_silent(
    make_job: Callable[..., Job],
) -> None:
    job = make_job()
    run_id = new_run_id()
    heard(job, "train", run_id, timedelta(minutes=11))
    assert lock.open_run(job, "train", "spec") == (run_id, True), "it is continued, since nothing changed"
    heard(job, "train", run_id, timedelta(0) - timedelta(seconds=5))
    with pytest.raises(
        ManyModelsError, match=rf"train of sales is already running \(run {run_id}, elsewhere:7\)"
    ):
        lock.open_run(job, "train", "spec")


def test_a_run_tells_that_it_works_and_notices_when_it_was_taken_over(make_job: Callable[..., Job]) -> None:
    job = make_job()
    run_id, _ = lock.open_run(job, "train", "spec")
    with lock.heartbeat(job, "train", run_id, every=timedelta(seconds=0.2)) as lost:
        begin = time.monotonic()
        while job.lake.read(RUNS).count() < 2 and time.monotonic() - begin < 60:
            time.sleep(0.2)
        assert not lost.is_set()
        heard(job, "train", run_id, timedelta(0) - timedelta(seconds=60))
        assert lost.wait(60)
    with pytest.raises(ManyModelsError, match="another process took it over"):
        lock.require(lost, run_id)
    ended = lock.Run(run_id, "train", "running", "spec", this_process(), time.time())
    assert not lock.is_alive(ended, time.time())


def heard(job: Job, stage: str, run_id: str, ago: timedelta) -> None:
    """A sign of life of a run on another machine."""
    at = datetime.now(UTC) - ago
    row = (run_id, stage, "running", at, at, 0.0, 0, {}, "", "spec", None, astuple(Owner("elsewhere", 7)))
    job.lake.append(RUNS, job.spark.createDataFrame([row], LOCK_SCHEMA))


@pytest.mark.parametrize("theirs", ["promote", "rollback"])
def test_who_changes_the_champions_on_another_machine_is_waited_for(
    make_job: Callable[..., Job], theirs: str
) -> None:
    job, run_id = make_job(), new_run_id()
    heard(job, theirs, run_id, timedelta(0))
    for own in ON_CHAMPIONS.values():
        with pytest.raises(
            ConcurrentWrite, match=rf"{theirs} of sales is already running \(run {run_id}, elsewhere:7\)"
        ):
            own(job)
    assert lock.open_run(job, "train", "spec")[1] is False, "training leaves the champions alone"
    assert {row["stage"] for row in job.lake.read(RUNS).collect()} == {theirs, "train"}


@pytest.mark.slow
def test_while_one_promotes_nobody_else_touches_the_champions_and_then_each_partition_has_one(
    make_job: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = promoted(make_job, tmp_path, 1)
    train(job, Choice(force=True))
    copy_all, refused = promotion.copy_all, list[str]()

    def others_try(*args: Any) -> Any:
        for name, other in ON_CHAMPIONS.items():
            with pytest.raises(ConcurrentWrite, match="promote of sales is already running"):
                other(Job.of(job.spec, job.spark))
            refused.append(name)
        return copy_all(*args)

    with monkeypatch.context() as patch:
        patch.setattr(promotion, "copy_all", others_try)
        second = promote(job)
    assert refused == list(ON_CHAMPIONS)
    assert second.counts["promoted"] == 3
    champions = champions_index.current_champions(open_production(job.spec))
    assert {model.tags["manymodels.promotion"] for model in champions.values()} == {second.run_id}
    assert {row["promotion"] for row in job.lake.read(CHAMPIONS).collect()} == {second.run_id}
    assert job.lake.read(PROMOTIONS).filter("outcome = 'promoted'").count() == 6
    assert promote(job).counts["kept"] == 3, "and when it has ended the next one may"


def test_a_promotion_that_died_does_not_hold_the_next_one_up(make_job: Callable[..., Job]) -> None:
    job = make_job()

    class Dies(Exception):
        pass

    with pytest.raises(Dies), lock.hold(job, "promote") as (report, _):
        raise Dies
    with lock.hold(job, "rollback") as (again, _):
        assert again.run_id != report.run_id
