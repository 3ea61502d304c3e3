"""The champions' index: a Delta copy of what the production MLflow says, for joins. Always rebuilt from
tags.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from pyspark.sql import DataFrame

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.frames import instant
from manymodels_spark.lake.tables import CHAMPIONS
from manymodels_spark.stages.promote.routing_model import publish
from manymodels_spark.stages.runs import lock
from manymodels_spark.stages.runs.job import Job, StageReport
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.opening import open_production
from manymodels_spark.tracking.repository import ModelRepository, Registered
from manymodels_spark.tracking.roles import standing_champion, stepping_down

Row = tuple[object, ...]
INDEX_SCHEMA = (
    "partition_id string, key string, model_id string, source_model string, source_run string, "
    "promotion string, family string, status string, sha256 string, location string, fingerprint string, "
    "data_version bigint, "
    "metrics map<string,double>, promoted_at timestamp"
)


def rebuild(job: Job) -> StageReport:
    """Write the `champions` table anew from the production MLflow. Counts: champions.

    Raises ConcurrentWrite while another process changes the champions.
    """
    repository = open_production(job.spec)
    with lock.hold(job, "index") as (report, _):
        champions = current_champions(repository)
        if not job.lake.exists(CHAMPIONS) or _differing(job, champions):
            _overwrite(job, _rows(champions.values()))
        publish(repository, job.spec, champions.values())
        report.counts["champions"] = len(champions)
        report.calls = repository.client.total
        report.note = f"{len(champions)} champions in {repository.client.total} calls"
    return report


def verify(job: Job) -> list[str]:
    """The partitions whose row in the index is not what MLflow says; empty where all is well."""
    return _differing(job, current_champions(open_production(job.spec)))


def current_champions(repository: ModelRepository) -> dict[str, Registered]:
    """The champion of each partition by tags. Where a change was cut short and left two, the mark of the
    rollback decides, else the age (see `tracking.roles`).
    """
    return {partition: _standing(models) for partition, models in _called_champion(repository).items()}


def settled_champions(repository: ModelRepository) -> dict[str, Registered]:
    """The same; where there are two, the other one steps down now, and an alias leads to the one that
    stays.
    """
    called = _called_champion(repository)
    twice = [models for models in called.values() if len(models) > 1]
    repository.client.map(
        lambda models: repository.set_tags(_standing(models).model_id, {t.ROLE: t.CHAMPION}), twice
    )
    for role, models in _outgoing(twice).items():
        demote(repository, models, role)
    return {partition: _standing(models) for partition, models in called.items()}


def demote(repository: ModelRepository, former: Iterable[Registered], role: str = t.PREVIOUS) -> None:
    """Take the champion's role from models: they become former ones, or those that were rolled back."""
    repository.client.map(lambda model: repository.set_tags(model.model_id, {t.ROLE: role}), former)


def _standing(models: Sequence[Registered]) -> Registered:
    found = standing_champion(models)
    # Marks order their models by run id, so that of some models at least one stands.
    assert found is not None
    return found


def _outgoing(twice: Iterable[Sequence[Registered]]) -> dict[str, list[Registered]]:
    """Models that step down, by the role that they get: what a rollback took back must not come back by
    itself.
    """
    found: dict[str, list[Registered]] = {t.ROLLED_BACK: [], t.PREVIOUS: []}
    for models in twice:
        stays, marked = _standing(models), stepping_down(models)
        for model in models:
            if model.model_id != stays.model_id:
                found[t.ROLLED_BACK if model.model_id in marked else t.PREVIOUS].append(model)
    return found


def _called_champion(repository: ModelRepository) -> dict[str, list[Registered]]:
    """The finished models with the role of a champion by partition id, the oldest first."""
    found: defaultdict[str, list[Registered]] = defaultdict(list)
    models = repository.search_all(t.where(SPEC=repository.spec, ROLE=t.CHAMPION))
    for model in sorted(models, key=lambda model: model.age):
        if model.ready:
            found[model.partition_id].append(model)
    return found


def taken_back(repository: ModelRepository) -> set[str]:
    """The development models that were rolled back: a promotion does not choose them."""
    models = repository.search(t.where(SPEC=repository.spec, ROLE=t.ROLLED_BACK))
    return {model.tags[t.SOURCE_MODEL] for model in models if t.SOURCE_MODEL in model.tags}


def write_index(job: Job, champions: Iterable[Registered]) -> None:
    """Replace the `champions` table, where these are others than were written last: its note is a digest of
    its rows.
    """
    rows = _rows(champions)
    if _digest(rows) != job.lake.note(CHAMPIONS):
        _overwrite(job, rows)


def read_index(job: Job) -> DataFrame:
    """The champions of the index. Raises ManyModelsError where nothing was promoted yet."""
    if not job.lake.exists(CHAMPIONS):
        raise ManyModelsError(
            f"{job.spec.name} has no champions yet. Run `manymodels promote SPEC`, or, where the production "
            "MLflow already holds some, `manymodels index SPEC`"
        )
    return job.lake.read(CHAMPIONS)


def _overwrite(job: Job, rows: list[Row]) -> None:
    job.lake.overwrite(CHAMPIONS, job.spark.createDataFrame(rows, INDEX_SCHEMA), note=_digest(rows))


def _digest(rows: list[Row]) -> str:
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def _differing(job: Job, champions: Mapping[str, Registered]) -> list[str]:
    """The partitions whose rows in the index are not the one that MLflow's champion has, whoever changed
    them.
    """
    stored: defaultdict[str, list[Row]] = defaultdict(list)
    for row in job.lake.read(CHAMPIONS).select(*_columns()).collect():
        stored[str(row["partition_id"])].append(_comparable(tuple(row)))
    truth = {partition: [_comparable(_row(model))] for partition, model in champions.items()}
    return sorted(
        partition
        for partition in truth.keys() | stored.keys()
        if truth.get(partition) != stored.get(partition)
    )


def _rows(champions: Iterable[Registered]) -> list[Row]:
    return sorted(map(_row, champions), key=lambda row: str(row[0]))


def _row(model: Registered) -> Row:
    tags = model.tags
    return (
        model.partition_id,
        t.key_of(tags),
        model.model_id,
        tags.get(t.SOURCE_MODEL),
        tags.get(t.JOB),
        tags.get(t.PROMOTION),
        tags.get(t.FAMILY),
        tags.get(t.STATUS),
        model.sha256,
        model.location,
        tags.get(t.FINGERPRINT),
        int(tags.get(t.DATA_VERSION, "0")),
        dict(model.metrics),
        datetime.fromtimestamp(model.created / 1000, UTC),
    )


def _columns() -> list[str]:
    return [column.split()[0] for column in INDEX_SCHEMA.split(", ")]


def _comparable(row: Row) -> Row:
    """A row in which a number that a server rounded is the same number, and a time the same on every
    clock.
    """
    return tuple(
        {name: f"{value:.9g}" for name, value in cell.items()} if isinstance(cell, dict) else instant(cell)
        for cell in row
    )
