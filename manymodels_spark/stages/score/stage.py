"""Score: predict every partition with its champion, found in bulk, and write the predictions once.

Payloads travel as data and are verified and opened in executors; there is no tracking call per partition.
What has no champion goes to the spec's fallback, or to `unscored` with its reason.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from manymodels_spark.errors import ConcurrentWrite
from manymodels_spark.lake.tables import (
    CALENDAR,
    CHAMPIONS,
    FITS,
    PREDICTIONS,
    RUNS,
    SCORING,
    SILVER,
    UNSCORED,
    Lake,
)
from manymodels_spark.spark.names import quote
from manymodels_spark.spark.session import shuffle_partitions
from manymodels_spark.spark.workers import cogrouped
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.prepare.calendar import by_partition
from manymodels_spark.stages.promote.champions_index import read_index
from manymodels_spark.stages.runs import lock
from manymodels_spark.stages.runs.job import Job, StageReport
from manymodels_spark.stages.score.score_task import scored_schema, scorer
from manymodels_spark.stages.train.due import in_scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column, DataFrame

# Partitions that one call of the scorer serves.
A_CALL = 64
ERROR = "error"
KEY = ("partition_id", "cutoff")
ATTEMPTS = 3


def score(
    job: Job, *, at: datetime | None = None, only: str | None = None, force: bool = False
) -> StageReport:
    """Predict `horizon` steps after each partition's last time, or after `at`.

    Counts: partitions, scored, fallback, unscored, rows. Scoring the same partitions for the same cutoff
    again replaces their rows in one commit; where rows, champions and spec are those of the last scoring, its
    predictions stand, unless `force` is given.
    """
    with lock.hold(job, "score", f"at={at} only={only}") as (report, _):
        read_index(job)
        version = job.lake.version(SILVER)
        origin = _origin(job, at, only, version)
        if force or not _is_scored(job.lake, origin):
            run_id = report.run_id
            scoring = _Scoring(job, run_id, at, version)
            job.lake.overwrite(
                SCORING, scoring.frame(in_scope(job.lake, only)), note=f"{origin} run={run_id}"
            )
            scored = _own(job.lake, run_id)
            _write(job.lake, scored.filter(f"{ERROR} IS NULL").drop(ERROR, "key"), job.spec, run_id)
            _write_unscored(job.lake, scored)
        _count(report, job.lake.read(SCORING))
    return report


def _origin(job: Job, at: datetime | None, only: str | None, version: int) -> str:
    """What predictions are made of: versions of rows, champions and calendar, and the spec's part."""
    lake, spec = job.lake, job.spec
    rules = spec.model_dump_json(include={"horizon", "fallback", "backtest", "columns"})
    digest = hashlib.sha256(f"{rules} at={at} only={only}".encode()).hexdigest()[:16]
    return f"silver={version} champions={lake.note(CHAMPIONS)} calendar={lake.note(CALENDAR)} rules={digest}"


def _is_scored(lake: Lake, origin: str) -> bool:
    """Whether the last scoring was made of the same, and ended well."""
    from pyspark.sql import functions as F

    told, _, run_id = (lake.note(SCORING) or "").rpartition(" run=")
    return (
        told == origin
        and not lake.read(RUNS).filter((F.col("run_id") == run_id) & (F.col("status") == "done")).isEmpty()
    )


@dataclass(frozen=True)
class _Scoring:
    """One scoring run: what goes in and what comes out. All rows are those of one `version` of silver."""

    job: Job
    run_id: str
    at: datetime | None
    version: int

    def frame(self, partitions: DataFrame) -> DataFrame:
        """One row per prediction, and one with `error` per partition that could not be scored."""
        from pyspark.sql import functions as F

        lake, spec = self.job.lake, self.job.spec
        schema = scored_schema(spec, lake.read(SILVER).schema)
        cutoff = F.col("end") if self.at is None else F.lit(self.at.isoformat(" ")).cast("timestamp")
        inputs = with_champions(self.job, partitions, cutoff)
        run = scorer(spec, self.run_id, self.version, schema)
        tasks = shuffle_partitions(self.job.spark)
        slots = tasks * max(1, math.ceil(partitions.count() / (tasks * A_CALL)))
        slot = F.pmod(F.hash("partition_id"), F.lit(slots)).alias("slot")
        spread = [
            frame.select(slot, "*").repartition(tasks, F.col("slot"))
            for frame in (inputs, self._rows(inputs))
        ]
        return cogrouped(spread[0], spread[1], "slot", run, schema)

    def _rows(self, inputs: DataFrame) -> DataFrame:
        """The rows that predictions need: what is known after the cutoff, a fallback's history, or tabular
        rows.
        """
        from pyspark.sql import functions as F

        lake, spec = self.job.lake, self.job.spec
        silver = lake.read(SILVER, self.version)
        ids = inputs.select("partition_id", "cutoff", "end", F.col("model_id").isNull().alias("_bare"))
        if spec.task != "forecast":
            return silver.join(F.broadcast(ids.select("partition_id")), "partition_id", "left_semi")
        placed, time = silver.join(F.broadcast(ids), "partition_id"), F.col(quote(str(spec.columns.time)))
        wanted = F.lit(False)
        if spec.fallback is not None:
            wanted = wanted | (F.col("_bare") & (time <= F.col("cutoff")))
        if spec.columns.known_future and self.at is not None:
            wanted = wanted | (time > F.col("cutoff"))
        rows = placed.filter(wanted).select(*(quote(name) for name in silver.columns))
        if spec.columns.known_future and lake.exists(CALENDAR):
            rows = rows.unionByName(_ahead(lake, spec, in_scope(lake, None), ids), allowMissingColumns=True)
        return rows


