"""Retire: delete old models with their artifacts, in both repositories; never a champion or its predecessor.

What a champion or its predecessor was copied from stays in development, too, so that its history can be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.stages.promote.champions_index import current_champions
from manymodels_spark.stages.promote.rollback import by_partition, target_of
from manymodels_spark.stages.promote.routing_model import forget, in_use
from manymodels_spark.stages.runs import lock
from manymodels_spark.stages.runs.job import Job, StageReport
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.opening import open_production, open_repository
from manymodels_spark.tracking.repository import ModelRepository, Registered

BATCH = 1000
# A model that is not ready may be one that somebody is just writing.
PENDING = timedelta(days=1)


def retire(
    job: Job, *, keep: int | None = None, older_than: timedelta | None = None, dry_run: bool = False
) -> StageReport:
    """Delete all but the newest `keep` models of each partition (by default the spec's `mlflow.keep`), or
    those older than `older_than`; where both are given, what is old and not among the newest.

    Counts: models (in both repositories), retired, protected (a champion, its predecessor or their origin
    that would have gone). Raises ManyModelsError where neither rule is given, and ConcurrentWrite while
    another process changes the champions.
    """
    keep = keep if keep is not None or older_than is not None else job.spec.mlflow.keep
    if (keep is None and older_than is None) or (keep is not None and keep < 1):
        raise ManyModelsError(
            f"nothing says which models of {job.spec.name} may go. Set mlflow.keep in the spec to a number "
            "from 1, or give --keep N or --older-than AGE"
        )
    with lock.hold(job, "retire") as (report, lost):
        production = open_production(job.spec)
        development = open_repository(job.spec.mlflow.development, job.spec)
        kept = protected(production)
        origins = {model.tags[t.SOURCE_MODEL] for model in kept if t.SOURCE_MODEL in model.tags}
        report.counts.update(models=0, retired=0, protected=0)
        in_production = {model.model_id for model in kept} | in_use(production, job.spec)
        rule = (keep, older_than)
        gone = _retire(production, in_production, rule, dry_run, report)
        lock.require(lost, report.run_id)
        if not dry_run:
            forget(production, job.spec, {model.model_id for model in gone})
        _retire(development, origins, rule, dry_run, report)
        would = "would go" if dry_run else "deleted with their artifacts"
        counts = report.counts
        report.note = (
            f"{counts['retired']} of {counts['models']} models {would}, {counts['protected']} protected"
        )
    return report


def protected(production: ModelRepository) -> list[Registered]:
    """Each champion, the model that a rollback would go back to, and a newest one that was taken back: while
    it is there, a promotion knows not to make it champion again.
    """
    champions = current_champions(production)
    history = by_partition(production.search_all(t.where(SPEC=production.spec)))
    predecessors = [
        target_of(champion, history[partition], t.PREVIOUS) for partition, champion in champions.items()
    ]
    newest = [max(models, key=lambda model: model.age) for models in history.values()]
    taken_back = [model for model in newest if model.tags.get(t.ROLE) == t.ROLLED_BACK]
    return [*champions.values(), *(model for model in predecessors if model is not None), *taken_back]


def expired(
    models: Iterable[Registered], keep: int | None, older_than: timedelta | None, now: datetime
) -> list[Registered]:
    """The models of any partitions that a rule lets go, and those that were begun and never finished."""
    gone = []
    for history in by_partition(models).values():
        ready = sorted((m for m in history if m.ready), key=lambda model: model.age, reverse=True)
        gone += [m for m in ready[keep or 0 :] if older_than is None or _age(m, now) > older_than]
        gone += [model for model in history if not model.ready and _age(model, now) > PENDING]
    return gone


def _retire(
    repository: ModelRepository,
    safe: set[str],
    rule: tuple[int | None, timedelta | None],
    dry_run: bool,
    report: StageReport,
) -> list[Registered]:
    """Apply the rule to one repository; the models that are gone, or with `dry_run` would be."""
    models = repository.search_all(t.where(SPEC=repository.spec))
    candidates = expired(models, *rule, datetime.now(UTC))
    gone = [model for model in candidates if model.model_id not in safe]
    if not dry_run:
        for batch in _batches(gone):
            repository.remove(batch)
            report.counts["retired"] += len(batch)
    else:
        report.counts["retired"] += len(gone)
    report.counts["models"] += len(models)
    report.counts["protected"] += len(candidates) - len(gone)
    report.calls += repository.client.total
    return gone


def _age(model: Registered, now: datetime) -> timedelta:
    return now - datetime.fromtimestamp(model.created / 1000, UTC)


def _batches(models: Sequence[Registered]) -> Iterable[Sequence[Registered]]:
    return (models[start : start + BATCH] for start in range(0, len(models), BATCH))
