"""What one training run did, as DataFrames and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import pandas as pd

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.families import registry
from manymodels_spark.frames import records
from manymodels_spark.keys import PartitionKey, Value
from manymodels_spark.lake.find_partition import find_partition
from manymodels_spark.lake.tables import FITS
from manymodels_spark.modeling.backtest_partition import backtest_partition
from manymodels_spark.modeling.predict import LoadedPartition
from manymodels_spark.notebook.champion import known_future_of, rows_of
from manymodels_spark.reporting.folds import placed
from manymodels_spark.spec.metric_names import HIGHER_IS_BETTER
from manymodels_spark.stages.runs.job import Job, StageReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class TrainingRun:
    """What one training run did; `where` are the partitions that it was about."""

    job: Job
    report: StageReport
    where: str | None = None

    @property
    def counts(self) -> dict[str, int]:
        """partitions, fitted, fallback, unchanged, quarantined."""
        return self.report.counts

    def fits(self) -> DataFrame:
        """The run's outcomes as they are in table `fits`.

        Returns:
            A row per partition, without payloads.
        """
        return self.job.lake.read(FITS).filter(f"run_id = '{self.report.run_id}'").drop("payload")

    def leaderboard(self) -> pd.DataFrame:
        """The chosen model of each partition and what it gains over the seasonal naive.

        Returns:
            A row per fitted partition: partition columns, family, the spec's metric, the seasonal naive's,
            and `gain`; the best gain first.
        """
        metric = self.job.spec.metric
        fits = self.fits().filter("status <> 'failed'").select("key", "family", "metrics")
        rows = [_leader(row, metric) for row in records(fits.toPandas())]
        board = pd.DataFrame(rows)
        return board.sort_values("gain", ascending=False, ignore_index=True) if "gain" in board else board

    def candidates(self) -> pd.DataFrame:
        """Every candidate of every partition with its metrics.

        Returns:
            A row per partition and candidate: partition columns, candidate, its mean metrics over the folds,
            seconds (of all its fits), error.
        """
        rows = []
        for row in records(self.fits().filter("status <> 'failed'").select("key", "scores").toPandas()):
            key = PartitionKey.parse(row["key"]).as_dict()
            rows += [
                {
                    **key,
                    "candidate": s["candidate"],
                    **s["metrics"],
                    "seconds": s["seconds"],
                    "error": s["error"],
                }
                for s in orjson.loads(row["scores"])
            ]
        return pd.DataFrame(rows)

    def worst(self, n: int = 20) -> pd.DataFrame:
        """The partitions with the highest error (of a bias by its size), or the lowest accuracy.

        Args:
            n: how many.

        Returns:
            Rows of `leaderboard()`, the worst first.
        """
        board, metric = self.leaderboard(), self.job.spec.metric
        if metric not in board:
            return board.head(0)
        error = board[metric].abs() if metric == "bias" else board[metric]
        order = error.sort_values(ascending=metric in HIGHER_IS_BETTER, kind="stable").index
        return board.loc[order].head(n).reset_index(drop=True)

    def backtest(self, **partition: Value) -> pd.DataFrame:
        """What every candidate predicted on every fold of one partition, beside what came.

        The folds are fitted anew, here and not on the cluster.

        Args:
            **partition: a value for each partition column, with its type: `store=3, item=7`.

        Returns:
            A row per candidate, fold and step: candidate, champion (whether it is), fold (1 is the latest),
            the time column, actual, prediction.

        Raises:
            ManyModelsError: this run fitted no such partition.
        """
        key = PartitionKey.of(partition)
        return backtest_partition(self._rows(key, self._fit_of(key)), self.job.spec, key)

    def plot(self, name: str | None = None, *, folds: bool = True, **partition: Value) -> Figure:
        """History, forecast, intervals and the folds' predictions of one partition's new model.

        Args:
            name: the partition as text, `"store=3, item=7"`; or None, and its columns with their own types.
            folds: draw the folds' predictions, as the fit kept them.
            **partition: a value for each partition column, with its type: `store=3, item=7`.

        Returns:
            A figure of matplotlib.

        Raises:
            ManyModelsError: this run fitted no such partition, the task is no forecast, or matplotlib is
                missing.
        """
        from manymodels_spark.reporting.plots import forecast_figure

        spec = self.job.spec
        key = (
            PartitionKey.of(partition)
            if name is None
            else find_partition(self.job.lake, spec.partition_by, name)
        )
        if spec.task != "forecast":
            raise ManyModelsError(
                f"a plot shows a series, and {spec.name} is a {spec.task}. See `run.backtest(...)` for its "
                "folds"
            )
        row = self._fit_of(key)
        history, cutoff, known = (
            self._rows(key, row),
            pd.Timestamp(row["cutoff"]),
            known_future_of(self.job, key),
        )
        future = None if known is None else known[known[str(spec.columns.time)] > cutoff]
        model = LoadedPartition(bytes(row["payload"]), families=registry.importable(spec))
        forecast = model.predict(future=future, horizon=spec.horizon, since=cutoff)
        time, target = str(spec.columns.time), spec.columns.target
        kept = row["folds"] if folds and "folds" in row else None
        curves = placed(kept, list(zip(history[time], history[target].astype(float), strict=True)))
        title = f"{key}   {row['family']}"
        return forecast_figure(history, forecast, time=time, target=target, title=title, folds=curves)

    def _rows(self, key: PartitionKey, fit: Any) -> pd.DataFrame:
        """The partition's prepared rows that its model has seen."""
        rows = rows_of(self.job, key)
        time = self.job.spec.columns.time
        return (
            rows if time is None or fit["cutoff"] is None else rows[rows[time] <= pd.Timestamp(fit["cutoff"])]
        )

    def _fit_of(self, key: PartitionKey) -> Any:
        mine = self.job.lake.read(FITS).filter(
            f"run_id = '{self.report.run_id}' AND partition_id = '{key.id}'"
        )
        row = mine.filter("payload IS NOT NULL").first()
        if row is None:
            raise ManyModelsError(
                f"this run fitted no model for {key}. See `run.leaderboard()` for those that it did"
            )
        return row

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


def _leader(row: dict[str, object], metric: str) -> dict[str, object]:
    metrics = dict(row["metrics"])  # type: ignore[call-overload]
    own, naive = metrics.get(metric), metrics.get(f"seasonal_naive_{metric}")
    line = {**PartitionKey.parse(str(row["key"])).as_dict(), "champion": row["family"], metric: own}
    if naive is None or own is None:
        return line
    return {**line, "seasonal_naive": naive, "gain": 1 - own / naive if naive else 0.0}
