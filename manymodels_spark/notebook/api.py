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
from manymodels_spark.notebook.trial import Tried
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
from manymodels_spark.stages.trial import try_spec
from manymodels_spark.tracking.tags import PREVIOUS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class ManyModels:
    """One spec at work: the stages as methods, the tables as properties, one partition by its columns.

    Args:
        spec: what the job is.
        spark: the session to run on; by default the one that the platform has, or a local one.
        progress: is called with what a stage has done; by default nothing is shown.

    Example:
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
        """From a spec file.

        Args:
            path: of the YAML file.
            spark: the session to run on; by default the one that the platform has, or a local one.

        Returns:
            The spec at work.

        Raises:
            SpecError: every mistake of the spec, each with its line, before a session is started.
        """
        return cls(load_spec(path), spark)

    @classmethod
    def from_text(cls, text: str, spark: SparkSession | None = None) -> ManyModels:
        """From a spec's YAML text.

        Args:
            text: the YAML.
            spark: the session to run on; by default the one that the platform has, or a local one.

        Returns:
            The spec at work.

        Raises:
            SpecError: every mistake of the spec, each with its line, before a session is started.
        """
        return cls(spec_of(text), spark)

    def ingest(self) -> StageReport:
        """Copy the source's new rows into the lake (table `bronze`).

        Returns:
            Counts of rows, those that are new among them, and seconds.

        Raises:
            NotReady: something that the stage needs is missing on this machine; all of it is named.
            SourceError: the source cannot be read, or lost a column.
        """
        return ingest(self._ready("ingest"))

    def prepare(self) -> StageReport:
        """Make one clean set of rows per partition (tables `silver`, `partitions`, `quality`).

        Returns:
            Counts of partitions, filled gaps, merged duplicates and broken partitions.

        Raises:
            NotReady: something that the stage needs is missing on this machine; all of it is named.
        """
        return prepare(self._ready("prepare"))

    def train(self, where: str | None = None, *, force: bool = False, failed: bool = False) -> TrainingRun:
        """Fit every partition that changed, log each model to MLflow, and put what failed into quarantine.

        Args:
            where: a SQL condition on the partition columns, such as `store = 3 and item < 5`; None for all.
            force: also partitions in which nothing changed.
            failed: only partitions whose last fit failed.

        Returns:
            The run, with its counts, leaderboard and plots.

        Raises:
            NotReady: something that the stage needs is missing on this machine; all of it is named.
            TooManyFailures: the share of quarantined partitions is above `limits.failures`; the others are
                fitted and logged, and `last_training()` has the run.
        """
        report = train(self._ready("train"), Choice(only=where, force=force, failed=failed))
        return TrainingRun(self.job, report, where)

    def last_training(self) -> TrainingRun:
        """The newest training run, also one that ended with TooManyFailures.

        Returns:
            The run, with its counts, leaderboard and plots.

        Raises:
            ManyModelsError: there is none.
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
        """Apply the gates to the newest model of each partition and copy those that pass to production.

        Args:
            run: judge the partitions that this training run was about.
            where: a SQL condition on the partition columns, such as `store = 3 and item < 5`; None for all.
            dry_run: judge only; nothing is copied or stored.

        Returns:
            Counts of new champions, and of models kept and refused.

        Raises:
            NotReady: something that the stage needs is missing on this machine; all of it is named.
        """
        return promote(self._ready("promote"), only=where or (run.where if run else None), dry_run=dry_run)

    def rollback(self, where: str | None = None, *, to: str = PREVIOUS, dry_run: bool = False) -> StageReport:
        """Make an earlier model of each partition its champion again.

        Args:
            where: a SQL condition on the partition columns, such as `store = 3 and item < 5`; None for all.
            to: `previous` for the former champion, or the id of a training run or promotion.
            dry_run: report what would change, and change nothing.

        Returns:
            Counts of champions that changed and of partitions without an earlier one.

        Raises:
            ManyModelsError: no partition has such an earlier model.
        """
        return rollback(self.job, only=where, to=to, dry_run=dry_run)

    def history(self, **partition: Value) -> pd.DataFrame:
        """What was decided about the models of one partition.

        Args:
            **partition: a value for each partition column, with its type: `store=3, item=7`.

        Returns:
            A row per decision, oldest first: decided_at, outcome, reason, source_run, model_id, replaced.
        """
        key = PartitionKey.of(partition)
        columns = ["decided_at", "outcome", "reason", "source_run", "model_id", "replaced"]
        decisions = self.promotions.filter(f"partition_id = '{key.id}'")
        return decisions.select(*columns).orderBy("decided_at").toPandas()

    def score(self, where: str | None = None, *, every_row: bool = False) -> StageReport:
        """Predict `horizon` steps (forecasts) or the rows without a label (tables) with each champion.

        Args:
            where: a SQL condition on the partition columns, such as `store = 3 and item < 5`; None for all.
            every_row: of a table all rows, not only those without a label and those newer than the model.

        Returns:
            Counts of partitions, predictions, and partitions without a forecast.

        Raises:
            NotReady: something that the stage needs is missing on this machine; all of it is named.
            TooManyFailures: more partitions lost their forecast than `limits.unscored` allows; the others are
                in `predictions`.
        """
        return score(self._ready("score"), only=where, every_row=every_row)

    def load(self, *, full: bool = False) -> StageReport:
        """Load the newest predictions into the warehouse, exactly once.

        Args:
            full: all of them again, in place of what the warehouse has.

        Returns:
            Which version was loaded, with its rows.

        Raises:
            NotReady: something that the stage needs is missing on this machine; all of it is named.
            WarehouseError: it refused; its tables are as before.
        """
        return load(self._ready("load"), full=full)

    def run(self) -> RunReport:
        """All stages in order, from `ingest` to `load`.

        Returns:
            The report of each stage.

        Raises:
            NotReady: something that the stage needs is missing on this machine; all of it is named.
            TooManyFailures: after the last stage, where a limit of the spec was exceeded.
        """
        return run_all(self._ready("run"))

    def try_out(self, scratch: str | None = None) -> Tried:
        """The stages on 20 partitions in a scratch lake, shown as pictures of three; nothing of it is kept.

        Args:
            scratch: a folder that all workers reach; required on a cluster.

        Returns:
            What was found, which shows itself in a notebook.

        Raises:
            ManyModelsError: where a stage cannot work, and on a cluster without `scratch`.

        """
        preflight(self.spec, "try", session=True)
        return Tried(try_spec(self.spec, self.spark, self.job.progress, scratch))

    def _ready(self, stage: str) -> Job:
        """The job, once all that the stage needs was found. Raises NotReady, which names what is missing."""
        preflight(self.spec, stage, session=True)
        return self.job

    def rebuild_index(self) -> StageReport:
        """Write the champions' index anew from the production MLflow.

        Returns:
            The count of champions found.
        """
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
        """What the spec's calendar says of one partition.

        Args:
            **partition: a value for each partition column, with its type: `store=3, item=7`.

        Returns:
            A row per step, in order of time: the time and the known-future columns.

        Raises:
            ManyModelsError: the spec has no `prepare.calendar`.
        """
        rows = known_future_of(self.job, PartitionKey.of(partition))
        if rows is None:
            raise ManyModelsError(f"the spec of {self.spec.name} has no prepare.calendar")
        return rows

    def model(self, **partition: Value) -> ChampionModel:
        """The champion of one partition, e.g. `mm.model(store=3, item=7)`.

        Args:
            **partition: a value for each partition column, with its type: `store=3, item=7`.

        Returns:
            A model with `predict(horizon=...)`.

        Raises:
            ManyModelsError: that partition has no champion.
        """
        return champion_of(self.job, PartitionKey.of(partition))

    def rows(self, **partition: Value) -> pd.DataFrame:
        """The prepared rows of one partition: what its model is fitted on.

        Args:
            **partition: a value for each partition column, with its type: `store=3, item=7`.

        Returns:
            Its rows in order of time, with the spec's column names.

        Raises:
            ManyModelsError: there are none.
        """
        return rows_of(self.job, PartitionKey.of(partition))

    def fit(self, **partition: Value) -> FitResult:
        """Fit one partition here, by the function that executors run. Nothing is logged or stored.

        Args:
            **partition: a value for each partition column, with its type: `store=3, item=7`.

        Returns:
            The choice, its metrics, its payload; or `failure`, since a fit that fails does not raise.

        Raises:
            ManyModelsError: there are no rows of that partition.
        """
        return fit_partition(self.rows(**partition), self.spec, PartitionKey.of(partition))
