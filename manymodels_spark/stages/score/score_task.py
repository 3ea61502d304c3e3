"""What executors run to score one partition: a payload and rows in, typed prediction rows out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import types as T
from pyspark.sql.types import StructField, StructType

from manymodels_spark.errors import FitError, ManyModelsError, Reason
from manymodels_spark.frames import records
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.predict import LoadedPartition
from manymodels_spark.spark import credentials
from manymodels_spark.spark.storage import SCHEMES
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.score.known_ahead import DUE, FROM_CALENDAR, known_ahead
from manymodels_spark.stages.score.payloads import Payloads

# Columns of `scoring` that `predictions` does not have.
NOT_PREDICTED = ("key", "champion_error", "error")
# Every row of a table has its label already: nothing is lost where nothing is predicted.
NOTHING_DUE = "nothing_due"
# Of the stream: whether a row asks for a prediction, or came since the model was trained.
ASKED = "_asked"
Scorer = Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]


def scored_schema(spec: Spec, silver: StructType) -> StructType:
    """The columns of `predictions`, partition columns typed as in the source, and then `NOT_PREDICTED`."""
    number = T.StringType() if spec.task == "classification" else T.DoubleType()
    fields = [
        T.StructField("partition_id", T.StringType()),
        *(T.StructField(name, silver[name].dataType) for name in spec.partition_by),
        T.StructField("cutoff", T.TimestampType()),
        T.StructField("trained_until", T.TimestampType()),
        *_row_fields(spec, silver),
        T.StructField("prediction", number),
        *(T.StructField(name, T.DoubleType()) for name in interval_columns(spec)),
        T.StructField("fallback", T.BooleanType()),
        *(T.StructField(name, T.StringType()) for name in ("family", "model_id", "sha256")),
        T.StructField("data_version", T.LongType()),
        T.StructField("run_id", T.StringType()),
        T.StructField("scored_at", T.TimestampType()),
        *(T.StructField(name, T.StringType()) for name in NOT_PREDICTED),
    ]
    return T.StructType(fields)


def _row_fields(spec: Spec, silver: StructType) -> list[StructField]:
    """What says which step or row a prediction is of: a forecast's time, or a table's time, id and number."""
    time = [T.StructField(str(spec.columns.time), T.TimestampType())] if spec.columns.time else []
    if spec.task == "forecast":
        return time
    names = [name for name in row_names(spec) if name != spec.columns.time]
    return [*time, *(T.StructField(n, silver[n].dataType) for n in names), T.StructField("row", T.LongType())]


def row_names(spec: Spec) -> list[str]:
    """The columns of silver, beside the partition's own, by which a table's row is known: its time and id."""
    names = dict.fromkeys([spec.columns.time, spec.columns.id])
    return [name for name in names if name is not None and name not in spec.partition_by]


def interval_columns(spec: Spec) -> list[str]:
    """`probability` for classes, else `lower_80`, `upper_80`, ..., `quantile_10`, ... of the spec."""
    if spec.task == "classification":
        return ["probability"]
    bounds = [f"{side}_{level}" for level in spec.backtest.intervals for side in ("lower", "upper")]
    return [*bounds, *spec.predict.quantile_columns]


def scorer(spec: Spec, run_id: str, data_version: int, schema: StructType) -> Scorer:
    """The function for `cogroup().applyInPandas()`: a slot's partitions, a row each, and their rows of silver
    and calendar.

    One call serves many partitions, since what Arrow and pandas cost a call is more than a prediction.
    """
    columns = schema.fieldNames()
    common = {"run_id": run_id, "data_version": data_version}
    payloads = Payloads.of(spec)
    in_azure = (spec.mlflow.production.artifacts or "").startswith(SCHEMES)
    handed = credentials.hand_out() if in_azure else None

    def score_slot(partitions: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
        credentials.use(handed)
        nothing = rows.iloc[:0]
        by_partition = dict(iter(rows.groupby("partition_id"))) if len(rows) else {}
        outcomes = [
            outcome(spec, own, by_partition.get(own["partition_id"], nothing), common, payloads)
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
    spec: Spec, own: dict[str, Any], rows: pd.DataFrame, common: dict[str, Any], payloads: Payloads
) -> Outcome:
    """Score one partition, come what may. Without a cutoff a forecast is asked for the times of `rows`."""
    key = PartitionKey.parse(own["key"])
    facts: dict[str, Any] = {
        **common,
        **key.as_dict(),
        "partition_id": own["partition_id"],
        "key": own["key"],
        "cutoff": own["cutoff"],
        "model_id": own["model_id"],
        "scored_at": pd.Timestamp.now("UTC").tz_localize(None),
        "champion_error": own.get("champion_error"),
        "error": None,
    }
    try:
        model, predicted = _predicted_by(spec, own, rows, key, payloads)
        return Outcome({**facts, **model}, predicted)
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
    """A fact of each partition, once a row; times become a column of times, which Spark reads in its zone."""
    values = pd.Series([outcome.facts.get(name) for outcome in outcomes], dtype=object)
    return values.infer_objects().repeat(counts).reset_index(drop=True)


class Unscored(ManyModelsError):
    """A partition that cannot be scored, with the word that `unscored` begins its error with."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


Answer = tuple[dict[str, Any], pd.DataFrame]


