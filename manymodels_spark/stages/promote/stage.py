"""Promote: apply the gates to every newly trained model and copy those that pass to the production MLflow.

The production repository has its own tracking server, registry, artifact root and credentials; nothing but
copies of models that passed is ever written there. An interrupted promotion is finished by the next call.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import orjson
import pandas as pd

from manymodels_spark.frames import records
from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.queries import in_scope, latest_fits
from manymodels_spark.lake.tables import FITS, MODELS, PROMOTIONS
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.packaging.input_example import input_example
from manymodels_spark.stages.packaging.model_files import write_files
from manymodels_spark.stages.packaging.requirements import template_of
from manymodels_spark.stages.promote.approval import approved, write_request
from manymodels_spark.stages.promote.champions_index import (
    current_champions,
    demote,
    settled_champions,
    taken_back,
    write_index,
)
from manymodels_spark.stages.promote.gates import Decision, Facts, Verdict, judge
from manymodels_spark.stages.promote.routing_model import publish
from manymodels_spark.stages.runs import lock
from manymodels_spark.stages.runs.job import Job, StageReport
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.artifacts import Template
from manymodels_spark.tracking.opening import open_production
from manymodels_spark.tracking.repository import ModelRecord, ModelRepository, Registered

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

BATCH = 1000
PROMOTIONS_SCHEMA = (
    "promotion string, partition_id string, key string, source_model string, source_run string, outcome "
    "string, "
    "reason string, model_id string, replaced string, decided_at timestamp, "
    "verdicts array<struct<gate: string, held: boolean, numbers: string>>"
)
PROMOTED, KEPT, REFUSED, WOULD_PROMOTE = "promoted", "kept", "refused", "would_promote"
_CANDIDATE = (
    "run_id",
    "partition_id",
    "key",
    "family",
    "status",
    "rows",
    "fingerprint",
    "sha256",
    "metrics",
    "scores",
    "cutoff",
    "fitted_at",
    "model_id",
    "data_version",
    "spec_hash",
    "git_commit",
)


@dataclass(frozen=True)
class Judged:
    """One candidate with its decision: its row of `fits` and `models`, and the champion that it meets."""

    row: dict[str, Any]
    champion: Registered | None
    decision: Decision
    outcome: str


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
            _judge(job.spec, row, champions.get(row["partition_id"]), gone, signed)
            for row in _candidates(job, only)
        ]
        if write is not None:
            write_request(
                write, ((one.row, one.decision.reason) for one in judged if one.outcome == PROMOTED)
            )
        job.progress.start("promote", len(judged))
        _store(job, report.run_id, _news(job, judged, dry_run))
        if not dry_run and any(one.outcome == PROMOTED for one in judged):
            judged = _copy_all(job, repository, report.run_id, judged, lost)
            champions = current_champions(repository)
        write_index(job, champions.values())
        if not dry_run:
            publish(repository, job.spec, champions.values())
        report.lines = _lines(judged, dry_run)
        _count(report, judged, len(champions), repository, dry_run)
    return report


def _candidates(job: Job, only: str | None) -> list[dict[str, Any]]:
    """The newest logged fit of each partition in scope, with its model id."""
    from pyspark.sql import functions as F

    fits = job.lake.read(FITS).filter(F.col("payload").isNotNull()).drop("payload", "options")
    models = job.lake.read(MODELS).select(
        "run_id", "partition_id", "model_id", "data_version", "spec_hash", "git_commit"
    )
    logged = latest_fits(fits.join(models, ["run_id", "partition_id"])).select(*_CANDIDATE)
    if only is not None:
        logged = logged.join(in_scope(job.lake, only).select("partition_id"), "partition_id", "left_semi")
    return records(logged.orderBy("partition_id").toPandas())


def _judge(
    spec: Spec, row: dict[str, Any], champion: Registered | None, gone: set[str], signed: set[str] | None
) -> Judged:
    if row["model_id"] in gone:
        return Judged(
            row,
            champion,
            Decision(False, (Verdict("rolled back", False, "it was a champion and was taken back"),)),
            REFUSED,
        )
    if champion is not None and champion.tags.get(t.SOURCE_MODEL) == row["model_id"]:
        return Judged(row, champion, Decision(True, ()), KEPT)
    now = datetime.now(UTC).replace(tzinfo=None)
    decision = judge(
        spec.promote, spec.metric, _facts(row), None if champion is None else _champion(champion), now
    )
    if decision.passed and signed is not None and row["model_id"] not in signed:
        awaits = Verdict("approval", False, f"awaits approval in {spec.promote.approval}")
        decision = Decision(False, (awaits, *decision.verdicts))
    return Judged(row, champion, decision, PROMOTED if decision.passed else REFUSED)


def _facts(row: dict[str, Any]) -> Facts:
    fitted_at = pd.Timestamp(row["fitted_at"]).to_pydatetime()
    metrics = {name: float(value) for name, value in dict(row["metrics"]).items() if value is not None}
    scores = {
        score["candidate"]: score["metrics"] for score in orjson.loads(row["scores"]) if score["metrics"]
    }
    return Facts(
        str(PartitionKey.parse(row["key"])),
        row["family"],
        metrics,
        int(row["rows"]),
        _folds(row),
        fitted_at,
        str(row["cutoff"]),
        scores,
    )


def _folds(row: dict[str, Any]) -> int:
    return max((len(score["folds"]) for score in orjson.loads(row["scores"])), default=0)


def _champion(model: Registered) -> Facts:
    fitted_at = datetime.fromtimestamp(model.created / 1000, UTC).replace(tzinfo=None)
    tags, rows = model.tags, int(model.metrics.get("rows", 0))
    folds, cutoff = int(tags.get(t.FOLDS, "0")), tags.get(t.CUTOFF)
    return Facts(model.partition_id, tags.get(t.FAMILY, ""), model.metrics, rows, folds, fitted_at, cutoff)


def _copy_all(
    job: Job, repository: ModelRepository, promotion: str, judged: Sequence[Judged], lost: Event
) -> list[Judged]:
    """Copy the models that passed, a batch at a time; all that was judged, with what became of it."""
    passed, settled = (
        [one for one in judged if one.outcome == PROMOTED],
        [one for one in judged if one.outcome != PROMOTED],
    )
    origin = {t.SPEC: job.spec.name, t.JOB: promotion}
    run = repository.start_run(f"{job.spec.name} promotion {promotion}", origin)
    template = template_of(job.spec, input_example(job.lake, job.spec))
    for batch in _batches(passed):
        lock.require(lost, promotion)
        settled += _copy_batch(job, repository, promotion, run, template, batch)
        job.progress.update(len(settled) + len(passed) - len(judged))
    repository.end_run(run, {"promoted": float(sum(one.outcome == PROMOTED for one in settled))})
    return settled


def _copy_batch(
    job: Job,
    repository: ModelRepository,
    promotion: str,
    run: str,
    template: Template,
    batch: Sequence[Judged],
) -> list[Judged]:
    """What became of a batch: promoted, but for models whose payload is not the one that was fitted.

    The order matters: a new champion is complete and its decision stored before it is ready, and it is ready
    before the old one steps down.
    """
    records = [_record(one, job.spec.name, job.spec.metric, promotion) for one in batch]
    models = repository.create(records, run)
    damaged = write_files(_payloads(job, batch), models, template, repository)
    repository.delete(models.pop(partition).model_id for partition in damaged)
    settled = [_damaged(one) if one.row["partition_id"] in damaged else one for one in batch]
    _store(job, promotion, settled, models)
    repository.finalize(model.model_id for model in models.values())
    demote(
        repository, [one.champion for one in settled if one.champion is not None and one.outcome == PROMOTED]
    )
    return settled


def _damaged(one: Judged) -> Judged:
    numbers = f"what table {FITS} holds is not what its checksum says: train the partition again with --force"
    verdicts = (Verdict("payload", False, numbers), *one.decision.verdicts)
    return replace(one, decision=Decision(False, verdicts), outcome=REFUSED)


def _payloads(job: Job, batch: Sequence[Judged]) -> DataFrame:
    """The payloads of a batch, from the lake."""
    from pyspark.sql import functions as F

    pairs = [(one.row["run_id"], one.row["partition_id"]) for one in batch]
    wanted = job.spark.createDataFrame(pairs, "run_id string, partition_id string")
    fits = job.lake.read(FITS).select("run_id", "partition_id", "payload")
    return fits.join(F.broadcast(wanted), ["run_id", "partition_id"])


def _record(one: Judged, spec: str, metric: str, promotion: str) -> ModelRecord:
    row = one.row
    key = PartitionKey.parse(row["key"])
    tags = {
        t.SPEC: spec,
        t.FAMILY: row["family"],
        t.STATUS: row["status"],
        t.FINGERPRINT: row["fingerprint"],
        t.SHA256: row["sha256"],
        t.JOB: row["run_id"],
        t.DATA_VERSION: str(row["data_version"]),
        t.SOURCE_MODEL: row["model_id"],
        t.PROMOTION: promotion,
        t.ROLE: t.CHAMPION,
        t.CUTOFF: str(row["cutoff"]),
        t.FOLDS: str(_folds(row)),
        t.SPEC_HASH: row["spec_hash"],
    }
    if row["git_commit"]:
        tags[t.COMMIT] = row["git_commit"]
    if one.champion is not None:
        tags[t.REPLACES] = one.champion.model_id
    return champion_record(key, tags, _numbers(row), metric)


def champion_record(
    key: PartitionKey, tags: Mapping[str, str], metrics: Mapping[str, float], metric: str
) -> ModelRecord:
    """A production model: what is searched for and the spec's `metric` as tags, and all else packed in one
    tag.

    Finding all champions takes a server's time by the tag; a metric takes as much as several.
    """
    packed = t.pack({**t.partition_tags(key), **tags, t.METRICS: json.dumps(dict(metrics), sort_keys=True)})
    shown = {t.TEST_METRIC: f"{metric} {metrics[metric]:.6g}"} if metric in metrics else {}
    return ModelRecord(key.id, f"{key.slug}--{key.id}", {**packed, **shown})


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    metrics = {name: float(value) for name, value in dict(row["metrics"]).items() if value is not None}
    return {**metrics, "rows": float(row["rows"])}


def _news(job: Job, judged: Sequence[Judged], dry_run: bool) -> list[Judged]:
    """What is stored before anything is copied: refusals that were not stored before, and what a dry run
    would promote.
    """
    known = _refusals(job)
    refused = [
        one
        for one in judged
        if one.outcome == REFUSED and (one.row["model_id"], one.decision.reason) not in known
    ]
    return [*refused, *(one for one in judged if dry_run and one.outcome == PROMOTED)]


def _store(
    job: Job, promotion: str, judged: Sequence[Judged], models: Mapping[str, Registered] | None = None
) -> None:
    now = datetime.now(UTC)
    rows = [_decision_row(one, promotion, (models or {}).get(one.row["partition_id"]), now) for one in judged]
    if rows:
        job.lake.append(PROMOTIONS, job.spark.createDataFrame(rows, PROMOTIONS_SCHEMA))


def _refusals(job: Job) -> set[tuple[str, str]]:
    """The models that were refused before, each with the reason: the same decision is stored once."""
    if not job.lake.exists(PROMOTIONS):
        return set()
    refused = (
        job.lake.read(PROMOTIONS).filter(f"outcome = '{REFUSED}'").select("source_model", "reason").distinct()
    )
    return {(str(row[0]), str(row[1])) for row in refused.collect()}


def _decision_row(one: Judged, promotion: str, model: Registered | None, now: datetime) -> tuple[object, ...]:
    row = one.row
    outcome = WOULD_PROMOTE if one.outcome == PROMOTED and model is None else one.outcome
    return (
        promotion,
        row["partition_id"],
        row["key"],
        row["model_id"],
        row["run_id"],
        outcome,
        one.decision.reason,
        model.model_id if model else None,
        one.champion.model_id if one.champion else None,
        now,
        [(verdict.gate, verdict.held, verdict.numbers) for verdict in one.decision.verdicts],
    )


def _lines(judged: Sequence[Judged], dry_run: bool) -> list[str]:
    """What was decided of each partition, with the gates' numbers, refusals first; a champion that stays is
    no news.
    """
    told = sorted(
        (one for one in judged if one.outcome != KEPT),
        key=lambda one: (one.outcome != REFUSED, one.row["key"]),
    )
    words = {REFUSED: "refused", PROMOTED: "would be promoted" if dry_run else "promoted"}
    return [
        f"{words[one.outcome]}  {PartitionKey.parse(one.row['key'])}   {one.decision.reason}" for one in told
    ]


def _count(
    report: StageReport, judged: Sequence[Judged], champions: int, repository: ModelRepository, dry_run: bool
) -> None:
    outcomes = [one.outcome for one in judged]
    report.counts.update(
        candidates=len(judged),
        promoted=outcomes.count(PROMOTED),
        kept=outcomes.count(KEPT),
        refused=outcomes.count(REFUSED),
        champions=champions,
    )
    report.calls = repository.client.total
    counts = report.counts
    would = "would be " if dry_run else ""
    report.note = (
        f"{counts['promoted']} {would}new champions, {counts['kept']} kept, {counts['refused']} refused"
    )


def _batches(items: Sequence[Judged]) -> Iterator[Sequence[Judged]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
