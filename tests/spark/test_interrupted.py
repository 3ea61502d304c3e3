"""What changes champions and was cut short, anywhere, is
brought to its end by the next call, and does nothing twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from builders import days, write_csv
from promotions import PARTITIONS, promoted

from manymodels_spark.errors import ConcurrentWrite, ManyModelsError
from manymodels_spark.lake.tables import CHAMPIONS, FITS, MODELS, PROMOTIONS, RUNS
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.maintain.retire import retire
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.promote import copying
from manymodels_spark.stages.promote import rollback as taking_back
from manymodels_spark.stages.promote import stage as promotion
from manymodels_spark.stages.promote.champions_index import read_index, verify
from manymodels_spark.stages.promote.rollback import rollback
from manymodels_spark.stages.promote.routing_model import forget
from manymodels_spark.stages.promote.stage import promote
from manymodels_spark.stages.runs import lock
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.train import stage as training
from manymodels_spark.stages.train.due import Choice
from manymodels_spark.stages.train.stage import train
from manymodels_spark.tracking import artifacts
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.opening import open_production
from manymodels_spark.tracking.published import Published

pytestmark = pytest.mark.spark


def champions(job: Job) -> list[str]:
    """The promotions that made the champions, one a partition,
    as the index has them; MLflow must say the same.
    """
    assert verify(job) == []
    return sorted(str(row["promotion"]) for row in read_index(job).collect())


def roles(job: Job) -> dict[str, int]:
    """How many production models have each role."""
    repository = open_production(job.spec)
    found = [model.tags[t.ROLE] for model in repository.search_all(t.where(SPEC=job.spec.name))]
    return {role: found.count(role) for role in sorted(set(found))}


def dies(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def after(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which dies after so many calls."""
    left = iter(range(calls))

    def counted(*args: object, **options: object) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return function(*args, **options)

    return counted


