"""Load: one exact version of the predictions, and the small tables around them, into the warehouse, once.

The warehouse's own ledger says what it holds; the lake says what differs since. What of a load is the
warehouse's matter (transactions, checks, SQL) is in `manymodels_spark.warehouse`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from manymodels_spark.lake.queries import PREDICTION_KEY
from manymodels_spark.lake.tables import (
    ACTUALS,
    ALERTS,
    CHAMPIONS,
    FITS,
    METRICS,
    PARTITIONS,
    PREDICTIONS,
    QUARANTINE,
    RUNS,
    UNSCORED,
)
from manymodels_spark.observe import log_event
from manymodels_spark.spec.source import resolve
from manymodels_spark.stages.load.export import Exporter
from manymodels_spark.stages.load.facts import put_views, refresh_facts, refused_views, require_views
from manymodels_spark.stages.runs.job import Job, StageReport
from manymodels_spark.warehouse import open_warehouse

if TYPE_CHECKING:
    from manymodels_spark.warehouse.base import Warehouse

SIDE_TABLES = (PARTITIONS, CHAMPIONS, FITS, QUARANTINE, UNSCORED, RUNS, ACTUALS, METRICS, ALERTS)
_LEFT_OUT = ("payload", "folds")


def load(job: Job, *, full: bool = False, tables: Sequence[str] = SIDE_TABLES) -> StageReport:
    """Bring the warehouse to the newest version of `predictions`: whole or not at all, the same version once.

    `tables` are those that go with them, as far as they exist. Counts: rows (of predictions that were
    loaded), version, tables, and views_refused where there are any: their tables are loaded all the same, and
    the note names one view and why. With `full` everything is loaded again, whatever the ledger says. Raises
    WarehouseError; the warehouse's table is then as it was.
    """
    with job.stage("load") as report:
        job.lake.read(PREDICTIONS)
        version = job.lake.version(PREDICTIONS)
        with open_warehouse(job.spec.warehouse, job.spec.name) as warehouse:
            _Loading(job, warehouse, report, full).run(version, tables)
    return report


class _Loading:
    """One load under way."""

    def __init__(self, job: Job, warehouse: Warehouse, report: StageReport, full: bool) -> None:
        self.job, self.warehouse, self.report, self.full = job, warehouse, report, full
        staging = getattr(job.spec.warehouse, "staging", None)
        self.exporter = Exporter(job.lake, resolve(staging) if staging else None, warehouse.reads == "local")

    def run(self, version: int, tables: Sequence[str]) -> None:
        """Load the predictions, then the side tables that exist."""
        require_views(self.warehouse, self.job.spec)
        try:
            loaded = self._predictions(version)
            if ACTUALS in tables:
                refresh_facts(self.job)
            more = sum(self._side(table) for table in tables if self.exporter.exists(table))
        finally:
            self.exporter.clear()
        refused = put_views(self.warehouse, self.job.spec)
        self.report.counts.update(version=version, tables=more)
        verb = "->" if loaded else "already loaded in"
        self.report.note = (
            f"predictions version {version} {verb} {self.warehouse.name}{refused_views(refused)}"
        )
        for view, error in refused.items():
            log_event("view_refused", logging.WARNING, view=view, error=str(error))

    def _predictions(self, version: int) -> bool:
        """Load what differs between the last loaded version and this one; the whole version where that is
        unknown.
        """
        table = self.job.spec.warehouse.table or self._name(PREDICTIONS)
        self.report.counts["rows"] = 0
        if self.warehouse.reads == "delta":
            return self.warehouse.load(table, self.exporter.in_lake(PREDICTIONS, version), self.report.run_id)
        last = None if self.full else self.warehouse.last(table)
        known = last is not None and last.source == self.exporter.identity(PREDICTIONS)
        if last is not None and known and last.version >= version:
            return False
        changes = (
            self.exporter.changed(PREDICTIONS, version, last.version, PREDICTION_KEY)
            if last is not None and known
            else None
        )
        export = changes or self.exporter.whole(PREDICTIONS, version)
        loaded = self.warehouse.load(table, export, self.report.run_id, again=self.full)
        self.report.counts["rows"] = export.rows if loaded else 0
        return loaded

    def _side(self, table: str) -> bool:
        """Load a small table whole; False where its version is in the warehouse already."""
        name, version = self._name(table), self.job.lake.version(table)
        if self.warehouse.reads == "delta":
            return self.warehouse.load(name, self.exporter.in_lake(table, version), self.report.run_id)
        last = None if self.full else self.warehouse.last(name)
        if last is not None and (last.source, last.version) == (self.exporter.identity(table), version):
            return False
        export = self.exporter.whole(table, version, _LEFT_OUT)
        return self.warehouse.load(name, export, self.report.run_id, again=self.full)

    def _name(self, table: str) -> str:
        return f"{self.job.spec.name}_{table}"
