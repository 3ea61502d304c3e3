"""Partitions from near, for the report: their last rows, newest forecast,
candidates' folds, decision and champion.

Reads the lake, as the only module here that does; the page knows only the records that it gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pandas as pd

from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.tables import CHAMPIONS, FITS, PREDICTIONS, PROMOTIONS, SILVER, UNSCORED, Lake
from manymodels_spark.reporting import figures
from manymodels_spark.reporting.folds import placed
from manymodels_spark.reporting.records import FAILED, Detail
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.metric_names import HIGHER_IS_BETTER
from manymodels_spark.spec.model import Spec

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

HELD = 300
OPTIMISTIC = (
    "optimistic: the fold that it was measured on also chose the model. With `backtest.folds` of 2 or more, "
    "and a `backtest.step` of at least the horizon, each fold is judged by a choice made without it."
)
LEAST_HISTORY, MOST_HISTORY = 90, 400


def details(lake: Lake, spec: Spec, partitions: pd.DataFrame) -> dict[str, Detail]:
    """The best, worst and most changed partitions, then quarantined ones,
    then others spread over the error, by id.
    """
    wanted = chosen(partitions, higher_is_better=spec.metric in HIGHER_IS_BETTER)
    found = {partition: Detail() for partition in wanted}
    if not found:
        return {}
    folds = _fits(lake, spec.metric, found)
    _said(lake, found)
    if spec.task == "forecast":
        _history(lake, spec, found, folds)
        _forecasts(lake, spec, found)
    return found


def chosen(partitions: pd.DataFrame, *, higher_is_better: bool, held: int = HELD) -> list[str]:
    """The ids of at most `held` partitions worth their bytes, most telling first."""
    picked = figures.pick(partitions, figures.PICKED, higher_is_better=higher_is_better).ids
    failed = partitions.loc[partitions["status"] == FAILED, "partition_id"].head(60).tolist()
    rest = figures.finite(partitions, "metric").sort_values("metric", kind="stable")["partition_id"].tolist()
    steps = np.linspace(0, len(rest) - 1, min(held, len(rest))).astype(int).tolist()
    return list(dict.fromkeys([*picked, *failed, *(rest[step] for step in steps)]))[:held]


def shown(time: str | None) -> str:
    """A time that Spark wrote as text: to the second, a midnight as its date."""
    return (time or "–").partition(".")[0].removesuffix(" 00:00:00")


def title(canonical: str) -> str:
    """A partition's key as a person reads it, at most 200 characters."""
    text = str(PartitionKey.parse(canonical))
    return text if len(text) <= 200 else f"{text[:199]}…"


def _of(lake: Lake, table: str, ids: Iterable[str]) -> DataFrame:
    """The rows of these partitions."""
    from pyspark.sql import functions as F

    wanted = lake.spark.createDataFrame([(one,) for one in ids], "partition_id string")
    return lake.read(table).join(F.broadcast(wanted), "partition_id", "left_semi")


def _fits(lake: Lake, metric: str, found: dict[str, Detail]) -> dict[str, str | None]:
    """Fill in what the newest fit of each partition says; what it keeps of its folds, by id."""
    from pyspark.sql import functions as F

    if not lake.exists(FITS):
        return {}
    rows, folds = _of(lake, FITS, found), dict[str, str | None]()
    newer = [name for name in ("folds", "optimistic") if name not in rows.columns]
    rows = rows.select("*", *(F.lit(None).alias(name) for name in newer))  # older versions have none
    fits = rows.select(
        "partition_id", "scores", "folds", "optimistic", "message", "advice", "fitted_at", "run_id"
    )
    # The newest comes last and stays.
    for row in fits.orderBy(F.col("fitted_at"), F.col("run_id")).collect():
        detail = found[row["partition_id"]]
        detail.message, detail.advice = row["message"], row["advice"]
        detail.caution = OPTIMISTIC if row["optimistic"] else None
        folds[row["partition_id"]] = row["folds"]
        detail.scores = [_slim(score, metric) for score in orjson.loads(row["scores"] or "[]")]
    return folds