@pytest.mark.parametrize(
    ("form", "tags_given"),
    [("logged_models", 4), ("registered_models", 3)],
)
@pytest.mark.slow
def test_a_rollback_that_is_cut_short_goes_back_once(
    form: str, tags_given: int, make_job: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, ids = promoted(make_job, tmp_path, 2, promote={"form": form})
    repository = type(open_production(job.spec))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(repository, "set_tags", after(tags_given, repository.set_tags))
        rollback(job)
    assert rollback(job, dry_run=True).counts["rolled_back"] == PARTITIONS  # to see what is left
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(taking_back, "write_index", dies)
        rollback(job)
    assert rollback(job).counts == {"champions": 3, "rolled_back": 3, "already": 0, "impossible": 0}
    assert champions(job) == [ids[0]] * PARTITIONS
    assert roles(job) == {"champion": 3, "rolled_back": 3}
    recorded = (
        job.lake.read(PROMOTIONS)
        .filter("outcome = 'rolled back'")
        .select("promotion", "partition_id")
        .collect()
    )
    assert (
        len(recorded),
        len({row["partition_id"] for row in recorded}),
        len({row["promotion"] for row in recorded}),
    ) == (3, 3, 1)

    with pytest.raises(ManyModelsError, match="none of 3 partitions has a former champion"):
        rollback(job)  # another one is another one
    if form == "logged_models":
        returns_no_more(job, ids[0])


@pytest.mark.slow
@pytest.mark.parametrize("form", ["logged_models", pytest.param("registered_models", marks=pytest.mark.slow)])
def test_a_rollback_that_is_cut_short_is_not_undone_by_the_next_promotion(
    form: str, make_job: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, (first, second) = promoted(make_job, tmp_path, 2, promote={"form": form})
    repository = type(open_production(job.spec))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(taking_back, "BATCH", 1)
        patch.setattr(repository, "set_tags", after(3, repository.set_tags))
        rollback(job)  # one partition went back, and of the next one both models are champion
    assert roles(job) == {"champion": 4, "previous": 1, "rolled_back": 1}

    counts = promote(job).counts
    assert (counts["refused"], counts["kept"], counts["promoted"]) == (2, 1, 0)
    assert champions(job) == sorted([first, first, second])
    assert roles(job) == {"champion": 3, "previous": 1, "rolled_back": 2}

    assert rollback(job).counts["rolled_back"] == PARTITIONS
    assert champions(job) == [first] * PARTITIONS
    assert job.lake.read(PROMOTIONS).filter("outcome = 'rolled back'").count() == PARTITIONS


def returns_no_more(job: Job, first: str) -> None:
    """A model that was taken back stays away, also when old ones retire."""
    time.sleep(1)
    assert retire(job, older_than=timedelta(seconds=1)).counts == {
        "models": 12,
        "retired": 0,
        "protected": 12,
    }
    assert promote(job).counts["refused"] == PARTITIONS
    assert champions(job) == [first] * PARTITIONS


@pytest.mark.parametrize(
    ("where", "form"),
    [pytest.param("demote", "registered_models", marks=pytest.mark.slow), ("publish", "logged_models")],
)
def test_a_promotion_that_is_cut_short_leaves_one_champion_and_its_decisions(
    where: str, form: str, make_job: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = promoted(make_job, tmp_path, 1, promote={"form": form})
    train(job, Choice(force=True))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(copying if where == "demote" else promotion, where, dies)
        promote(job)
    assert promote(job).counts["kept"] == PARTITIONS
    assert roles(job) == {"champion": 3, "previous": 3}
    assert len(set(champions(job))) == 1
    stored = (
        job.lake.read(PROMOTIONS)
        .filter("outcome = 'promoted'")
        .join(read_index(job), "model_id", "left_semi")
    )
    assert stored.count() == PARTITIONS, "every champion's decision is there"


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process is in Tokyo."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("tokyo")
def test_moments_are_the_same_wherever_the_driver_is(make_job: Callable[..., Job], tmp_path: Path) -> None:
    job, ids = promoted(make_job, tmp_path, 1)
    written = {MODELS: "logged_at", PROMOTIONS: "decided_at", CHAMPIONS: "promoted_at"}
    for table, column in written.items():
        row = job.lake.read(table).selectExpr(f"max(unix_timestamp({column}))").first()
        assert row is not None and abs(time.time() - row[0]) < 600, table
    assert champions(job) == ids * PARTITIONS


def test_a_version_of_the_routing_model_whose_files_are_gone_is_removed(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    job, _ = promoted(make_job, tmp_path, 1)
    repository = open_production(job.spec)
    model = Published(repository, job.spec.name)
    for other in "ab":
        model.publish(other, lambda: {"MLmodel": b""}, {})
    oldest = min(model.versions(), key=lambda version: int(version.version))
    artifacts.delete(str(oldest.source))
    forget(repository, job.spec, {"m-of-no-partition"})
    assert sorted(int(version.version) for version in model.versions()) == [2, 3]


def test_a_sign_of_life_that_fails_is_given_again(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, tries = make_job(), list[float]()
    run_id, _ = lock.open_run(job, "train", "spec")
    record = lock._record

    def falters(*args: Any, **options: Any) -> None:
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise OSError("the storage is away")
        record(*args, **options)

    monkeypatch.setattr(lock, "_record", falters)
    with lock.heartbeat(job, "train", run_id, every=timedelta(seconds=0.1)) as lost:
        wait_for(lambda: job.lake.read(RUNS).count() >= 2)
        assert not lost.is_set()
    assert len(tries) >= 3


def test_a_run_that_could_not_be_heard_for_long_counts_as_lost(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job()
    run_id, _ = lock.open_run(job, "train", "spec")
    monkeypatch.setattr(lock, "_record", dies_softly)
    monkeypatch.setattr(lock, "EXPIRY", timedelta(seconds=0.2))
    with lock.heartbeat(job, "train", run_id, every=timedelta(seconds=0.1)) as lost:
        assert lost.wait(60)


def dies_softly(*_: object, **__: object) -> None:
    raise OSError("the storage is away")


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds
        time.sleep(0.1)


@pytest.mark.slow
def test_rows_that_are_prepared_while_a_training_begins_end_it(
    make_job: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = promoted(make_job, tmp_path, 0)
    choose = training.select

    def late(*args: Any) -> Any:
        write_csv(
            tmp_path / "sales.csv", [{"store": 1, "item": 1, "date": day, "units": 5} for day in days(30)]
        )
        ingest(Job.of(job.spec, job.spark)), prepare(Job.of(job.spec, job.spark))
        return choose(*args)

    with (
        monkeypatch.context() as patch,
        pytest.raises(ConcurrentWrite, match="prepared anew while this training began"),
    ):
        patch.setattr(training, "select", late)
        train(job)
    assert job.lake.read(FITS).count() == 0
    assert train(job).counts["fitted"] == 1
    assert [row["rows"] for row in job.lake.read(FITS).collect()] == [30]
