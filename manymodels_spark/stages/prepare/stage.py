"""Prepare: one clean set of rows per partition, and a record of what was found and done on the way.

Table `silver` has the rows of every partition that can be fitted, `partitions` a row for each one that came
in (with its problem, where it has one, and whether it is inactive), `quality` a row per partition and check.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from manymodels_spark.errors import SourceError
from manymodels_spark.lake.queries import prepared_partitions
from manymodels_spark.lake.tables import BRONZE, CALENDAR, PARTITIONS, QUALITY, SILVER, Lake
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.prepare.calendar import by_partition
from manymodels_spark.stages.prepare.casting import carried_columns, cast_rows, repaired
from manymodels_spark.stages.prepare.census import Census, hashed
from manymodels_spark.stages.prepare.closed import ClosedSteps
from manymodels_spark.stages.prepare.grid import (
    ID,
    UNTIL,
    fill_gaps,
    merge_duplicates,
    missing_steps,
    shortened,
)
from manymodels_spark.stages.prepare.open_steps import wrongly_inactive
from manymodels_spark.stages.prepare.quality import outliers, quality, revised
from manymodels_spark.stages.runs.job import Job, StageReport

_SHAPING = {"task", "partition_by", "columns", "prepare"}
# Raised where this code makes other rows of the same bronze: tables of another make are made again.
_MAKE = 4


def prepare(job: Job) -> StageReport:
    """Bring `silver`, `partitions` and `quality` up to date with `bronze`; nothing is done where nothing
    changed.

    Counts: partitions, inactive, broken, rows, filled, copies. Raises SourceError where a column's type
    cannot be what the spec says; a fault in a partition's rows sets that partition aside and no other.
    """
    lake, spec = job.lake, job.spec
    with job.stage("prepare") as report:
        bronze = lake.version(BRONZE)
        origin = _origin(lake, spec, bronze)
        if origin == lake.note(PARTITIONS):
            known = prepared_partitions(lake)
            report.counts.update(partitions=known.count(), inactive=known.filter("inactive").count())
            report.note = f"{report.counts['partitions']:,} partitions, nothing new"
            return report
        # One version: an ingest may commit between two looks at it.
        preparing = Preparing.of(lake, spec, lake.read(BRONZE, bronze))
        preparing.write(origin)
        _count(report, lake, preparing.census)
    return report


def _origin(lake: Lake, spec: Spec, bronze: int) -> str:
    """What the prepared rows are made of: versions of bronze and calendar, the spec's rules, and this
    code's.
    """
    rules = json.dumps(spec.model_dump(mode="json", include=_SHAPING), sort_keys=True)
    buckets = spec.limits.partitions_per_wave
    digest = hashlib.sha256(f"{_MAKE} {rules} {buckets}".encode()).hexdigest()[:16]
    calendar = lake.note(CALENDAR) if spec.prepare.calendar else None
    return f"bronze={bronze} calendar={calendar} rules={digest}"


@dataclass(frozen=True)
class Preparing:
    """One preparation on its way: `rows` are typed, `clean` ones also corrected and merged, and have their
    partition's id; `sound` are the partitions that can be fitted.
    """

    lake: Lake
    spec: Spec
    rows: DataFrame
    census: Census
    sound: DataFrame
    clean: DataFrame
    calendar: DataFrame | None
    closed: ClosedSteps | None

    @classmethod
    def of(cls, lake: Lake, spec: Spec, bronze: DataFrame) -> Preparing:
        """The preparation of these rows, with those partitions active that were only closed.

        Raises SourceError where there is no row, or a column's type cannot be what the spec says.
        """
        rows = cast_rows(bronze, spec)
        census = Census.of(rows, spec)
        if not census.rows:
            raise SourceError(
                "table bronze is empty: run `manymodels ingest SPEC` with a source that has rows"
            )
        found = cls._as_counted(lake, spec, rows, census)
        closed = wrongly_inactive(census, found.closed, spec) if found.closed else set()
        return cls._as_counted(lake, spec, rows, census.revived(closed)) if closed else found

    @classmethod
    def _as_counted(cls, lake: Lake, spec: Spec, rows: DataFrame, census: Census) -> Preparing:
        sound = census.table.filter("problem IS NULL")
        repeats = any(entry["copies"] for entry in census.rows)
        repeating = sound.filter("copies > 0") if repeats else None
        clean = merge_duplicates(repaired(_placed(rows, sound, spec), spec), spec, repeating)
        known = None if spec.prepare.calendar is None else by_partition(lake.read(CALENDAR), sound, spec)
        closed = ClosedSteps.of(clean, sound, spec, known)
        return cls(lake, spec, rows, census, sound, clean, known, closed)

    def silver(self) -> DataFrame:
        """Table `silver`: the rows of sound partitions, with their gaps filled as the spec says."""
        return _silver(self._regular, self.sound, self.spec)

    def quality(self, silver: DataFrame) -> DataFrame:
        """Table `quality`: a row per partition and check, where the rows came out as `silver`."""
        found = _with_silver(self.census.table, silver, self.spec)
        return quality(self._checked(found, silver), self.spec)

    def partitions(self, silver: DataFrame) -> DataFrame:
        """Table `partitions`: a row for each one that came in, where the rows came out as `silver`."""
        return _partitions(_with_silver(self.census.table, silver, self.spec), self.spec)

    def write(self, origin: str) -> None:
        """`silver`, `quality`, then `partitions`, whose note says that all of it is done."""
        lake = self.lake
        lake.overwrite(SILVER, self.silver(), by=["bucket"])
        silver = lake.read(SILVER)
        lake.overwrite(QUALITY, self.quality(silver))
        lake.overwrite(PARTITIONS, self.partitions(silver), note=origin)

    @cached_property
    def _regular(self) -> DataFrame:
        return fill_gaps(self.clean, self.spec, self.calendar, self.closed)

    def _checked(self, found: DataFrame, silver: DataFrame) -> DataFrame:
        """The census with what `quality` counts that is not in it: outliers, uncut, missing, revised."""
        spec = self.spec
        checked = found.join(outliers(_placed(self.rows, self.sound, spec), self.sound, spec), ID, "left")
        checked = checked.join(_uncut(self._regular, spec), ID, "left")
        if spec.task == "forecast" and spec.prepare.gaps == "leave":
            checked = checked.join(missing_steps(self.clean, spec, self.closed), ID, "left")
        if self.calendar is not None and spec.columns.known_future:
            checked = checked.join(revised(silver, self.calendar, spec), ID, "left")
        return checked


def _silver(regular: DataFrame, sound: DataFrame, spec: Spec) -> DataFrame:
    """The regular rows, as many as `prepare.history` keeps, with their bucket and partition columns."""
    keys = F.broadcast(sound.select(ID, "bucket", *(quote(name) for name in spec.partition_by)))
    time = [spec.columns.time] if spec.columns.time else []
    order = [ID, "bucket", *spec.partition_by, *time, spec.columns.target]
    others = [name for name in [*spec.columns.inputs, *carried_columns(spec)] if name not in order]
    whole = shortened(regular, spec).join(keys, ID)
    return whole.select(*(quote(name) for name in [*order, *others])).repartition("bucket")


def _placed(rows: DataFrame, sound: DataFrame, spec: Spec) -> DataFrame:
    """The rows of sound partitions, with the partition's id in place of its columns, and until when it is
    filled.
    """
    named = {name: f"_key_{name}" for name in spec.partition_by}
    keys = sound.select(
        ID,
        F.col("filled_until").alias(UNTIL),
        *(F.col(quote(name)).alias(alias) for name, alias in named.items()),
    )
    on = [F.col(quote(name)).eqNullSafe(F.col(quote(alias))) for name, alias in named.items()]
    return rows.join(F.broadcast(keys), on).drop(*spec.partition_by, *named.values())


def _uncut(regular: DataFrame, spec: Spec) -> DataFrame:
    """partition_id and the number of its rows before `prepare.history` cut them; empty where the spec cuts
    nothing.
    """
    if spec.prepare.history is None:
        return regular.select(ID, F.lit(0).cast("bigint").alias("uncut")).limit(0)
    return regular.groupBy(ID).agg(F.count("*").alias("uncut"))


def _with_silver(census: DataFrame, silver: DataFrame, spec: Spec) -> DataFrame:
    """The census with `_rows`, `start`, `_end` and `_hash` of each partition's rows of silver."""
    time = F.col(quote(spec.columns.time)) if spec.columns.time else F.lit(None).cast("timestamp")
    facts = [F.count("*").alias("_rows"), F.min(time).alias("start"), F.max(time).alias("_end")]
    return census.join(silver.groupBy(ID).agg(*facts, hashed(spec).alias("_hash")), ID, "left")


