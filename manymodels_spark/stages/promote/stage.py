"""Promote: apply the gates to every newly trained model and copy those that pass to the production MLflow.

The production repository has its own tracking server, registry, artifact root and credentials; nothing but
copies of models that passed is ever written there. An interrupted promotion is finished by the next call.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from manymodels_spark.keys import PartitionKey
from manymodels_spark.stages.promote.approval import approved, write_request
from manymodels_spark.stages.promote.candidates import Judged, candidates, judge_candidate
from manymodels_spark.stages.promote.champions_index import (
    current_champions,
    settled_champions,
    taken_back,
    write_index,
)
from manymodels_spark.stages.promote.copying import copy_all
from manymodels_spark.stages.promote.decisions import news, store
from manymodels_spark.stages.promote.outcomes import Outcome
from manymodels_spark.stages.promote.routing_model import publish
from manymodels_spark.stages.runs import lock
from manymodels_spark.stages.runs.job import Job, StageReport
from manymodels_spark.tracking.opening import open_production
from manymodels_spark.tracking.repository import ModelRepository


def promote(
    job: Job, *, only: str | None = None, dry_run: bool = False, write: Path | None = None
) -> StageReport:
    """Judge the newest model of every partition against the gates and make those that pass champions.

    Counts: candidates, promoted, kept (the champion is that model already), refused, champions. With
    `dry_run` the decisions are stored and counted, and production is not touched; `write` then names a file
    for what passed, to be approved (see `promote.approval`). Raises ConcurrentWrite while another process
    changes the champions.
    """
    repository = open_production(job.spec)
    with lock.hold(job, "promote") as (report, lost):
        champions = current_champions(repository) if dry_run else settled_champions(repository)
        gone = taken_back(repository)
        signed = None if dry_run else approved(job.spec.promote.approval)
        judged = [
            judge_candidate(job.spec, row, champions.get(row["partition_id"]), gone, signed)
            for row in candidates(job, only)
        ]
        if write is not None:
            write_request(
                write, ((one.row, one.decision.reason) for one in judged if one.outcome == Outcome.PROMOTED)
            )
        job.progress.start("promote", len(judged))
        store(job, report.run_id, news(job, judged, dry_run))
        if not dry_run and any(one.outcome == Outcome.PROMOTED for one in judged):
            judged = copy_all(job, repository, report.run_id, judged, lost)
            champions = current_champions(repository)
        write_index(job, champions.values())
        if not dry_run:
            publish(repository, job.spec, champions.values())
        report.lines = _lines(judged, dry_run)
        _count(report, judged, len(champions), repository, dry_run)
    return report


def _lines(judged: Sequence[Judged], dry_run: bool) -> list[str]:
    """What was decided of each partition, with the gates' numbers, refusals first; a champion that stays is
    no news.
    """
    changed = sorted(
        (one for one in judged if one.outcome != Outcome.KEPT),
        key=lambda one: (one.outcome != Outcome.REFUSED, one.row["key"]),
    )
    words = {Outcome.REFUSED: "refused", Outcome.PROMOTED: "would be promoted" if dry_run else "promoted"}
    return [
        f"{words[one.outcome]}  {PartitionKey.parse(one.row['key'])}   {one.decision.reason}"
        for one in changed
    ]


def _count(
    report: StageReport, judged: Sequence[Judged], champions: int, repository: ModelRepository, dry_run: bool
) -> None:
    outcomes = [one.outcome for one in judged]
    report.counts.update(
        candidates=len(judged),
        promoted=outcomes.count(Outcome.PROMOTED),
        kept=outcomes.count(Outcome.KEPT),
        refused=outcomes.count(Outcome.REFUSED),
        champions=champions,
    )
    report.calls = repository.client.total
    counts = report.counts
    would = "would be " if dry_run else ""
    report.note = (
        f"{counts['promoted']} {would}new champions, {counts['kept']} kept, {counts['refused']} refused"
    )
