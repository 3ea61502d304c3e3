"""A fit that dies takes nobody along and leaves nothing behind."""

from __future__ import annotations

import faulthandler
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from manymodels_spark.errors import Reason
from manymodels_spark.isolate import PREFIX, Sandbox
from manymodels_spark.results import FitResult, Status

ROWS = pd.DataFrame({"units": np.arange(10.0)})


def behave(rows: pd.DataFrame, how: str) -> FitResult:
    """A fit that does what it is told."""
    match how:
        case "sleep":
            time.sleep(30)
        case "segfault":
            faulthandler.disable()
            os.kill(os.getpid(), signal.SIGSEGV)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "memory":
            np.ones(10**9)
        case "litter":
            Path(tempfile.mkdtemp()).joinpath("left").write_text("behind")
        case "raise":
            raise ValueError("no good")
    return FitResult(Status.FITTED, rows=len(rows), cutoff=str(os.getpid()))


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    box = Sandbox(behave, seconds=1.0, megabytes=512)
    yield box
    box.close()


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("sleep", Reason.TIMED_OUT),
        ("segfault", Reason.WORKER_CRASHED),
        ("killed", Reason.OUT_OF_MEMORY),
        ("memory", Reason.OUT_OF_MEMORY),
        ("raise", Reason.FIT_FAILED),
    ],
)
def test_whatever_a_fit_does_it_ends_under_its_own_reason_and_the_next_one_is_fitted(
    sandbox: Sandbox, how: str, reason: Reason
) -> None:
    failed = sandbox.run(ROWS, how)
    assert failed.status is Status.FAILED
    assert failed.failure is not None
    assert failed.failure.reason is reason
    assert sandbox.run(ROWS, "fit").status is Status.FITTED


def test_one_child_serves_many_fits(sandbox: Sandbox) -> None:
    assert len({sandbox.run(ROWS, "fit").cutoff for _ in range(20)}) == 1


def test_nothing_is_left_on_disk(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.run(ROWS, "litter")
    assert list(tmp_path.rglob("left"))
    sandbox.close()
    assert list(tmp_path.iterdir()) == []


def test_folders_of_dead_workers_are_swept(sandbox: Sandbox, tmp_path: Path) -> None:
    orphan = tmp_path / f"{PREFIX}999999999-x"
    orphan.mkdir()
    sandbox.run(ROWS, "fit")
    assert not orphan.exists()
