"""The record of promotions and rollbacks: what was decided of each partition, and by which numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from manymodels_spark.lake.tables import PROMOTIONS
from manymodels_spark.stages.promote.candidates import Judged
from manymodels_spark.stages.promote.outcomes import Outcome
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.tracking.repository import Registered

PROMOTIONS_SCHEMA = (
    "promotion string, partition_id string, key string, source_model string, source_run string, "
    "outcome string, reason string, model_id string, replaced string, decided_at timestamp, "
    "verdicts array<struct<gate: string, held: boolean, numbers: string>>"
)


def news(job: Job, judged: Sequence[Judged], dry_run: bool) -> list[Judged]:
    """What is stored before anything is copied: refusals that were not stored before, and what a dry run
    would promote.
    """
    known = _refusals(job)
    refused = [
        one
        for one in judged
        if one.outcome == Outcome.REFUSED and (one.row["model_id"], one.decision.reason) not in known
    ]
    return [*refused, *(one for one in judged if dry_run and one.outcome == Outcome.PROMOTED)]


def store(
    job: Job, promotion: str, judged: Sequence[Judged], models: Mapping[str, Registered] | None = None
) -> None:
    """Add decisions to the record; `models` are the production models that were made of them, by partition
    id.
    """
    now = datetime.now(UTC)
    rows = [_decision_row(one, promotion, (models or {}).get(one.row["partition_id"]), now) for one in judged]
    if rows:
        job.lake.append(PROMOTIONS, job.spark.createDataFrame(rows, PROMOTIONS_SCHEMA))


def _refusals(job: Job) -> set[tuple[str, str]]:
    """The models that were refused before, each with the reason: the same decision is stored once."""
    if not job.lake.exists(PROMOTIONS):
        return set()
    refused = job.lake.read(PROMOTIONS).filter(f"outcome = '{Outcome.REFUSED}'")
    return {
        (str(row[0]), str(row[1])) for row in refused.select("source_model", "reason").distinct().collect()
    }


def _decision_row(one: Judged, promotion: str, model: Registered | None, now: datetime) -> tuple[object, ...]:
    row = one.row
    outcome = Outcome.WOULD_PROMOTE if one.outcome == Outcome.PROMOTED and model is None else one.outcome
    return (
        promotion,
        row["partition_id"],
        row["key"],
        row["model_id"],
        row["run_id"],
        outcome.value,
        one.decision.reason,
        model.model_id if model else None,
        one.champion.model_id if one.champion else None,
        now,
        [(verdict.gate, verdict.held, verdict.numbers) for verdict in one.decision.verdicts],
    )