def _partitions(found: DataFrame, spec: Spec) -> DataFrame:
    """Table `partitions`. `end` is the time that forecasts follow: the last row's, or that of
    `prepare.until` where the steps up to it are without rows, being left so or closed.
    """
    return found.select(
        ID,
        "bucket",
        "key",
        *(quote(name) for name in spec.partition_by),
        F.coalesce("_rows", "rows").alias("rows"),
        "start",
        _end(spec).alias("end"),
        F.coalesce("_hash", "raw_hash").alias("data_hash"),
        "problem",
        "problem_detail",
        "inactive",
    )


def _end(spec: Spec) -> Column:
    if spec.prepare.closed or (spec.prepare.gaps == "leave" and spec.prepare.until is not None):
        return F.greatest(F.col("_end"), F.col("filled_until").cast("timestamp"))
    return F.col("_end")


def _count(report: StageReport, lake: Lake, census: Census) -> None:
    entries = census.rows
    gaps = lake.read(QUALITY).filter("check = 'gaps' AND action <> 'left out'")
    found = gaps.agg(F.sum("rows").alias("n")).first()
    counts = {
        "partitions": len(entries),
        "inactive": sum(entry["inactive"] for entry in entries),
        "broken": sum(entry["problem"] is not None for entry in entries),
        "rows": sum(entry["rows"] for entry in entries),
        "filled": int(found["n"] or 0) if found else 0,
        "copies": sum(entry["copies"] for entry in entries),
    }
    report.counts.update(counts)
    report.note = (
        f"{counts['partitions']:,} partitions, {counts['filled']:,} gaps filled, "
        f"{counts['copies']:,} duplicates, {counts['broken']:,} broken"
    )
    if counts["inactive"]:
        report.note += f", {counts['inactive']:,} inactive"
