"""The function that executors run to score one partition: a payload and rows in, typed prediction rows
out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from manymodels_spark.errors import ManyModelsError, PayloadError
from manymodels_spark.frames import records
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.payload import sha256
from manymodels_spark.modeling.predict import predict_partition
from manymodels_spark.spark import credentials
from manymodels_spark.spark.storage import SCHEMES
from manymodels_spark.spec.model import Spec
from manymodels_spark.spec.source import resolve
from manymodels_spark.tracking import artifacts

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

Scorer = Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]


def scored_schema(spec: Spec, silver: StructType) -> StructType:
    """The columns of `predictions`, with the partition columns typed as in the source, and `error` at the
    end.
    """
    from pyspark.sql import types as T

    number = T.StringType() if spec.task == "classification" else T.DoubleType()
    step = T.StructField(str(spec.columns.time), T.TimestampType())
    fields = [
        T.StructField("partition_id", T.StringType()),
        *(T.StructField(name, silver[name].dataType) for name in spec.partition_by),
        T.StructField("cutoff", T.TimestampType()),
        step if spec.task == "forecast" else T.StructField("row", T.LongType()),
        T.StructField("prediction", number),
        *(T.StructField(name, T.DoubleType()) for name in interval_columns(spec)),
        T.StructField("fallback", T.BooleanType()),
        *(T.StructField(name, T.StringType()) for name in ("family", "model_id", "sha256")),
        T.StructField("data_version", T.LongType()),
        T.StructField("run_id", T.StringType()),
        T.StructField("scored_at", T.TimestampType()),
        T.StructField("key", T.StringType()),
        T.StructField("error", T.StringType()),
    ]
    return T.StructType(fields)


def interval_columns(spec: Spec) -> list[str]:
    """`probability` for classes, else `lower_80`, `upper_80`, ... for the levels of the spec."""
    if spec.task == "classification":
        return ["probability"]
    return [f"{side}_{level}" for level in spec.backtest.intervals for side in ("lower", "upper")]


def scorer(spec: Spec, run_id: str, data_version: int, schema: StructType) -> Scorer:
    """The function for `cogroup().applyInPandas()`: a slot's partitions, a row each, and their rows of silver
    and calendar.

    One call serves many partitions, since what Arrow and pandas cost a call is more than a prediction.
    """
    columns = schema.fieldNames()
    common = {"run_id": run_id, "data_version": data_version}
    tracking = production(spec)
    in_azure = (spec.mlflow.production.artifacts or "").startswith(SCHEMES)
    handed = credentials.hand_out() if in_azure else None

    def score_slot(partitions: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
        credentials.use(handed)
        nothing = rows.iloc[:0]
        by_partition = dict(iter(rows.groupby("partition_id"))) if len(rows) else {}
        outcomes = [
            outcome(spec, own, by_partition.get(own["partition_id"], nothing), common, tracking)
            for own in records(partitions)
        ]
        return assembled(outcomes, columns)

    return score_slot


@dataclass(frozen=True)
class Outcome:
    """One partition's facts, the same in all its rows, and its predictions; None where it could not be
    scored.
    """

    facts: dict[str, Any]
    predicted: pd.DataFrame | None

    @property
    def count(self) -> int:
        """Rows that it becomes."""
        return 1 if self.predicted is None else len(self.predicted)


def outcome(
    spec: Spec, own: dict[str, Any], rows: pd.DataFrame, common: dict[str, Any], tracking: str | None
) -> Outcome:
    """Score one partition, come what may. Without a cutoff a forecast is asked for the times of `rows`."""
    key = PartitionKey.parse(own["key"])
    facts: dict[str, Any] = {
        **common,
        **key.as_dict(),
        "partition_id": own["partition_id"],
        "key": own["key"],
        "cutoff": own["cutoff"],
        "scored_at": pd.Timestamp.now("UTC").tz_localize(None),
        "error": None,
    }
    try:
        payload, model = _model(spec, own, rows, key, tracking)
        return Outcome({**facts, **model}, _predict(spec, payload, own["cutoff"], rows))
    except Exception as error:
        return Outcome({**facts, "error": _reason(error)}, None)


def assembled(outcomes: list[Outcome], columns: list[str]) -> pd.DataFrame:
    """All partitions' rows in one frame, made column by column."""
    predicted = [outcome.predicted for outcome in outcomes if outcome.predicted is not None]
    own = set(predicted[0].columns) if predicted else set()
    counts = [outcome.count for outcome in outcomes]
    table = {
        name: _predicted(outcomes, name) if name in own else _repeated(outcomes, name, counts)
        for name in columns
    }
    return pd.DataFrame(table, columns=columns)


