"""Roll back: make an earlier model champion again, and remember which ones were taken back.

Nothing is copied or deleted: roles change, a small batch of partitions at a time. The model that was taken
back keeps its tags and gets the role `rolled_back`, by which a promotion knows that it must not come back by
itself. Its successor is tagged with the rollback's run and the model whose place it took. That mark decides
who is champion wherever a call was cut short between the two (see `tracking.roles`), and by it the next call
knows what was done already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.lake.queries import in_scope
from manymodels_spark.lake.tables import PROMOTIONS
from manymodels_spark.stages.promote.champions_index import current_champions, write_index
from manymodels_spark.stages.promote.decisions import PROMOTIONS_SCHEMA
from manymodels_spark.stages.promote.outcomes import Outcome
from manymodels_spark.stages.promote.routing_model import publish
from manymodels_spark.stages.runs import lock
from manymodels_spark.stages.runs.job import Job, StageReport
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.opening import open_production
from manymodels_spark.tracking.repository import ModelRepository, Registered
from manymodels_spark.tracking.roles import rollback_mark, rolled_back_to

# So many partitions have two champions at most, and readers see the right ones within seconds.
BATCH = 200


@dataclass(frozen=True)
class Change:
    """One partition's rollback: the champion that steps down and the model that takes its place."""

    champion: Registered
    target: Registered


def rollback(
    job: Job, *, only: str | None = None, to: str = t.PREVIOUS, dry_run: bool = False
) -> StageReport:
    """Make the former champion of each partition champion again, or the model of a training run or promotion
    `to`.

    Counts: champions (in scope), rolled_back, already (there), impossible (no such model). Raises
    ManyModelsError where nothing at all fits `to`, and ConcurrentWrite while another process changes the
    champions. Called again after an interruption, it finishes what is left.
    """
    repository = open_production(job.spec)
    signature = f"only={only} to={to} dry_run="
    begun = lock.interrupted(job, "rollback", f"{signature}False")  # a dry run shows what is left of it
    with lock.hold(job, "rollback", f"{signature}{dry_run}") as (report, lost):
        mark = begun or report.run_id
        champions = current_champions(repository)
        history = by_partition(repository.search_all(t.where(SPEC=job.spec.name)))
        found = {p: change_of(champions[p], history[p], to, mark) for p in _scope(job, only, champions)}
        changes = [
            change
            for change in found.values()
            if change is not None and change.champion.model_id != change.target.model_id
        ]
        impossible = sum(change is None for change in found.values())
        report.counts.update(
            champions=len(found),
            rolled_back=len(changes),
            already=len(found) - len(changes) - impossible,
            impossible=impossible,
        )
        if found and impossible == len(found):
            raise ManyModelsError(_nothing(to, len(found)))
        if not dry_run:
            for start in range(0, len(changes), BATCH):
                lock.require(lost, report.run_id)
                swap(repository, changes[start : start + BATCH], mark)
            _record(job, mark, changes, to)
            _announce(job, repository)
        report.calls = repository.client.total
        report.note = _note(report.counts, to, dry_run)
    return report


def _announce(job: Job, repository: ModelRepository) -> None:
    """Bring what is made of the champions up to date: the index, and the model that routes."""
    champions = current_champions(repository)
    write_index(job, champions.values())
    publish(repository, job.spec, champions.values())


def change_of(champion: Registered, models: Sequence[Registered], to: str, mark: str) -> Change | None:
    """What a partition's rollback changes, also where an interrupted call with this mark has begun it; a
    change of the champion to itself where it is there already, None where there is no model to go back to.
    """
    run_id, former = rolled_back_to(champion)
    if run_id == mark:
        return Change(next((model for model in models if model.model_id == former), champion), champion)
    target = target_of(champion, models, to)
    return None if target is None else Change(champion, target)


