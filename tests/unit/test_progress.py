"""What a person sees of a run on its way: figures in a bar or in quiet lines."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from manymodels_spark.stages.runs import progress
from manymodels_spark.stages.runs.job import StageReport
from manymodels_spark.stages.runs.progress import Bars, Lines, progress_text


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until it is set."""
    moment = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: moment[0])
    return moment


@pytest.mark.parametrize(
    ("done", "total", "seconds", "figures", "text"),
    [
        (120, 200, 60.0, {"failed": 2}, "120/200  2.0/s  left 0:40  failed 2"),
        (0, 200, 0.0, {"failed": 0}, "0/200  0.0/s"),
        (50, None, 10.0, {}, "50  5.0/s"),
        (
            100,
            10_000,
            10.0,
            {"failed": 1, "skipped": 40},
            "100/10000  10.0/s  left 16:30  failed 1  skipped 40",
        ),
    ],
)
def test_done_rate_time_left_failed_and_skipped(
    done: int, total: int | None, seconds: float, figures: dict[str, int], text: str
) -> None:
    assert progress_text(done, total, seconds, figures) == text


def test_without_a_terminal_there_is_a_line_every_15_seconds_and_one_at_the_end(now: list[float]) -> None:
    out = StringIO()
    lines = Lines(Console(file=out, width=120))
    lines.start("train", 100)
    for second, done in ((1, 5), (14, 20), (16, 30), (20, 40), (32, 60)):
        now[0] = 100.0 + second
        lines.update(done, failed=1)
    lines.finish(StageReport("train", "run-1", note="99 fitted", seconds=50.0))
    said = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert said == [
        "train 30/100 1.9/s left 0:37 failed 1",
        "train 60/100 1.9/s left 0:21 failed 1",
        "train 99 fitted 50.0 s",
    ]


def test_in_a_terminal_a_bar_moves_and_the_stages_line_takes_its_place(now: list[float]) -> None:
    out = StringIO()
    bars = Bars(Console(file=out, width=120, force_terminal=True))
    bars.start("train", None)
    bars.start("train", 200)
    now[0] = 160.0
    bars.update(120, failed=2)
    assert bars._progress is not None
    (task,) = bars._progress.tasks
    assert (task.completed, task.total, task.fields["text"]) == (
        120,
        200,
        "120/200  2.0/s  left 0:40  failed 2",
    )
    bars.finish(StageReport("train", "run-1", note="198 fitted", seconds=42.4))
    assert bars._progress is None
    assert "198 fitted" in out.getvalue().splitlines()[-1] and "42.4 s" in out.getvalue().splitlines()[-1]
