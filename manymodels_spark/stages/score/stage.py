"""Score: predict every partition with its champion, found in bulk, and write the predictions once.

Payloads travel as data and are verified and opened in executors; there is no tracking call per partition. A
champion that is older than the newest row is brought up to date, or forecasts from where it ends. What has no
champion, or one that cannot be used, goes to the spec's fallback, or to `unscored` with its reason.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from manymodels_spark.errors import ConcurrentWrite, ManyModelsError, TooManyUnscored
from manymodels_spark.lake.queries import in_scope
from manymodels_spark.lake.tables import CALENDAR, CHAMPIONS, RUNS, SCORING, SILVER, Lake
from manymodels_spark.spark.session import shuffle_partitions
from manymodels_spark.spark.workers import cogrouped
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.prepare.clock import kept_moment
from manymodels_spark.stages.promote.champions_index import read_index
from manymodels_spark.stages.runs import lock
from manymodels_spark.stages.runs.job import Job, StageReport
from manymodels_spark.stages.score.inputs import NeededRows, with_champions, without_champions
from manymodels_spark.stages.score.score_task import scored_schema, scorer
from manymodels_spark.stages.score.writing import LOST, write_alerts, write_predictions, write_unscored

# Partitions that one call of the scorer serves.
A_CALL = 64
# Reasons that a fallback changes nothing about: it was tried, or must not be.
_FINAL = ("quarantined", "no_champion", "trained_later")


def score(
    job: Job,
    *,
    at: datetime | None = None,
    only: str | None = None,
    force: bool = False,
    every_row: bool = False,
) -> StageReport:
    """Predict `horizon` steps after each partition's last time, or after `at`; of a table, the rows without a
    label and those newer than the model, or with `every_row` all.

    Scoring the same partitions for the same cutoff again replaces their rows in one commit; where rows,
    champions and spec are those of the last scoring, its predictions stand, unless `force` is given.

    Args:
        job: the spec, session and lake.
        at: a time in the spec's zone that the forecasts follow.
        only: SQL over the partition columns.
        force: score again what is scored.
        every_row: of a tabular task, predict rows that the model was trained on, too.

    Returns:
        A report with the counts partitions, scored, fallback, unscored, lost (unscored although there is a
        champion), inactive and rows.

    Raises:
        ManyModelsError: where nothing was promoted yet, and where a champion was trained on rows after `at`:
            its forecast would know the future.
        TooManyUnscored: with everything written, where more partitions lost their forecast than
            `limits.unscored` allows.
        ConcurrentWrite: where another scoring of the spec was quicker.

    """
    with lock.hold(job, "score", f"at={at} only={only}") as (report, _):
        read_index(job)
        version = job.lake.version(SILVER)
        scoring = _Scoring(job, report.run_id, at, version, every_row)
        origin = _origin(job, at, only, version, every_row)
        partitions = in_scope(job.lake, only)
        active = _count_partitions(report, partitions)
        if force or not _is_scored(job.lake, origin):
            scoring.run(partitions.filter("NOT inactive"), active, f"{origin} run={report.run_id}")
        _count_scored(report, job.lake.read(SCORING))
    _check_lost(job.spec, report)
    return report


def _origin(job: Job, at: datetime | None, only: str | None, version: int, every_row: bool) -> str:
    """What predictions are made of: versions of rows, champions and calendar, and the spec's part."""
    lake, spec = job.lake, job.spec
    rules = spec.model_dump_json(include={"horizon", "fallback", "backtest", "columns", "prepare", "predict"})
    digest = hashlib.sha256(f"{rules} at={at} only={only} every_row={every_row}".encode()).hexdigest()[:16]
    return f"silver={version} champions={lake.note(CHAMPIONS)} calendar={lake.note(CALENDAR)} rules={digest}"


def _is_scored(lake: Lake, origin: str) -> bool:
    """Whether the last scoring was made of the same, and ended well."""
    written, run_id = _made_by(lake)
    ended = (F.col("run_id") == run_id) & (F.col("status") == "done")
    return written == origin and not lake.read(RUNS).filter(ended).isEmpty()


