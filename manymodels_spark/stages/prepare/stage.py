"""Prepare: one clean set of rows per partition, and a record of what was found and done on the way.

Table `silver` has the rows of every partition that can be fitted, `partitions` a row for each one that came
in (with its problem, where it has one), `quality` a row per partition and check.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from manymodels_spark.errors import SourceError
from manymodels_spark.lake.tables import BRONZE, CALENDAR, PARTITIONS, QUALITY, SILVER, Lake
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.prepare.calendar import by_partition
from manymodels_spark.stages.prepare.casting import cast_rows, repaired
from manymodels_spark.stages.prepare.census import Census, hashed
from manymodels_spark.stages.prepare.grid import ID, fill_gaps, merge_duplicates, shortened
from manymodels_spark.stages.prepare.quality import quality
from manymodels_spark.stages.runs.job import Job, StageReport

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_SHAPING = {"task", "partition_by", "columns", "prepare"}
# Raised where this code makes other rows of the same bronze: tables of another make are made again.
_MAKE = 2


def prepare(job: Job) -> StageReport:
    """Bring `silver`, `partitions` and `quality` up to date with `bronze`; nothing is done where nothing
    changed.

    Counts: partitions, broken, rows, filled, copies. Raises SourceError where a column's type cannot be what
    the spec says; a fault in a partition's rows sets that partition aside and no other.
    """
    lake, spec = job.lake, job.spec
    with job.stage("prepare") as report:
        bronze = lake.version(BRONZE)
        origin = _origin(lake, spec, bronze)
        if origin == lake.note(PARTITIONS):
            partitions = lake.read(PARTITIONS).count()
            report.counts.update(partitions=partitions)
            report.note = f"{partitions:,} partitions, nothing new"
            return report
        rows = cast_rows(
            lake.read(BRONZE, bronze), spec
        )  # one version: an ingest may commit between two looks at it
        census = Census.of(rows, spec)
        if not census.rows:
            raise SourceError(
                "table bronze is empty: run `manymodels ingest SPEC` with a source that has rows"
            )
        sound = census.table.filter("problem IS NULL")
        regular = _regular(lake, spec, rows, sound, any(person["copies"] for person in census.rows))
        lake.overwrite(SILVER, _silver(regular, sound, spec), by=["bucket"])
        touched = census.table.join(_outliers(rows, sound, spec), ID, "left").join(
            _uncut(regular, spec), ID, "left"
        )
        _write_results(lake, spec, touched, origin)
        _count(report, lake, census)
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


def _regular(lake: Lake, spec: Spec, rows: DataFrame, sound: DataFrame, repeats: bool) -> DataFrame:
    """The rows of all sound partitions: corrected, merged where times `repeats`, completed, under their
    id.
    """
    clean = repaired(_placed(rows, sound, spec), spec)
    repeating = sound.filter("copies > 0") if repeats else None
    return fill_gaps(merge_duplicates(clean, spec, repeating), spec, _calendar(lake, spec, sound))


def _silver(regular: DataFrame, sound: DataFrame, spec: Spec) -> DataFrame:
    """The regular rows, as many as the spec wants, with their bucket and partition columns."""
    from pyspark.sql import functions as F

    keys = F.broadcast(sound.select(ID, "bucket", *(quote(name) for name in spec.partition_by)))
    order = [
        ID,
        "bucket",
        *spec.partition_by,
        *([spec.columns.time] if spec.columns.time else []),
        spec.columns.target,
    ]
    inputs = [name for name in spec.columns.inputs if name not in order]
    whole = shortened(regular, spec).join(keys, ID)
    return whole.select(*(quote(name) for name in [*order, *inputs])).repartition("bucket")


def _placed(rows: DataFrame, sound: DataFrame, spec: Spec) -> DataFrame:
    """The rows of sound partitions, with the partition's id and fences in place of its columns."""
    from pyspark.sql import functions as F

    named = sound.select(
        ID,
        F.col("low").alias("_low"),
        F.col("high").alias("_high"),
        *(F.col(quote(name)).alias(f"_key_{name}") for name in spec.partition_by),
    )
    on = [F.col(quote(name)).eqNullSafe(F.col(quote(f"_key_{name}"))) for name in spec.partition_by]
    return rows.join(F.broadcast(named), on).drop(
        *spec.partition_by, *(f"_key_{name}" for name in spec.partition_by)
    )


def _outliers(rows: DataFrame, sound: DataFrame, spec: Spec) -> DataFrame:
    """partition_id and the number of targets beyond its fences; empty where the spec has no rule for them."""
    from pyspark.sql import functions as F

    placed, value = _placed(rows, sound, spec), F.col(quote(spec.columns.target))
    if spec.prepare.outliers is None:
        return sound.select(ID, F.lit(0).alias("outliers")).limit(0)
    return (
        placed.filter((value < F.col("_low")) | (value > F.col("_high")))
        .groupBy(ID)
        .agg(F.count("*").alias("outliers"))
    )


def _uncut(regular: DataFrame, spec: Spec) -> DataFrame:
    """partition_id and the number of its rows before `prepare.history` cut them; empty where the spec cuts
    nothing.
    """
    from pyspark.sql import functions as F

    if spec.prepare.history is None:
        return regular.select(ID, F.lit(0).cast("bigint").alias("uncut")).limit(0)
    return regular.groupBy(ID).agg(F.count("*").alias("uncut"))


def _calendar(lake: Lake, spec: Spec, sound: DataFrame) -> DataFrame | None:
    """The calendar's rows by partition id, where the spec has a calendar."""
    if spec.prepare.calendar is None:
        return None
    return by_partition(lake.read(CALENDAR), sound, spec)


def _write_results(lake: Lake, spec: Spec, touched: DataFrame, origin: str) -> None:
    """`quality`, then `partitions`, whose note says that all of it is done. `touched` is the census with what
    was done.
    """
    from pyspark.sql import functions as F

    time = F.col(quote(spec.columns.time)) if spec.columns.time else F.lit(None).cast("timestamp")
    facts = [
        F.count("*").alias("_rows"),
        F.min(time).alias("start"),
        F.max(time).alias("end"),
        hashed(spec).alias("_hash"),
    ]
    found = lake.read(SILVER).groupBy(ID).agg(*facts)
    joined = touched.join(found, ID, "left")
    lake.overwrite(QUALITY, quality(joined, spec))
    lake.overwrite(
        PARTITIONS,
        joined.select(
            ID,
            "bucket",
            "key",
            *(quote(name) for name in spec.partition_by),
            F.coalesce("_rows", "rows").alias("rows"),
            "start",
            "end",
            F.coalesce("_hash", "raw_hash").alias("data_hash"),
            "problem",
            "problem_detail",
        ),
        note=origin,
    )


def _count(report: StageReport, lake: Lake, census: Census) -> None:
    from pyspark.sql import functions as F

    found = lake.read(QUALITY).filter("check = 'gaps'").agg(F.sum("rows").alias("n")).first()
    filled = int(found["n"] or 0) if found else 0
    copies = sum(person["copies"] for person in census.rows)
    broken = sum(person["problem"] is not None for person in census.rows)
    rows = sum(person["rows"] for person in census.rows)
    report.counts.update(partitions=len(census.rows), broken=broken, rows=rows, filled=filled, copies=copies)
    report.note = (
        f"{len(census.rows):,} partitions, {filled:,} gaps filled, {copies:,} duplicates, {broken:,} broken"
    )
