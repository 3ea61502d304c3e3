"""Keep the lake quick to read: the small files of many commits put together, and old versions' files removed
on demand.

Only tables that grow by small commits are put together. `bronze`, `silver` and the index say by their
versions what is new, and are written whole or rarely: putting their files together would make the next run do
its work again. Old versions are removed from all tables: `silver` leaves one behind by every run that has
news.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.lake.tables import (
    FITS,
    MODELS,
    MONITORING,
    PREDICTIONS,
    PROGRESS,
    PROMOTIONS,
    RUNS,
    STREAMED,
    WRITERS,
    write_lock,
)
from manymodels_spark.spark.names import quote
from manymodels_spark.stages.maintain.payloads import remove_old_payloads
from manymodels_spark.stages.runs.job import Job, StageReport

# Table to the columns that its readers look for.
GROWING: dict[str, tuple[str, ...]] = {
    PREDICTIONS: ("cutoff", "partition_id"),
    STREAMED: ("partition_id",),
    FITS: ("partition_id",),
    MODELS: (),
    PROMOTIONS: (),
    PROGRESS: (),
    RUNS: (),
    MONITORING: (),
}
PAYLOADS_KEPT = timedelta(days=30)
_FILE_SIZE = "spark.databricks.delta.optimize.maxFileSize"
# A vacuum writes a commit of its own unless this is off, and keeps to the table's own age of files.
_QUIETLY = {
    "spark.databricks.delta.vacuum.logging.enabled": "false",
    "spark.databricks.delta.vacuum.retentionWindowIgnore.enabled": "false",
}


@dataclass(frozen=True)
class Compacted:
    """What became of a table's files."""

    table: str
    before: int
    after: int


def maintain(
    job: Job,
    *,
    file_megabytes: int = 128,
    vacuum: timedelta | None = None,
    payloads: timedelta | None = PAYLOADS_KEPT,
) -> StageReport:
    """Put together the files of the growing tables, ordered by what readers look for, and remove from `fits`
    what MLflow has, too.

    Args:
        job: the spec, session and lake.
        file_megabytes: the size of the files that are made.
        vacuum: the files of versions older than this go, in every table: a load can then bring forward only
            from younger ones (it loads everything otherwise), and what older models were trained on is gone.
        payloads: payloads of models older than this go from `fits` where MLflow has the model; those of
            champions and of each partition's newest model stay. None keeps all.

    Returns:
        A report with the counts tables, removed (files put together), added, and payloads (removed).

    Raises:
        ManyModelsError: where `vacuum` is below Delta's safe seven days.
        ConcurrentWrite: where a table was changed meanwhile.
        TrackingError: where old payloads are there and MLflow cannot be asked.

    """
    if vacuum is not None and vacuum < timedelta(days=7):
        raise ManyModelsError(
            f"--vacuum {vacuum}: a reader or writer at work may need files of the last 7 days. "
            "Expected 7d or more"
        )
    with job.stage("maintain") as report, _set(job.spark, {_FILE_SIZE: str(file_megabytes * 2**20)}):
        gone, report.calls = (0, 0) if payloads is None else remove_old_payloads(job, payloads)
        done = [_compact(job, table) for table in GROWING if job.lake.exists(table)]
        if vacuum is not None:
            _vacuum(job, vacuum)
        report.counts.update(
            tables=len(done),
            removed=sum(table.before for table in done),
            added=sum(table.after for table in done),
            payloads=gone,
        )
        found = [f"{table.table} {table.before} -> {table.after} files" for table in done if table.before]
        found += [f"{gone:,} payloads removed that MLflow has"] if gone else []
        report.note = ", ".join(found) or "nothing to put together"
    return report


def _compact(job: Job, table: str) -> Compacted:
    order = ", ".join(quote(name) for name in GROWING[table])
    if order and _files(job, table) < 2:
        return Compacted(table, 0, 0)  # ordering would write a single file again, for nothing
    with write_lock(table):
        row = (
            job.spark.sql(f"OPTIMIZE {job.lake.ref(table)}" + (f" ZORDER BY ({order})" if order else ""))
            .select("metrics.*")
            .first()
        )
    return (
        Compacted(table, int(row["numFilesRemoved"]), int(row["numFilesAdded"]))
        if row
        else Compacted(table, 0, 0)
    )


def _files(job: Job, table: str) -> int:
    row = job.spark.sql(f"DESCRIBE DETAIL {job.lake.ref(table)}").select("numFiles").first()
    return int(row["numFiles"]) if row else 0


def _vacuum(job: Job, age: timedelta) -> None:
    """Remove old versions' files; from all tables only where that is no version of its own, by which others
    see news.
    """
    with _set(job.spark, _QUIETLY) as quietly:
        for table in filter(job.lake.exists, WRITERS if quietly else GROWING):
            job.spark.sql(f"VACUUM {job.lake.ref(table)} RETAIN {age // timedelta(hours=1)} HOURS")


@contextmanager
def _set(spark: SparkSession, settings: Mapping[str, str]) -> Iterator[bool]:
    """The session's settings, for a while; whether the platform takes them. One that forbids it keeps its
    own.
    """
    before = dict[str, str | None]()
    with suppress(PySparkException):
        for name, value in settings.items():
            own = spark.conf.get(name, None)
            spark.conf.set(name, value)
            before[name] = own
    try:
        yield len(before) == len(settings)
    finally:
        for name, own in before.items():
            spark.conf.unset(name) if own is None else spark.conf.set(name, own)