def _predicted_by(
    spec: Spec, own: dict[str, Any], rows: pd.DataFrame, key: PartitionKey, payloads: Payloads
) -> Answer:
    """What the output says of the model, and its predictions: the champion's, or those of the fallback."""
    if isinstance(own["problem"], str):
        raise Unscored("quarantined", f"{own['problem']}: {own['problem_detail']}")
    if not isinstance(own["model_id"], str):
        return _by_fallback(spec, own, rows, key)
    loaded = payloads.opened(own)
    named = {"family": own["family"], "model_id": own["model_id"], "sha256": own["sha256"]}
    facts = {**named, "fallback": False, "trained_until": loaded.cutoff}
    return facts, predictions_of(loaded, spec, own, rows)


def _by_fallback(spec: Spec, own: dict[str, Any], rows: pd.DataFrame, key: PartitionKey) -> Answer:
    """The predictions of the spec's fallback, fitted to the partition's own rows.

    Where it lacks what is known ahead, it does without: a plain forecast is better than none.
    """
    if spec.fallback is None:
        raise _no_model(own, "no model of this partition passed the gates. See table promotions")
    try:
        return _fitted_fallback(spec, own, rows, key)
    except FitError as error:
        if error.reason != Reason.MISSING_FEATURE or not spec.columns.known_future:
            raise _no_model(own, f"the fallback failed: {error}") from error
    columns = spec.columns.model_copy(update={"known_future": []})
    return _fitted_fallback(spec.model_copy(update={"columns": columns}), own, rows, key)


def _fitted_fallback(spec: Spec, own: dict[str, Any], rows: pd.DataFrame, key: PartitionKey) -> Answer:
    plain = spec.model_copy(update={"candidates": [spec.fallback], "combine": "best"})
    history = rows[~rows[FROM_CALENDAR]] if FROM_CALENDAR in rows else rows
    if spec.task == "forecast":
        history = history[history[spec.columns.time] <= own["cutoff"]]
    result = fit_partition(history, plain, key)
    if result.payload is None or result.failure is not None:
        raise _no_model(own, f"the fallback failed: {result.failure.message if result.failure else ''}")
    loaded = LoadedPartition(result.payload, families=None)  # fitted here, a moment ago
    named = {"family": result.family, "model_id": None, "sha256": result.sha256}
    facts = {**named, "fallback": True, "trained_until": loaded.cutoff}
    return facts, predictions_of(loaded, spec, own, rows)


def _no_model(own: dict[str, Any], message: str) -> Unscored:
    """Why there is nothing to predict with: what became of the champion, of the last fit, or `message`."""
    if isinstance(own.get("champion_error"), str):
        reason, _, said = own["champion_error"].partition(": ")
        return Unscored(reason, f"{said}; and {message}")
    if isinstance(own.get("fit_reason"), str):
        return Unscored("no_champion", f"its last fit failed ({own['fit_reason']}: {own['fit_message']})")
    return Unscored("no_champion", message)


def predictions_of(
    loaded: LoadedPartition, spec: Spec, own: dict[str, Any], rows: pd.DataFrame
) -> pd.DataFrame:
    """The model's predictions: the horizon after the cutoff, or a prediction for each row that is due."""
    cutoff, levels = own["cutoff"], spec.backtest.intervals
    if spec.task != "forecast":
        return _of_table(loaded, spec, rows)
    if pd.isna(cutoff):
        return _as_asked(loaded, spec, rows)
    if loaded.cutoff is not None and loaded.cutoff > cutoff and cutoff < own["end"]:
        raise Unscored("trained_later", f"the model was trained until {loaded.cutoff}, after {cutoff}")
    ahead = spec.columns.known_future or spec.prepare.closed.column
    known = known_ahead(rows, spec, loaded.cutoff, cutoff) if ahead else None
    current = _up_to_date(loaded, spec, rows, cutoff)
    return current.predict(future=known, horizon=spec.horizon, since=cutoff, levels=levels)


def _as_asked(loaded: LoadedPartition, spec: Spec, rows: pd.DataFrame) -> pd.DataFrame:
    """Predictions of the times that rows ask for, by the model as of what came before the first of them."""
    asked, time = rows[ASKED].astype(bool), str(spec.columns.time)
    future, came = rows[asked], rows[~asked]
    first = future.loc[future[time] > loaded.cutoff, time].min()
    current = loaded.updated(came[came[time] < first])
    return current.predict(future=future, levels=spec.backtest.intervals)


def _up_to_date(
    loaded: LoadedPartition, spec: Spec, rows: pd.DataFrame, cutoff: pd.Timestamp
) -> LoadedPartition:
    """The model as of the cutoff where its families can do that, by the rows since its training."""
    time = rows[str(spec.columns.time)]
    since = rows[(time > loaded.cutoff) & (time <= cutoff)]
    return loaded.updated(since[~since[FROM_CALENDAR].astype(bool)] if FROM_CALENDAR in since else since)


def _of_table(loaded: LoadedPartition, spec: Spec, rows: pd.DataFrame) -> pd.DataFrame:
    due = rows[rows[DUE].astype(bool)] if DUE in rows else rows
    if due.empty:
        raise Unscored(
            NOTHING_DUE, "no row lacks a label or is newer than the model. `score --every-row` predicts all"
        )
    names = row_names(spec)
    due = due.assign(_id=due[names].astype(str).agg("|".join, axis=1)) if names and len(due) else due
    due = due.sort_values([*(n for n in names if n == spec.columns.time), "_id"]) if "_id" in due else due
    predicted = loaded.predict(future=due, levels=spec.backtest.intervals).reset_index(drop=True)
    known = {name: due[name].reset_index(drop=True) for name in names}
    known |= {name: values.astype(object) for name, values in known.items() if name != spec.columns.time}
    return predicted.assign(row=range(len(predicted)), **known)


def _reason(error: Exception) -> str:
    return f"{getattr(error, 'reason', type(error).__name__)}: {error}"
