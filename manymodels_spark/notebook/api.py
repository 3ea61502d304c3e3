"""The Python interface, for notebooks: one object with the pipeline's verbs, and results as DataFrames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from manymodels_spark.doctor import preflight
from manymodels_spark.errors import ManyModelsError
from manymodels_spark.families.checked_spec import load_spec, spec_of
from manymodels_spark.keys import PartitionKey, Value
from manymodels_spark.lake.tables import CHAMPIONS, PREDICTIONS, PROMOTIONS, QUARANTINE, RUNS, UNSCORED
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.results import FitResult
from manymodels_spark.notebook.champion import ChampionModel, champion_of, known_future_of, rows_of
from manymodels_spark.notebook.training_run import TrainingRun
from manymodels_spark.spark.session import session_of
from manymodels_spark.spec import Spec
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

    def score(self, where: str | None = None, *, every_row: bool = False) -> StageReport:
        """Predict every partition with its champion; of a table the rows without a label and those newer than
        the model, or with `every_row` all.
        """
        return score(self._ready("score"), only=where, every_row=every_row)

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
