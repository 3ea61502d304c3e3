"""The newest model of every partition, judged by the gates against the champion that it would replace."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import pandas as pd
from pyspark.sql import functions as F

from manymodels_spark.frames import records
from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.queries import in_scope, latest_fits
from manymodels_spark.lake.tables import FITS, MODELS
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.promote.gates import Decision, Facts, Verdict, judge
from manymodels_spark.stages.promote.outcomes import Outcome
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.repository import Registered

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
    outcome: Outcome


def candidates(job: Job, only: str | None) -> list[dict[str, Any]]:
    """The newest logged fit of each partition in scope, with its model id."""
    fits = job.lake.read(FITS).filter(F.col("payload").isNotNull()).drop("payload", "options")
    models = job.lake.read(MODELS).select(
        "run_id", "partition_id", "model_id", "data_version", "spec_hash", "git_commit"
    )
    logged = latest_fits(fits.join(models, ["run_id", "partition_id"])).select(*_CANDIDATE)
    if only is not None:
        logged = logged.join(in_scope(job.lake, only).select("partition_id"), "partition_id", "left_semi")
    return records(logged.orderBy("partition_id").toPandas())


def judge_candidate(
    spec: Spec, row: dict[str, Any], champion: Registered | None, gone: set[str], signed: set[str] | None
) -> Judged:
    """The decision on one candidate. `gone` are the development models that were rolled back, `signed` those
    that a person approved, None where the spec requires no approval.
    """
    if row["model_id"] in gone:
        return Judged(
            row,
            champion,
            Decision(False, (Verdict("rolled back", False, "it was a champion and was taken back"),)),
            Outcome.REFUSED,
        )
    if champion is not None and champion.tags.get(t.SOURCE_MODEL) == row["model_id"]:
        return Judged(row, champion, Decision(True, ()), Outcome.KEPT)
    now = datetime.now(UTC).replace(tzinfo=None)
    decision = judge(
        spec.promote, spec.metric, _facts(row), None if champion is None else _champion(champion), now
    )
    if decision.passed and signed is not None and row["model_id"] not in signed:
        awaits = Verdict("approval", False, f"awaits approval in {spec.promote.approval}")
        decision = Decision(False, (awaits, *decision.verdicts))
    return Judged(row, champion, decision, Outcome.PROMOTED if decision.passed else Outcome.REFUSED)


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
        folds_of(row),
        fitted_at,
        str(row["cutoff"]),
        scores,
    )


def folds_of(row: dict[str, Any]) -> int:
    """How many folds the backtest of a row of `fits` had."""
    return max((len(score["folds"]) for score in orjson.loads(row["scores"])), default=0)


def _champion(model: Registered) -> Facts:
    fitted_at = datetime.fromtimestamp(model.created / 1000, UTC).replace(tzinfo=None)
    tags, rows = model.tags, int(model.metrics.get("rows", 0))
    folds, cutoff = int(tags.get(t.FOLDS, "0")), tags.get(t.CUTOFF)
    return Facts(model.partition_id, tags.get(t.FAMILY, ""), model.metrics, rows, folds, fitted_at, cutoff)