def _slim(score: dict[str, Any], metric: str) -> dict[str, object]:
    """A candidate's score with the spec's metric only: the page shows no other."""
    value, folds = score["metrics"].get(metric), [{metric: fold.get(metric)} for fold in score["folds"]]
    return {
        "candidate": score["candidate"],
        "metrics": {metric: value},
        "folds": folds,
        "seconds": score["seconds"],
        "error": score["error"],
    }


def _said(lake: Lake, found: dict[str, Detail]) -> None:
    if lake.exists(CHAMPIONS):
        for row in (
            _of(lake, CHAMPIONS, found)
            .selectExpr("partition_id", "family", "model_id", "string(promoted_at) AS since")
            .collect()
        ):
            found[
                row["partition_id"]
            ].champion = f"{row['family']}, {row['model_id']}, since {shown(row['since'])}"
    if lake.exists(PROMOTIONS):
        for row in (
            _of(lake, PROMOTIONS, found)
            .orderBy("decided_at")
            .select("partition_id", "outcome", "reason")
            .collect()
        ):
            found[row["partition_id"]].decision = f"{row['outcome']}: {row['reason']}"
    if lake.exists(UNSCORED):
        for row in _of(lake, UNSCORED, found).select("partition_id", "error").collect():
            found[row["partition_id"]].unscored = row["error"]


def _history(lake: Lake, spec: Spec, found: dict[str, Detail], folds: Mapping[str, str | None]) -> None:
    """The last rows of each partition, with its folds beside them."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    if not lake.exists(SILVER):
        return
    time, target = quote(str(spec.columns.time)), quote(spec.columns.target)
    last = Window.partitionBy("partition_id").orderBy(F.desc("time"))
    when, value = F.col(time).cast("string").alias("time"), F.col(target).cast("double").alias("value")
    slim = _of(lake, SILVER, found).select("partition_id", when, value)
    ranked = slim.withColumn("_rank", F.row_number().over(last))
    rows = ranked.filter(F.col("_rank") <= _reach(spec)).orderBy("partition_id", "time")
    for partition, own in groupby(rows.collect(), key=itemgetter("partition_id")):
        past = [(row["time"], row["value"]) for row in own if row["time"] is not None]
        found[partition].history = [(shown(time), value) for time, value in past]
        curves = placed(folds.get(partition), past)
        found[partition].folds = [[(shown(time), value) for time, value in curve] for curve in curves]


def _reach(spec: Spec) -> int:
    """How many of a partition's last rows are worth showing:
    all folds and a horizon before them, within bounds.
    """
    folds = spec.horizon + (spec.backtest.folds - 1) * (spec.backtest.step or spec.horizon)
    return max(LEAST_HISTORY, 3 * spec.horizon, min(folds + spec.horizon, MOST_HISTORY))


def _forecasts(lake: Lake, spec: Spec, found: dict[str, Detail]) -> None:
    """The forecast of each partition's newest cutoff."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    if not lake.exists(PREDICTIONS):
        return
    rows = _of(lake, PREDICTIONS, found)
    newest = F.max("cutoff").over(Window.partitionBy("partition_id"))
    time = quote(str(spec.columns.time))
    forecasts = (
        rows.withColumn("_newest", newest)
        .filter("cutoff = _newest")
        .withColumn("_time", F.col(time).cast("string"))
    )
    levels = [int(name.removeprefix("lower_")) for name in rows.columns if name.startswith("lower_")]
    for row in forecasts.orderBy("partition_id", "_time").collect():
        bands = {
            level: (row[f"lower_{level}"], row[f"upper_{level}"])
            for level in levels
            if row[f"lower_{level}"] is not None
        }
        found[row["partition_id"]].forecast.append((shown(row["_time"]), row["prediction"], bands))