def target_of(champion: Registered, models: Sequence[Registered], to: str) -> Registered | None:
    """The model to go back to; None where the partition has none.

    `previous` is the one that the champion replaced, or the newest former champion older than it; otherwise
    the newest model of the training run or promotion that is named `to`.
    """
    ready = [model for model in models if model.ready]
    if to != t.PREVIOUS:
        return max(
            (m for m in ready if to in (m.tags.get(t.PROMOTION), m.tags.get(t.JOB))),
            key=lambda model: model.age,
            default=None,
        )
    named = [model for model in ready if model.model_id == champion.tags.get(t.REPLACES)]
    former = [m for m in ready if m.tags.get(t.ROLE) == t.PREVIOUS and m.age < champion.age]
    return max(named or former, key=lambda model: model.age, default=None)


def swap(repository: ModelRepository, changes: Sequence[Change], mark: str) -> None:
    """Give the roles. The old model is champion before the new one steps down: a partition always has one.

    Where tags are set one by one, the mark comes before the role.
    """

    def reinstate(change: Change) -> None:
        marked = {t.ROLLBACK: rollback_mark(mark, change.champion), t.ROLE: t.CHAMPION}
        repository.set_tags(change.target.model_id, marked)

    repository.client.map(reinstate, changes)
    repository.client.map(
        lambda change: repository.set_tags(change.champion.model_id, {t.ROLE: t.ROLLED_BACK}), changes
    )


def by_partition(models: Iterable[Registered]) -> defaultdict[str, list[Registered]]:
    """Models by partition id."""
    found: defaultdict[str, list[Registered]] = defaultdict(list)
    for model in models:
        found[model.partition_id].append(model)
    return found


def _scope(job: Job, only: str | None, champions: Mapping[str, Registered]) -> list[str]:
    if only is None:
        return sorted(champions)
    rows = in_scope(job.lake, only).select("partition_id").collect()
    return sorted(champions.keys() & {str(row["partition_id"]) for row in rows})


def _record(job: Job, run_id: str, changes: Sequence[Change], to: str) -> None:
    """The rollback in the table of promotions, beside the decisions that it takes back; what an interrupted
    call has recorded is there already.
    """
    now, known = datetime.now(UTC), _recorded(job, run_id)
    rows: list[tuple[object, ...]] = [
        (
            run_id,
            change.champion.partition_id,
            t.key_of(change.target.tags),
            change.target.tags.get(t.SOURCE_MODEL),
            change.target.tags.get(t.JOB),
            Outcome.ROLLED_BACK.value,
            f"back to {to}",
            change.target.model_id,
            change.champion.model_id,
            now,
            [],
        )
        for change in changes
        if (change.target.model_id, change.champion.model_id) not in known
    ]
    if rows:
        job.lake.append(PROMOTIONS, job.spark.createDataFrame(rows, PROMOTIONS_SCHEMA))


def _recorded(job: Job, run_id: str) -> set[tuple[str, str]]:
    """The models that a rollback has reinstated, each with the one whose place it took."""
    if not job.lake.exists(PROMOTIONS):
        return set()
    rows = (
        job.lake.read(PROMOTIONS).filter(f"promotion = '{run_id}'").select("model_id", "replaced").collect()
    )
    return {(str(row["model_id"]), str(row["replaced"])) for row in rows}


def _nothing(to: str, partitions: int) -> str:
    if to == t.PREVIOUS:
        return (
            f"none of {partitions} partitions has a former champion: each was promoted once. "
            "Nothing was changed"
        )
    return (
        f"no model of the {partitions} partitions comes from a training run or promotion {to!r}. Expected "
        "`previous` or a run's id, as in the tables `runs` and `promotions`. Nothing was changed"
    )


def _note(counts: Mapping[str, int], to: str, dry_run: bool) -> str:
    go = "would go" if dry_run else "go"
    rest = f", {counts['impossible']} have none" if counts["impossible"] else ""
    return f"{counts['rolled_back']} of {counts['champions']} champions {go} back to {to}{rest}"
