"""What every stage is given and what it gives back: the job (spec, session, lake, progress) and its
report.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from pyspark.sql import SparkSession

from manymodels_spark import observe
from manymodels_spark.display import html_table
from manymodels_spark.lake.tables import RUNS, Lake
from manymodels_spark.spark.session import require_utc, sign_in
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.runs.owner import OWNER_TYPE
from manymodels_spark.stages.runs.partition_events import log_partitions

RUNS_SCHEMA = (
    "run_id string, stage string, status string, started_at timestamp, ended_at timestamp, seconds double, "
    "calls bigint, counts map<string,bigint>, note string"
)
# What a claim or a heartbeat says beyond that (see `lock`); null in a stage's result.
LOCK_COLUMNS = {"signature": "string", "claim": "string", "owner": OWNER_TYPE}
LOCK_SCHEMA = ", ".join([RUNS_SCHEMA, *(f"{name} {kind}" for name, kind in LOCK_COLUMNS.items())])

FIRST_READER = {"enableDeletionVectors": "false", "minReaderVersion": "1", "minWriterVersion": "2"}


class Progress(Protocol):
    """Receives how a stage goes: a bar in a terminal, quiet lines in a log, or nobody."""

    def start(self, stage: str, total: int | None) -> None:
        """A stage begins; `total` partitions are to be done, where that is known."""

    def update(self, done: int, **figures: int) -> None:
        """`done` partitions so far; `figures` such as failed=3, skipped=10."""

    def finish(self, report: StageReport) -> None:
        """The stage ended with this report."""


class Silent:
    """A Progress that says nothing."""

    def start(self, stage: str, total: int | None) -> None:
        """Say nothing."""

    def update(self, done: int, **figures: int) -> None:
        """Say nothing."""

    def finish(self, report: StageReport) -> None:
        """Say nothing."""


@dataclass
class StageReport:
    """What a stage did: counts by name (`rows`, `partitions`, `fitted`, ...), tracking calls, seconds, one
    line; and `lines` with a line for every partition.
    """

    stage: str
    run_id: str
    counts: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    seconds: float = 0.0
    note: str = ""
    lines: list[str] = field(default_factory=list)

    def _repr_html_(self) -> str:
        facts = [*self.counts.items(), ("MLflow calls", self.calls), ("seconds", f"{self.seconds:.1f}")]
        return html_table(f"{self.stage} {self.run_id}", facts)


@dataclass
class Job:
    """One spec at work on one session."""

    spec: Spec
    spark: SparkSession
    lake: Lake
    progress: Progress = field(default_factory=Silent)

    @classmethod
    def of(cls, spec: Spec, spark: SparkSession, progress: Progress | None = None) -> Job:
        """A job whose tables lie where the spec's `lake` says. Sets the session's time zone to UTC.

        Raises ManyModelsError where the platform does not let that be set.
        """
        require_utc(spark)
        sign_in(spark, spec)
        if getattr(spec.warehouse, "serverless", False):
            _write_for_first_readers(spark)
        return cls(spec, spark, Lake.of(spark, spec.lake, spec.name), progress or Silent())

    @contextmanager
    def stage(self, name: str, total: int | None = None, run_id: str | None = None) -> Iterator[StageReport]:
        """Time a stage, report its progress, and record it in the `runs` table, also when it fails."""
        report = StageReport(name, run_id or new_run_id())
        started, begin, status = datetime.now(UTC), time.perf_counter(), "failed"
        self.progress.start(name, total)
        with observe.stage(self.spec.name, name, report.run_id, report.counts):
            try:
                yield report
                status = "done"
            finally:
                report.seconds = time.perf_counter() - begin
                self._record(report, status, started)
            log_partitions(self.lake, name, report.run_id)
        self.progress.finish(report)

    def _record(self, report: StageReport, status: str, started: datetime) -> None:
        row = (
            report.run_id,
            report.stage,
            status,
            started,
            datetime.now(UTC),
            report.seconds,
            report.calls,
            {name: int(value) for name, value in report.counts.items()},
            report.note,
            *(None for _ in LOCK_COLUMNS),
        )
        self.lake.append(RUNS, self.spark.createDataFrame([row], LOCK_SCHEMA))


def _write_for_first_readers(spark: SparkSession) -> None:
    """New tables as Delta's first reader version reads them (writer version 2), which is all that Synapse's
    serverless endpoint knows; some platforms would switch deletion vectors on.
    """
    for name, value in FIRST_READER.items():
        spark.conf.set(f"spark.databricks.delta.properties.defaults.{name}", value)


def new_run_id() -> str:
    """A run's name: sorts by time, unique without coordination."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
