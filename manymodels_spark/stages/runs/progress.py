"""How a run goes, for a person: a bar per stage in a terminal, quiet lines where there is none."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from manymodels_spark.observe import log_event
from manymodels_spark.stages.runs.job import StageReport

QUIET_SECONDS = 15.0


class Bars:
    """One bar per stage: done of total, rate, time left, failed; the stage's note and seconds when it
    ends.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._total: int | None = None
        self._began = 0.0

    def start(self, stage: str, total: int | None) -> None:
        """Show an empty bar; called again with a total once that is known."""
        if self._progress is None:
            self._began = time.monotonic()
            columns = (TextColumn("{task.description:<9}"), BarColumn(20), TextColumn("{task.fields[text]}"))
            self._progress = Progress(*columns, console=self._console, transient=True)
            self._task = self._progress.add_task(stage, total=total, text="")
            self._progress.start()
        self._total = total
        if self._task is not None:
            self._progress.update(self._task, total=total)

    def update(self, done: int, **figures: int) -> None:
        """Move the bar."""
        if self._progress is not None and self._task is not None:
            text = progress_text(done, self._total, time.monotonic() - self._began, figures)
            self._progress.update(self._task, completed=done, text=text)

    def finish(self, report: StageReport) -> None:
        """Replace the bar by the stage's line."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        self._console.print(
            f"{report.stage:<9} [green]{'━' * 20}[/] {report.note:<58} {report.seconds:6.1f} s",
            highlight=False,
        )


class Lines:
    """The same in plain lines, one a stage and one now and then on the way, for logs of jobs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage, self._total = "", None
        self._began = self._said = 0.0

    def start(self, stage: str, total: int | None) -> None:
        """Remember what is being done."""
        if stage != self._stage:
            self._began = self._said = time.monotonic()
        self._stage, self._total = stage, total  # type: ignore[assignment]

    def update(self, done: int, **figures: int) -> None:
        """A line, at most one every 15 seconds."""
        now = time.monotonic()
        if now - self._said >= QUIET_SECONDS:
            self._said = now
            self._console.print(
                f"{self._stage:<9} {progress_text(done, self._total, now - self._began, figures)}",
                highlight=False,
            )

    def finish(self, report: StageReport) -> None:
        """The stage's line."""
        self._stage = ""
        self._console.print(f"{report.stage:<9} {report.note:<58} {report.seconds:6.1f} s", highlight=False)


class Events:
    """The same as events for machines, at most one every 15 seconds; starts and ends are events of the stage
    itself.
    """

    def __init__(self) -> None:
        self._total: int | None = None
        self._said = time.monotonic()

    def start(self, stage: str, total: int | None) -> None:
        """Remember how many there are to do."""
        self._total = total

    def update(self, done: int, **figures: int) -> None:
        """An event, now and then."""
        now = time.monotonic()
        if now - self._said >= QUIET_SECONDS:
            self._said = now
            log_event("progress", done=done, total=self._total, **figures)

    def finish(self, report: StageReport) -> None:
        """Nothing: the stage's end is an event already."""


def progress_text(done: int, total: int | None, seconds: float, figures: dict[str, int]) -> str:
    """`120/200  18.0/s  left 0:04  failed 2`."""
    rate = done / seconds if seconds > 0 else 0.0
    parts = [f"{done}/{total}" if total else f"{done}", f"{rate:.1f}/s"]
    if total and rate:
        left = int((total - done) / rate)
        parts.append(f"left {left // 60}:{left % 60:02d}")
    parts += [f"{name} {value}" for name, value in figures.items() if value]
    return "  ".join(parts)
