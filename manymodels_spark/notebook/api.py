"""The Python interface, for notebooks: one object with the pipeline's verbs, and results as DataFrames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pandas as pd

from manymodels_spark.doctor import preflight
from manymodels_spark.errors import ManyModelsError
from manymodels_spark.families.checked_spec import load_spec, spec_of
from manymodels_spark.frames import records
from manymodels_spark.keys import PartitionKey, Value
from manymodels_spark.lake.find_partition import find_partition
from manymodels_spark.lake.tables import CHAMPIONS, FITS, PREDICTIONS, PROMOTIONS, QUARANTINE, RUNS, UNSCORED
from manymodels_spark.modeling.backtest_partition import backtest_partition
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.predict import predict_partition
from manymodels_spark.modeling.results import FitResult
from manymodels_spark.notebook.champion import ChampionModel, champion_of, known_future_of, rows_of
from manymodels_spark.reporting.folds import placed
from manymodels_spark.spark.session import session_of
from manymodels_spark.spec import Spec
from manymodels_spark.spec.metric_names import HIGHER_IS_BETTER
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.load.stage import load
from manymodels_spark.stages.pipeline import RunReport
from manymodels_spark.stages.pipeline import run as run_all
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.promote import champions_index
from manymodels_spark.stages.promote.rollback import rollback
from manymodels_spark.stages.promote.stage import promote
from manymodels_spark.stages.runs.job import Job, Progress, StageReport
from manymodels_spark.stages.score.stage import score
from manymodels_spark.stages.train.due import Choice
from manymodels_spark.stages.train.stage import train
from manymodels_spark.tracking.tags import PREVIOUS

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pyspark.sql import DataFrame, SparkSession


class ManyModels:
    """One spec at work.

    >>> mm = ManyModels.from_yaml("conf/retail.yaml")
    >>> mm.ingest(); mm.prepare()
    >>> run = mm.train(where="store = 3")
    >>> run.leaderboard()
    >>> mm.promote(); mm.score(); mm.load()
    """

    def __init__(
        self, spec: Spec, spark: SparkSession | None = None, progress: Progress | None = None
    ) -> None:
        self.spec = spec
        self.job = Job.of(spec, spark or session_of(spec), progress)

    def _repr_html_(self) -> str:
        return self.spec._repr_html_()

    @property
    def spark(self) -> SparkSession:
        """The session that all of it runs on."""
        return self.job.spark

    @classmethod
    def from_yaml(cls, path: str | Path, spark: SparkSession | None = None) -> ManyModels:
        """From a spec file. Raises SpecError with every mistake before a session is started."""
        return cls(load_spec(path), spark)

    @classmethod
    def from_text(cls, text: str, spark: SparkSession | None = None) -> ManyModels:
        """From a spec's YAML text."""
        return cls(spec_of(text), spark)

    def ingest(self) -> StageReport:
        """Copy the source's new rows into the lake."""
        return ingest(self._ready("ingest"))

    def prepare(self) -> StageReport:
        """Make one clean set of rows per partition."""
        return prepare(self._ready("prepare"))

    def train(self, where: str | None = None, *, force: bool = False, failed: bool = False) -> TrainingRun:
        """Fit every partition that changed, or those that `where` (SQL) selects."""
        report = train(self._ready("train"), Choice(only=where, force=force, failed=failed))
        return TrainingRun(self.job, report, where)

    def last_training(self) -> TrainingRun:
        """The newest training run, also one that ended with TooManyFailures. Raises ManyModelsError where
        there is none.
        """
        from pyspark.sql import functions as F

        runs = self.job.lake.read(RUNS).filter("stage = 'train' AND status = 'done'")
        row = runs.orderBy(F.col("run_id").desc()).first()
        if row is None:
            raise ManyModelsError(f"{self.spec.name} was not trained yet. Call `train()` first")
        report = StageReport(
            "train", row["run_id"], dict(row["counts"]), int(row["calls"]), float(row["seconds"]), row["note"]
        )
        return TrainingRun(self.job, report)

    def promote(
        self, run: TrainingRun | None = None, *, where: str | None = None, dry_run: bool = False
    ) -> StageReport:
        """Apply the gates and copy the models that pass to production: the newest model of every partition,
        or of those that `run` was about or `where` (SQL) selects.
        """
        return promote(self._ready("promote"), only=where or (run.where if run else None), dry_run=dry_run)

    def rollback(self, where: str | None = None, *, to: str = PREVIOUS, dry_run: bool = False) -> StageReport:
        """Make each partition's former champion champion again, or its model of the training run or promotion
        `to`.
        """
        return rollback(self.job, only=where, to=to, dry_run=dry_run)

    def history(self, **partition: Value) -> pd.DataFrame:
        """Every model of one partition that was ever promoted in this spec, refused or rolled back, oldest
        first.
        """
        key = PartitionKey.of(partition)
        columns = ["decided_at", "outcome", "reason", "source_run", "model_id", "replaced"]
        decisions = self.promotions.filter(f"partition_id = '{key.id}'")
        return decisions.select(*columns).orderBy("decided_at").toPandas()

    def score(self, where: str | None = None) -> StageReport:
        """Predict every partition with its champion."""
        return score(self._ready("score"), only=where)

    def load(self, *, full: bool = False) -> StageReport:
        """Load the newest predictions into the warehouse; with `full` all of them again, in place of what is
        there.
        """
        return load(self._ready("load"), full=full)

    def run(self) -> RunReport:
        """All stages in order."""
        return run_all(self._ready("run"))

    def _ready(self, stage: str) -> Job:
        """The job, once all that the stage needs was found. Raises NotReady, which names what is missing."""
        preflight(self.spec, stage, session=True)
        return self.job

    def rebuild_index(self) -> StageReport:
        """Write the champions' index anew from the production MLflow."""
        return champions_index.rebuild(self.job)

    @property
    def champions(self) -> DataFrame:
        """The champions' index, a row per partition."""
        return self.job.lake.read(CHAMPIONS)

    @property
    def predictions(self) -> DataFrame:
        """All predictions in the lake."""
        return self.job.lake.read(PREDICTIONS)

    @property
    def promotions(self) -> DataFrame:
        """Every decision of a promotion or rollback, with its reason."""
        return self.job.lake.read(PROMOTIONS)

    @property
    def unscored(self) -> DataFrame:
        """The partitions that the last scoring could not predict, with the reason."""
        return self.job.lake.read(UNSCORED)

    @property
    def quarantine(self) -> DataFrame:
        """The partitions without a model, each with its reason and what to do."""
        return self.job.lake.read(QUARANTINE)

    def known_future(self, **partition: Value) -> pd.DataFrame:
        """What the spec's calendar says of one partition: time and known-future columns. Raises
        ManyModelsError without one.
        """
        rows = known_future_of(self.job, PartitionKey.of(partition))
        if rows is None:
            raise ManyModelsError(f"the spec of {self.spec.name} has no prepare.calendar")
        return rows

    def model(self, **partition: Value) -> ChampionModel:
        """The champion of one partition, e.g. `mm.model(store=3, item=7)`.

        Raises ManyModelsError where that partition has no champion.
        """
        return champion_of(self.job, PartitionKey.of(partition))

    def rows(self, **partition: Value) -> pd.DataFrame:
        """The prepared rows of one partition, in order of time: what its model is fitted on."""
        return rows_of(self.job, PartitionKey.of(partition))

    def fit(self, **partition: Value) -> FitResult:
        """Fit one partition here, in this process, by the function that executors run. Nothing is logged or
        stored.

        Never raises for what the fit does: look at `failure`. Raises ManyModelsError where there are no rows.
        """
        return fit_partition(self.rows(**partition), self.spec, PartitionKey.of(partition))


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
        """The run's outcomes, a row per partition, without payloads."""
        return self.job.lake.read(FITS).filter(f"run_id = '{self.report.run_id}'").drop("payload")

    def leaderboard(self) -> pd.DataFrame:
        """Partition columns, champion, its metric, the seasonal naive's, and the gain over it; best gain
        first.
        """
        metric = self.job.spec.metric
        fits = self.fits().filter("status <> 'failed'").select("key", "family", "metrics")
        rows = [_leader(row, metric) for row in records(fits.toPandas())]
        board = pd.DataFrame(rows)
        return board.sort_values("gain", ascending=False, ignore_index=True) if "gain" in board else board

    def candidates(self) -> pd.DataFrame:
        """Every candidate of every partition with its mean metrics over the folds."""
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
        """The `n` partitions with the highest error, of a bias by its size; where more is better (accuracy),
        those with the lowest value.
        """
        board, metric = self.leaderboard(), self.job.spec.metric
        if metric not in board:
            return board.head(0)
        error = board[metric].abs() if metric == "bias" else board[metric]
        order = error.sort_values(ascending=metric in HIGHER_IS_BETTER, kind="stable").index
        return board.loc[order].head(n).reset_index(drop=True)

    def backtest(self, **partition: Value) -> pd.DataFrame:
        """What every candidate predicted on every fold of one partition, beside what came, e.g.
        `run.backtest(store=3, item=7)`.

        Columns: candidate, champion, fold (1 is the latest), the time column, actual, prediction. The folds
        are fitted anew, here and not on the cluster. Raises ManyModelsError where this run fitted no such
        partition.
        """
        key = PartitionKey.of(partition)
        return backtest_partition(self._rows(key, self._fit_of(key)), self.job.spec, key)

    def plot(self, name: str | None = None, *, folds: bool = True, **partition: Value) -> Figure:
        """History, forecast, intervals and the folds' predictions (as the fit kept them) of one partition's
        new model.

        `run.plot("store=3, item=7")` or, with the columns' own types, `run.plot(store=3, item=7)`.
        Raises ManyModelsError where this run fitted no such partition, or matplotlib is missing.
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
        forecast = predict_partition(bytes(row["payload"]), future=future, horizon=spec.horizon, since=cutoff)
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
