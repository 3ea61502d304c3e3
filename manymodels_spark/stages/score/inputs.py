"""What scoring is given: each partition with its champion's payload, and the rows that predictions need."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from manymodels_spark.lake.queries import in_scope
from manymodels_spark.lake.tables import CALENDAR, FITS, QUARANTINE, SILVER, Lake, union
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.prepare.calendar import by_partition
from manymodels_spark.stages.promote.champions_index import read_index
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.score.known_ahead import DUE, FROM_CALENDAR

ID = "partition_id"
# Up to here the training runs of the champions are named in the query, so that other runs' files are skipped.
MOST_RUNS = 500
_CHAMPION = ("model_id", "family", "sha256", "location", "trained_until", "payload")


def with_champions(job: Job, partitions: DataFrame, cutoff: Column) -> DataFrame:
    """A row per partition: key, cutoff, its champion with payload and `trained_until` where it has one, and
    why it has none where its last fit failed (`fit_reason`, `fit_message`).
    """
    champions = read_index(job).select(ID, "model_id", "family", "sha256", "location", "source_run")
    payloads = champion_payloads(job.lake, champions)
    champions = champions.join(payloads, [ID, "sha256"], "left").select(ID, *_CHAMPION)
    base = partitions.select(ID, "bucket", "key", "end", "problem", "problem_detail", cutoff.alias("cutoff"))
    return base.join(champions, ID, "left").join(_failed_fits(job.lake), ID, "left")


def without_champions(inputs: DataFrame, errors: DataFrame) -> DataFrame:
    """The partitions of `errors` (partition_id, `champion_error`) as if they had no champion."""
    kinds = {field.name: field.dataType for field in inputs.schema}
    none = {name: F.lit(None).cast(kinds[name]) for name in _CHAMPION}
    return inputs.withColumns(none).join(errors, ID)


def champion_payloads(lake: Lake, champions: DataFrame) -> DataFrame:
    """partition_id, sha256, payload and trained_until of the champions' fits, and of no others.

    The champions are sent to the files of `fits`, and never the other way: what a night reads and moves does
    not grow with the trainings that were.
    """
    fits = lake.read(FITS)
    runs = [row[0] for row in champions.select("source_run").distinct().limit(MOST_RUNS + 1).collect()]
    if len(runs) <= MOST_RUNS and None not in runs:
        fits = fits.filter(F.col("run_id").isin(runs))
    wanted = F.broadcast(champions.select(ID, "sha256"))
    mine = fits.select(ID, "sha256", "cutoff", "payload").join(wanted, [ID, "sha256"], "left_semi")
    moment = F.expr("try_cast(max(cutoff) AS timestamp)").alias("trained_until")
    payload = F.first("payload", ignorenulls=True).alias("payload")
    return mine.groupBy(ID, "sha256").agg(payload, moment)


def _failed_fits(lake: Lake) -> DataFrame:
    """partition_id, fit_reason and fit_message of the partitions whose last fit failed."""
    if not lake.exists(QUARANTINE):
        return lake.spark.createDataFrame([], f"{ID} string, fit_reason string, fit_message string")
    named = [F.col("reason").alias("fit_reason"), F.col("message").alias("fit_message")]
    return lake.read(QUARANTINE).select(ID, *named)


@dataclass(frozen=True)
class NeededRows:
    """The rows of silver's `version`, and of the calendar, that predictions of `inputs` need.

    With `every_row` a tabular task predicts all rows; by default those without a label, and those that came
    after what the model was trained on.
    """

    lake: Lake
    spec: Spec
    version: int
    every_row: bool = False

    def of(self, inputs: DataFrame) -> DataFrame:
        """Columns of silver, `_from_calendar`, and `_due`: whether a table's row is to be predicted."""
        spans = inputs.select(ID, "cutoff", "end", "trained_until", F.col("model_id").isNull().alias("_bare"))
        silver = self.lake.read(SILVER, self.version)
        placed = silver.join(F.broadcast(spans), ID)
        marks = [F.lit(False).alias(FROM_CALENDAR), self._due().alias(DUE)]
        wanted = self._of_forecast() if self.spec.task == "forecast" else F.col("_bare") | F.col(DUE)
        rows = placed.select("*", *marks).filter(wanted)
        rows = rows.select(*map(quote, silver.columns), FROM_CALENDAR, DUE)
        if self._looks_ahead() and self.lake.exists(CALENDAR):
            return union([rows, self._of_calendar(spans)])
        return rows

    def _of_forecast(self) -> Column:
        """A champion needs what came since it was trained, which brings it up to date and says what was known
        ahead then; a fallback, the whole history; both, what silver knows of the days after the cutoff.
        """
        time = F.col(quote(str(self.spec.columns.time)))
        since = F.coalesce(F.col("trained_until"), F.lit("0001-01-01").cast("timestamp"))
        past = time <= F.col("cutoff")
        wanted = past & ~F.col("_bare") & (time > since)
        if self.spec.fallback is not None:
            wanted = wanted | (past & F.col("_bare"))
        if self._looks_ahead():
            wanted = wanted | (time > F.col("cutoff"))
        return wanted

    def _looks_ahead(self) -> bool:
        """Whether a forecast needs columns of the steps that it predicts."""
        columns, closed = self.spec.columns, self.spec.prepare.closed.column
        return self.spec.task == "forecast" and bool(columns.known_future or closed)

    def _due(self) -> Column:
        """Whether a table's row is to be predicted: it has no label, or came after what the model knows."""
        if self.every_row or self.spec.task == "forecast":
            return F.lit(True)
        due = F.col(quote(self.spec.columns.target)).isNull()
        if self.spec.columns.time is not None:
            newer = F.col(quote(self.spec.columns.time)) > F.col("trained_until")
            due = due | (~F.col("_bare") & F.coalesce(newer, F.lit(True)))
        return due

    def _of_calendar(self, spans: DataFrame) -> DataFrame:
        """The calendar's rows after what each model was trained on."""
        known = by_partition(self.lake.read(CALENDAR), in_scope(self.lake, None), self.spec)
        since = F.coalesce(F.col("trained_until"), F.least("end", "cutoff"))
        time = F.col(quote(str(self.spec.columns.time)))
        ahead = [self.spec.columns.time, *self.spec.columns.known_future, self.spec.prepare.closed.column]
        names = [name for name in dict.fromkeys(ahead) if name in known.columns]
        rows = known.join(F.broadcast(spans), ID).filter(time > since)
        return rows.select(ID, *(quote(str(name)) for name in names), F.lit(True).alias(FROM_CALENDAR))
