"""Copies of the models that passed, in the production repository: complete and recorded before they count."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from threading import Event
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.tables import FITS
from manymodels_spark.stages.packaging.input_example import input_example
from manymodels_spark.stages.packaging.model_files import write_files
from manymodels_spark.stages.packaging.requirements import template_of
from manymodels_spark.stages.promote.candidates import Judged, folds_of
from manymodels_spark.stages.promote.champions_index import demote
from manymodels_spark.stages.promote.decisions import store
from manymodels_spark.stages.promote.gates import Decision, Verdict
from manymodels_spark.stages.promote.outcomes import Outcome
from manymodels_spark.stages.runs import lock
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.artifacts import Template
from manymodels_spark.tracking.repository import ModelRecord, ModelRepository

BATCH = 1000


def copy_all(
    job: Job, repository: ModelRepository, promotion: str, judged: Sequence[Judged], lost: Event
) -> list[Judged]:
    """Copy the models that passed, a batch at a time; all that was judged, with what became of it."""
    passed, settled = (
        [one for one in judged if one.outcome == Outcome.PROMOTED],
        [one for one in judged if one.outcome != Outcome.PROMOTED],
    )
    origin = {t.SPEC: job.spec.name, t.JOB: promotion}
    run = repository.start_run(f"{job.spec.name} promotion {promotion}", origin)
    template = template_of(job.spec, input_example(job.lake, job.spec))
    for batch in _batches(passed):
        lock.require(lost, promotion)
        settled += _copy_batch(job, repository, promotion, run, template, batch)
        job.progress.update(len(settled) + len(passed) - len(judged))
    repository.end_run(run, {"promoted": float(sum(one.outcome == Outcome.PROMOTED for one in settled))})
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
    store(job, promotion, settled, models)
    repository.finalize(model.model_id for model in models.values())
    demote(
        repository,
        [one.champion for one in settled if one.champion is not None and one.outcome == Outcome.PROMOTED],
    )
    return settled


def _damaged(one: Judged) -> Judged:
    numbers = f"what table {FITS} holds is not what its checksum says: train the partition again with --force"
    verdicts = (Verdict("payload", False, numbers), *one.decision.verdicts)
    return replace(one, decision=Decision(False, verdicts), outcome=Outcome.REFUSED)


def _payloads(job: Job, batch: Sequence[Judged]) -> DataFrame:
    """The payloads of a batch, from the lake."""
    pairs = [(one.row["run_id"], one.row["partition_id"]) for one in batch]
    chosen = job.spark.createDataFrame(pairs, "run_id string, partition_id string")
    fits = job.lake.read(FITS).select("run_id", "partition_id", "payload")
    return fits.join(F.broadcast(chosen), ["run_id", "partition_id"])


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
        t.FOLDS: str(folds_of(row)),
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


def _batches(items: Sequence[Judged]) -> Iterator[Sequence[Judged]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
