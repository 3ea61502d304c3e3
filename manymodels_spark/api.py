"""The Python interface, for notebooks: one object with the pipeline's verbs, and results as DataFrames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pandas as pd

from manymodels_spark.check import load_spec, spec_of
from manymodels_spark.doctor import preflight
from manymodels_spark.errors import ManyModelsError
from manymodels_spark.frames import records
from manymodels_spark.keys import PartitionKey, Value
from manymodels_spark.pipeline import RunReport
from manymodels_spark.pipeline import run as run_all
from manymodels_spark.predict import LoadedPartition, predict_partition
from manymodels_spark.pyfunc import PartitionModel
from manymodels_spark.session import get_session
from manymodels_spark.spec import Spec
from manymodels_spark.spec.source import resolve
from manymodels_spark.stages import index
from manymodels_spark.stages.calendar import by_partition
from manymodels_spark.stages.ingest import ingest
from manymodels_spark.stages.job import Job, Progress, StageReport
from manymodels_spark.stages.load import load
from manymodels_spark.stages.prepare import prepare
from manymodels_spark.stages.promote import promote
from manymodels_spark.stages.score import score
from manymodels_spark.stages.select import Choice
from manymodels_spark.stages.train import train
from manymodels_spark.tables import CALENDAR, CHAMPIONS, FITS, PARTITIONS, PREDICTIONS, QUARANTINE, RUNS, SILVER

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

    def __init__(self, spec: Spec, spark: SparkSession | None = None, progress: Progress | None = None) -> None:
        self.spec = spec
        self.job = Job.of(spec, spark or get_session(spec.name), progress)

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
        return TrainingRun(self.job, report)

    def last_training(self) -> TrainingRun:
        """The newest training run, also one that ended with TooManyFailures. Raises ManyModelsError where there is none."""
        from pyspark.sql import functions as F

        runs = self.job.lake.read(RUNS).filter("stage = 'train' AND status = 'done'")
        row = runs.orderBy(F.col("run_id").desc()).first()
        if row is None:
            raise ManyModelsError(f"{self.spec.name} was not trained yet. Call `train()` first")
        report = StageReport("train", row["run_id"], dict(row["counts"]), int(row["calls"]), float(row["seconds"]), row["note"])
        return TrainingRun(self.job, report)

    def promote(self, where: str | None = None, *, dry_run: bool = False) -> StageReport:
        """Apply the gates and copy the models that pass to production."""
        return promote(self._ready("promote"), only=where, dry_run=dry_run)

    def score(self, where: str | None = None) -> StageReport:
        """Predict every partition with its champion."""
        return score(self._ready("score"), only=where)

    def load(self) -> StageReport:
        """Load the newest predictions into the warehouse."""
        return load(self._ready("load"))

    def run(self) -> RunReport:
        """All stages in order."""
        return run_all(self._ready("run"))

    def _ready(self, stage: str) -> Job:
        """The job, once all that the stage needs was found. Raises NotReady, which names what is missing."""
        preflight(self.spec, stage, session=True)
        return self.job

    def rebuild_index(self) -> StageReport:
        """Write the champions' index anew from the production MLflow."""
        return index.rebuild(self.job)

    @property
    def champions(self) -> DataFrame:
        """The champions' index, a row per partition."""
        return self.job.lake.read(CHAMPIONS)

    @property
    def predictions(self) -> DataFrame:
        """All predictions in the lake."""
        return self.job.lake.read(PREDICTIONS)

    @property
    def quarantine(self) -> DataFrame:
        """The partitions without a model, each with its reason and what to do."""
        return self.job.lake.read(QUARANTINE)

    def known_future(self, **partition: Value) -> pd.DataFrame:
        """What the spec's calendar says of one partition: time and known-future columns. Raises ManyModelsError without one."""
        rows = _known_future(self.job, PartitionKey.of(partition))
        if rows is None:
            raise ManyModelsError(f"the spec of {self.spec.name} has no prepare.calendar")
        return rows

    def model(self, **partition: Value) -> ChampionModel:
        """The champion of one partition, e.g. `mm.model(store=3, item=7)`.

        Raises ManyModelsError where that partition has no champion.
        """
        key = PartitionKey.of(partition)
        row = self.champions.filter(f"partition_id = '{key.id}'").select("location", "sha256").first()
        if row is None:
            raise ManyModelsError(f"no champion for {key}. See `mm.quarantine`, and table promotions for refused models")
        from manymodels_spark.tracking.artifacts import read_payload

        payload = read_payload(row["location"], row["sha256"], resolve(self.spec.mlflow.production.tracking))
        return ChampionModel(payload, _known_future(self.job, key))


