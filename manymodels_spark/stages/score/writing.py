"""Predictions into the lake: one set of rows for a partition and cutoff, whoever else is at work."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from manymodels_spark.errors import ConcurrentWrite
from manymodels_spark.lake.queries import PREDICTION_KEY
from manymodels_spark.lake.tables import PREDICTIONS, UNSCORED, Lake
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.runs.alerts import (
    ALERTS_SCHEMA,
    BY_SCORE,
    FALLBACK_CHECK,
    UNSCORED_CHECK,
    replace_alerts,
)
from manymodels_spark.stages.score.score_task import NOT_PREDICTED, NOTHING_DUE

ATTEMPTS = 3
# A champion is there, and no forecast.
LOST = f"error IS NOT NULL AND model_id IS NOT NULL AND error NOT LIKE '{NOTHING_DUE}:%'"
_ADVICE = {
    UNSCORED_CHECK: "No forecast was made: see table unscored for the reason, and retrain or set a fallback",
    FALLBACK_CHECK: "The fallback forecast in the champion's place: correct what the subject says or retrain",
}


def write_predictions(lake: Lake, scored: DataFrame, spec: Spec, run_id: str) -> None:
    """Add the predictions, or replace those of the same partitions and cutoffs, in one commit.

    Raises ConcurrentWrite where other writers are quicker `ATTEMPTS` times.
    """
    rows = scored.filter("error IS NULL").drop(*NOT_PREDICTED)
    for left in reversed(range(ATTEMPTS)):
        try:
            _write_once(lake, rows, spec, run_id)
        except ConcurrentWrite:
            if not left:
                raise
        else:
            return


def _write_once(lake: Lake, rows: DataFrame, spec: Spec, run_id: str) -> None:
    if not lake.exists(PREDICTIONS):
        lake.append(PREDICTIONS, rows, once=f"{run_id}-predictions")
        return
    step = [spec.columns.time] if spec.task == "forecast" and spec.columns.time else ["row"]
    keys, present = [*PREDICTION_KEY, *step], lake.read(PREDICTIONS).schema
    gone = {
        field.name: F.lit(None).cast(field.dataType) for field in present if field.name not in rows.columns
    }
    rows = rows.withColumns(gone) if gone else rows  # a level that the spec has no more
    old = _matching(lake.read(PREDICTIONS), rows, PREDICTION_KEY, "left_semi")
    if old.isEmpty():
        lake.merge(PREDICTIONS, rows, keys, only_new=True)
        return
    stale = _matching(old, rows, keys, "left_anti").withColumn("_gone", F.lit(True))
    source = rows.withColumn("_gone", F.lit(False)).unionByName(stale, allowMissingColumns=True)
    lake.merge(PREDICTIONS, source, keys, delete_where="_gone")


def _matching(rows: DataFrame, others: DataFrame, keys: Sequence[str], how: str) -> DataFrame:
    """`rows` joined with the keys of `others`; nulls are equal, for without times no row has a cutoff."""
    named = {name: f"_key_{number}" for number, name in enumerate(keys)}
    theirs = others.select(*(F.col(quote(name)).alias(alias) for name, alias in named.items())).distinct()
    equal = [F.col(quote(name)).eqNullSafe(F.col(alias)) for name, alias in named.items()]
    return rows.join(theirs, equal, how)


def write_unscored(lake: Lake, scored: DataFrame) -> None:
    """Table `unscored`: the partitions without a forecast, each with its reason."""
    failed = scored.filter("error IS NOT NULL")
    lake.overwrite(UNSCORED, failed.select("partition_id", "key", "cutoff", "error", "run_id", "scored_at"))


def write_alerts(lake: Lake, scored: DataFrame, spec: Spec) -> None:
    """An alert for each partition that lost its forecast, or has the fallback's in the champion's place."""
    reason = F.element_at(F.split(F.coalesce("error", "champion_error"), ": "), 1)
    check = F.when(F.col("error").isNotNull(), UNSCORED_CHECK).otherwise(FALLBACK_CHECK)
    advice = F.when(F.col("error").isNotNull(), _ADVICE[UNSCORED_CHECK]).otherwise(_ADVICE[FALLBACK_CHECK])
    known = {
        "run_id": F.col("run_id"),
        "partition_id": F.col("partition_id"),
        "key": F.col("key"),
        "check": check,
        "subject": reason,
        "age": F.lit("all"),
        "steps": F.lit(0),
        "value": F.lit(0.0),
        "reference": F.lit(float(spec.horizon)),
        "shift": F.lit(0.0),
        "at": F.col("scored_at"),
        "advice": advice,
    }
    cells = [column.rsplit(" ", 1) for column in ALERTS_SCHEMA.split(", ")]
    concerned = scored.filter(f"champion_error IS NOT NULL OR ({LOST})")
    rows = concerned.select(*(known.get(n, F.lit(None)).cast(kind).alias(n) for n, kind in cells))
    replace_alerts(lake, rows.dropDuplicates(["partition_id"]), BY_SCORE)