def _predicted(outcomes: list[Outcome], name: str) -> pd.Series[Any]:
    """A column of the predictions, with one missing value for each partition that has none."""
    parts = [None if one.predicted is None else one.predicted[name] for one in outcomes]
    kind = next(part.dtype for part in parts if part is not None)
    if kind.kind not in "fM" and any(part is None for part in parts):
        kind = np.dtype(object)
    filled = [pd.Series([None], dtype=kind) if part is None else part.astype(kind) for part in parts]
    return pd.concat(filled, ignore_index=True)


def _repeated(outcomes: list[Outcome], name: str, counts: list[int]) -> pd.Series[Any]:
    """A fact of each partition, once a row; times become a column of times, which Spark tells in its own
    zone.
    """
    values = pd.Series([outcome.facts.get(name) for outcome in outcomes], dtype=object)
    return values.infer_objects().repeat(counts).reset_index(drop=True)


class Unscored(ManyModelsError):
    """A partition that cannot be scored, with the word that `unscored` begins its error with."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


def production(spec: Spec) -> str | None:
    """The production MLflow's address, which only a payload that the lake has lost needs; executors lack its
    variables.
    """
    try:
        return resolve(spec.mlflow.production.tracking)
    except ManyModelsError:
        return None


def _model(
    spec: Spec, own: dict[str, Any], rows: pd.DataFrame, key: PartitionKey, tracking: str | None
) -> tuple[bytes, dict[str, object]]:
    """The payload to predict with and what the output says of it: the champion, or the spec's fallback."""
    if isinstance(own["problem"], str):
        raise Unscored("quarantined", f"{own['problem']}: {own['problem_detail']}")
    if isinstance(own["model_id"], str):
        named = {
            "family": own["family"],
            "model_id": own["model_id"],
            "sha256": own["sha256"],
            "fallback": False,
        }
        return _verified(own, tracking), named
    if spec.fallback is None:
        raise Unscored("no_champion", "no model of this partition passed the gates. See table promotions")
    plain = spec.model_copy(update={"candidates": [spec.fallback], "combine": "best"})
    history = rows[rows[spec.columns.time] <= own["cutoff"]] if spec.task == "forecast" else rows
    result = fit_partition(history, plain, key)
    if result.payload is None:
        raise Unscored(
            "no_champion", f"and the fallback failed: {result.failure.message if result.failure else ''}"
        )
    return result.payload, {
        "family": result.family,
        "model_id": None,
        "sha256": result.sha256,
        "fallback": True,
    }


def _verified(own: dict[str, Any], tracking: str | None) -> bytes:
    """The champion's payload from the lake, or from MLflow's artifacts where the lake has lost it."""
    if own["payload"] is None:
        return artifacts.read_payload(own["location"], own["sha256"], tracking)
    payload = bytes(own["payload"])
    if sha256(payload) != own["sha256"]:
        raise PayloadError(f"the payload of {own['model_id']} in table fits is not the one that was promoted")
    return payload


def _predict(spec: Spec, payload: bytes, cutoff: pd.Timestamp, rows: pd.DataFrame) -> pd.DataFrame:
    levels = spec.backtest.intervals
    if spec.task == "forecast" and pd.isna(cutoff):
        return predict_partition(payload, future=rows, levels=levels)
    if spec.task == "forecast":
        future = rows if spec.columns.known_future else None
        return predict_partition(payload, future=future, horizon=spec.horizon, since=cutoff, levels=levels)
    predicted = predict_partition(payload, future=rows, levels=levels)
    return predicted.assign(row=range(len(predicted)))


def _reason(error: Exception) -> str:
    return f"{getattr(error, 'reason', type(error).__name__)}: {error}"