class ChampionModel(PartitionModel):
    """The champion of one partition. `known` are its rows of the spec's calendar, where it has one."""

    def __init__(self, payload: bytes, known: pd.DataFrame | None = None) -> None:
        super().__init__(payload)
        self.known = known

    def predict(  # type: ignore[override]
        self, rows: pd.DataFrame | None = None, *, horizon: int | None = None
    ) -> pd.DataFrame:
        """Predictions for `rows`, or for `horizon` steps after the training rows (with what the calendar says of them)."""
        if rows is not None:
            return super().predict(rows)
        return predict_partition(self.payload, future=self.known, horizon=horizon or LoadedPartition(self.payload).problem.horizon)


@dataclass(frozen=True)
class TrainingRun:
    """What one training run did."""

    job: Job
    report: StageReport

    @property
    def counts(self) -> dict[str, int]:
        """partitions, fitted, fallback, unchanged, quarantined."""
        return self.report.counts

    def fits(self) -> DataFrame:
        """The run's outcomes, a row per partition, without payloads."""
        return self.job.lake.read(FITS).filter(f"run_id = '{self.report.run_id}'").drop("payload")

    def leaderboard(self) -> pd.DataFrame:
        """Partition columns, champion, its metric, the seasonal naive's, and the gain over it; best gain first."""
        metric = self.job.spec.metric
        rows = [_leader(row, metric) for row in records(self.fits().filter("status <> 'failed'").toPandas())]
        board = pd.DataFrame(rows)
        return board.sort_values("gain", ascending=False, ignore_index=True) if "gain" in board else board

    def candidates(self) -> pd.DataFrame:
        """Every candidate of every partition with its mean metrics over the folds."""
        rows = []
        for row in records(self.fits().filter("status <> 'failed'").select("key", "scores").toPandas()):
            key = PartitionKey.parse(row["key"]).as_dict()
            rows += [{**key, "candidate": s["candidate"], **s["metrics"], "seconds": s["seconds"], "error": s["error"]}
                     for s in orjson.loads(row["scores"])]  # fmt: skip
        return pd.DataFrame(rows)

    def worst(self, n: int = 20) -> pd.DataFrame:
        """The `n` partitions with the highest error."""
        return self.leaderboard().nlargest(n, self.job.spec.metric, keep="first").reset_index(drop=True)

    def plot(self, **partition: Value) -> Figure:
        """History, forecast and intervals of one partition's newly trained model, e.g. `run.plot(store=3, item=7)`.

        Raises ManyModelsError where this run fitted no such partition, or matplotlib is missing.
        """
        from manymodels_spark.report.plots import forecast_figure

        spec, key = self.job.spec, PartitionKey.of(partition)
        row = self._fit_of(key)
        history = self.job.lake.read(SILVER).filter(f"partition_id = '{key.id}'").toPandas()
        known = _known_future(self.job, key)
        future = None if known is None else known[known[str(spec.columns.time)] > pd.Timestamp(row["cutoff"])]
        forecast = predict_partition(bytes(row["payload"]), future=future, horizon=spec.horizon, since=pd.Timestamp(row["cutoff"]))
        time, target = str(spec.columns.time), spec.columns.target
        return forecast_figure(history, forecast, time=time, target=target, title=f"{key}   {row['family']}")

    def _fit_of(self, key: PartitionKey) -> Any:
        mine = self.job.lake.read(FITS).filter(f"run_id = '{self.report.run_id}' AND partition_id = '{key.id}'")
        row = mine.filter("payload IS NOT NULL").first()
        if row is None:
            raise ManyModelsError(f"this run fitted no model for {key}. See `run.leaderboard()` for those that it did")
        return row

    def _repr_html_(self) -> str:
        cells = "".join(f"<tr><td>{name}</td><td>{value:,}</td></tr>" for name, value in self.counts.items())
        return f"<table>{cells}<tr><td>seconds</td><td>{self.report.seconds:.1f}</td></tr></table>"


def _known_future(job: Job, key: PartitionKey) -> pd.DataFrame | None:
    """The calendar's rows of one partition, in the order of time; None where the spec has no calendar."""
    if job.spec.prepare.calendar is None:
        return None
    own = job.lake.read(PARTITIONS).filter(f"partition_id = '{key.id}'")
    rows = by_partition(job.lake.read(CALENDAR), own, job.spec).toPandas()
    return rows.drop(columns="partition_id").sort_values(str(job.spec.columns.time), ignore_index=True)


def _leader(row: dict[str, object], metric: str) -> dict[str, object]:
    metrics = dict(row["metrics"])  # type: ignore[call-overload]
    own, naive = metrics.get(metric), metrics.get(f"seasonal_naive_{metric}")
    line = {**PartitionKey.parse(str(row["key"])).as_dict(), "champion": row["family"], metric: own}
    if naive is None or own is None:
        return line
    return {**line, "seasonal_naive": naive, "gain": 1 - own / naive if naive else 0.0}