@dataclass(frozen=True)
class _Scoring:
    """One scoring run: what goes in and what comes out. All rows are those of one `version` of silver."""

    job: Job
    run_id: str
    at: datetime | None
    version: int
    every_row: bool

    def run(self, partitions: DataFrame, count: int, note: str) -> None:
        """Predict and write for so many partitions: the champions first, then the fallback for those that
        could not be used.
        """
        lake, spec = self.job.lake, self.job.spec
        inputs = with_champions(self.job, partitions, self._cutoff())
        if self.at is not None:
            _refuse_future(inputs, self.at)
        lake.overwrite(SCORING, self._predicted(inputs, count), note=note)
        if spec.fallback is not None:
            self._fall_back(inputs, note)
        scored = _own(lake, self.run_id)
        write_predictions(lake, scored, spec, self.run_id)
        write_unscored(lake, scored)
        write_alerts(lake, scored, spec)

    def _fall_back(self, inputs: DataFrame, note: str) -> None:
        """Let the fallback forecast where a champion could not."""
        first = _own(self.job.lake, self.run_id)
        reason = F.element_at(F.split("error", ": "), 1)
        failed = F.col("error").isNotNull() & ~reason.isin(*_FINAL)
        errors = first.filter(failed).select("partition_id", F.col("error").alias("champion_error"))
        count = errors.count()
        if not count:
            return
        second = self._predicted(without_champions(inputs, F.broadcast(errors)), count)
        whole = first.filter(~F.coalesce(failed, F.lit(False))).unionByName(second)
        self.job.lake.overwrite(SCORING, whole, note=note)

    def _predicted(self, inputs: DataFrame, count: int) -> DataFrame:
        """One row per prediction, and one with `error` per partition that could not be scored."""
        lake, spec = self.job.lake, self.job.spec
        schema = scored_schema(spec, lake.read(SILVER).schema)
        run = scorer(spec, self.run_id, self.version, schema)
        tasks = shuffle_partitions(self.job.spark)
        slots = tasks * max(1, math.ceil(count / (tasks * A_CALL)))
        slot = F.pmod(F.hash("partition_id"), F.lit(slots)).alias("slot")
        rows = NeededRows(lake, spec, self.version, self.every_row).of(inputs)
        spread = [frame.select(slot, "*").repartition(tasks, F.col("slot")) for frame in (inputs, rows)]
        return cogrouped(spread[0], spread[1], "slot", run, schema)

    def _cutoff(self) -> Column:
        return F.col("end") if self.at is None else kept_moment(self.at, self.job.spec)


def _refuse_future(inputs: DataFrame, at: datetime) -> None:
    """Raise ManyModelsError where a champion knows rows after the cutoff."""
    late = inputs.filter(F.col("trained_until") > F.col("cutoff"))
    newest = F.max("trained_until").cast("string").alias("newest")
    found = late.agg(F.count("*").alias("n"), newest).first()
    if found is None or not found["n"]:
        return
    raise ManyModelsError(
        f"--at {at}: {found['n']} champions were trained on later rows, until {found['newest']}, and would "
        "know the future. Give a time from then on, or --only with partitions whose champions are older"
    )


def _own(lake: Lake, run_id: str) -> DataFrame:
    """What this run has scored. Raises ConcurrentWrite where another run has put its own in its place."""
    version = lake.version(SCORING)
    if _made_by(lake)[1] != run_id:
        raise ConcurrentWrite(
            "another scoring of this spec is under way and was quicker. Wait for it to end and run again"
        )
    return lake.read(SCORING, version)


def _made_by(lake: Lake) -> tuple[str, str]:
    """What table `scoring` was made of, and the id of the run that wrote it."""
    origin, _, run_id = (lake.note(SCORING) or "").rpartition(" run=")
    return origin, run_id


def _count_partitions(report: StageReport, partitions: DataFrame) -> int:
    """Add the counts of partitions in scope to the report; how many of them are active."""
    inactive = F.count(F.when(F.col("inactive"), 1)).alias("inactive")
    _add(report, partitions.agg(F.count("*").alias("partitions"), inactive))
    return report.counts["partitions"] - report.counts["inactive"]


def _add(report: StageReport, counted: DataFrame) -> None:
    row = counted.first()
    report.counts.update({name: int(value) for name, value in row.asDict().items()} if row else {})


def _count_scored(report: StageReport, scored: DataFrame) -> None:
    ok, partition = F.col("error").isNull(), F.col("partition_id")
    counted = scored.agg(
        F.count_distinct(F.when(ok, partition)).alias("scored"),
        F.count_distinct(F.when(ok & F.col("fallback"), partition)).alias("fallback"),
        F.count_distinct(F.when(~ok, partition)).alias("unscored"),
        F.count_distinct(F.when(F.expr(LOST), partition)).alias("lost"),
        F.count(F.when(ok, 1)).alias("rows"),
    )
    _add(report, counted)
    counts = report.counts
    inactive = f", {counts['inactive']} inactive" if counts["inactive"] else ""
    report.note = (
        f"{counts['rows']:,} predictions for {counts['scored']} partitions, {counts['unscored']} unscored"
        f"{inactive}"
    )


def _check_lost(spec: Spec, report: StageReport) -> None:
    active, lost = report.counts["partitions"] - report.counts["inactive"], report.counts["lost"]
    if active and lost > spec.limits.unscored * active:
        raise TooManyUnscored(
            f"{lost} of {active} partitions have a champion and no forecast ({lost / active:.1%}), and "
            f"limits.unscored allows {spec.limits.unscored:.1%}. The others are scored. "
            "Table unscored has the reasons",
            report,
        )
