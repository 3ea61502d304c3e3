"""How a stage goes, for those who look on: the run's own bar, and table `progress` for any other process."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock

from manymodels_spark.lake.tables import PROGRESS
from manymodels_spark.stages.runs.job import Job

PROGRESS_SCHEMA = (
    "run_id string, stage string, done bigint, failed bigint, skipped bigint, total bigint, rate double, "
    "left_seconds double, at timestamp"
)
EVERY_SECONDS = 10.0


class Watch:
    """Counts partitions as they are done; the table gets a row at the start, every ten seconds at most, and
    at the end.

    `rate` is partitions a second since the start, `left_seconds` what is left at that rate (null before the
    first).
    """

    def __init__(
        self,
        job: Job,
        stage: str,
        run_id: str,
        total: int,
        skipped: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job, self._stage, self._run_id, self._total, self._skipped = job, stage, run_id, total, skipped
        self._clock, self._lock = clock, Lock()
        self._done = self._failed = self._fitted = 0
        self._began = clock()
        self._written = self._began
        job.progress.start(stage, total)

    def begin(self) -> None:
        """Write the table's first row, which says that nothing is done yet."""
        self._write(self._began)

    def add(self, done: int, failed: int = 0) -> None:
        """`done` more partitions, of which `failed` have no model."""
        with self._lock:
            self._done, self._failed = self._done + done, self._failed + failed
            self._show()
            now = self._clock()
            due = now - self._written >= EVERY_SECONDS or self._done >= self._total
            if due:
                self._written = now
        if due:
            self._write(now)

    def show_fitted(self, fitted: int) -> None:
        """Move the run's own bar to the partitions that are fitted, though not all of them are logged yet."""
        with self._lock:
            if fitted > max(self._done, self._fitted):
                self._fitted = fitted
                self._show()

    def _show(self) -> None:
        done = min(max(self._done, self._fitted), self._total)
        self._job.progress.update(done, failed=self._failed, skipped=self._skipped)

    def _write(self, now: float) -> None:
        seconds, done = now - self._began, self._done
        rate = done / seconds if seconds > 0 else 0.0
        left = (self._total - done) / rate if rate > 0 else None
        row = (
            self._run_id,
            self._stage,
            done,
            self._failed,
            self._skipped,
            self._total,
            rate,
            left,
            datetime.now(UTC),
        )
        self._job.lake.append(PROGRESS, self._job.spark.createDataFrame([row], PROGRESS_SCHEMA))