def with_champions(job: Job, partitions: DataFrame, cutoff: Column) -> DataFrame:
    """A row per partition: key, cutoff, and its champion's payload where it has one."""
    champions = read_index(job).select("partition_id", "model_id", "family", "sha256", "location")
    payloads = job.lake.read(FITS).filter("payload IS NOT NULL").select("partition_id", "sha256", "payload")
    champions = champions.join(
        payloads.dropDuplicates(["partition_id", "sha256"]), ["partition_id", "sha256"], "left"
    )
    base = partitions.select(
        "partition_id", "bucket", "key", "end", "problem", "problem_detail", cutoff.alias("cutoff")
    )
    return base.join(champions, "partition_id", "left")


def _ahead(lake: Lake, spec: Spec, partitions: DataFrame, ids: DataFrame) -> DataFrame:
    """The calendar's rows after each partition's last own row."""
    from pyspark.sql import functions as F

    known = by_partition(lake.read(CALENDAR), partitions, spec)
    after = F.greatest(F.col("end"), F.col("cutoff"))
    joined = known.join(F.broadcast(ids), "partition_id").filter(F.col(quote(str(spec.columns.time))) > after)
    return joined.select(*(quote(name) for name in known.columns))


def _own(lake: Lake, run_id: str) -> DataFrame:
    """What this run has scored. Raises ConcurrentWrite where another run has put its own in its place."""
    from pyspark.sql import functions as F

    rows = lake.read(SCORING)
    if not rows.filter(F.col("run_id") != run_id).isEmpty():
        raise ConcurrentWrite(
            "another scoring of this spec is under way and was quicker. Wait for it to end and run again"
        )
    return rows


def _write(lake: Lake, rows: DataFrame, spec: Spec, run_id: str) -> None:
    """Add the predictions, or replace those of the same partitions and cutoffs, in one commit, whoever else
    is writing.
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            _write_once(lake, rows, spec, run_id)
        except ConcurrentWrite:
            if not left:
                raise
        else:
            return


def _write_once(lake: Lake, rows: DataFrame, spec: Spec, run_id: str) -> None:
    from pyspark.sql import functions as F

    if not lake.exists(PREDICTIONS):
        lake.append(PREDICTIONS, rows, once=f"{run_id}-predictions")
        return
    step = [spec.columns.time] if spec.task == "forecast" and spec.columns.time else ["row"]
    keys, present = [*KEY, *step], lake.read(PREDICTIONS).schema
    gone = {
        field.name: F.lit(None).cast(field.dataType) for field in present if field.name not in rows.columns
    }
    rows = rows.withColumns(gone) if gone else rows  # a level that the spec has no more
    old = _matching(lake.read(PREDICTIONS), rows, KEY, "left_semi")
    if old.isEmpty():
        lake.merge(PREDICTIONS, rows, keys, only_new=True)
        return
    stale = _matching(old, rows, keys, "left_anti").withColumn("_gone", F.lit(True))
    source = rows.withColumn("_gone", F.lit(False)).unionByName(stale, allowMissingColumns=True)
    lake.merge(PREDICTIONS, source, keys, delete_where="_gone")


def _matching(rows: DataFrame, others: DataFrame, keys: Sequence[str], how: str) -> DataFrame:
    """`rows` joined with the keys of `others`; nulls are equal, for without times no row has a cutoff."""
    from pyspark.sql import functions as F

    named = {name: f"_key_{number}" for number, name in enumerate(keys)}
    theirs = others.select(*(F.col(quote(name)).alias(alias) for name, alias in named.items())).distinct()
    equal = [F.col(quote(name)).eqNullSafe(F.col(alias)) for name, alias in named.items()]
    return rows.join(theirs, equal, how)


def _write_unscored(lake: Lake, scored: DataFrame) -> None:
    failed = scored.filter(f"{ERROR} IS NOT NULL")
    lake.overwrite(
        UNSCORED, failed.select("partition_id", "key", "cutoff", f"{ERROR}", "run_id", "scored_at")
    )


def _count(report: StageReport, scored: DataFrame) -> None:
    from pyspark.sql import functions as F

    ok = F.col(ERROR).isNull()
    row = scored.agg(
        F.count_distinct("partition_id").alias("partitions"),
        F.count_distinct(F.when(ok, F.col("partition_id"))).alias("scored"),
        F.count_distinct(F.when(ok & F.col("fallback"), F.col("partition_id"))).alias("fallback"),
        F.count_distinct(F.when(~ok, F.col("partition_id"))).alias("unscored"),
        F.count(F.when(ok, 1)).alias("rows"),
    ).first()
    report.counts.update({name: int(value) for name, value in row.asDict().items()} if row else {})
    counts = report.counts
    report.note = (
        f"{counts['rows']:,} predictions for {counts['scored']} partitions, {counts['unscored']} unscored"
    )
