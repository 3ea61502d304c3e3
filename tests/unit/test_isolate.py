"""A fit that dies takes nobody along and leaves nothing behind."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info

from manymodels_spark.errors import Reason
from manymodels_spark.families.threads import THREADS
from manymodels_spark.modeling.results import FitResult, Status
from manymodels_spark.stages.train.sandbox import PREFIX, Sandbox, tidy_imports

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
        case "threads":
            pools = [pool["num_threads"] for pool in threadpool_info()]
            return FitResult(
                Status.FITTED, rows=0, cutoff=json.dumps([[os.environ.get(name) for name in THREADS], pools])
            )
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


def test_rows_that_do_not_fit_into_memory_end_as_out_of_memory(sandbox: Sandbox) -> None:
    many = pd.DataFrame({"units": np.zeros(120_000_000)})
    failed = sandbox.run(many, "fit").failure
    assert failed is not None and (failed.reason, failed.message) == (
        Reason.OUT_OF_MEMORY,
        "the rows or the model needed more memory than limits.memory_per_fit allows",
    )
    assert sandbox.run(ROWS, "fit").status is Status.FITTED


def test_an_answer_that_breaks_off_costs_its_own_fit(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.run(ROWS, "fit")

    def breaks_off() -> None:
        os.kill(sandbox._child.pid, signal.SIGKILL)  # type: ignore[union-attr, arg-type]
        raise OSError("got end of file during message")

    monkeypatch.setattr(sandbox._pipe, "recv", breaks_off, raising=False)
    failed = sandbox.run(ROWS, "fit").failure
    assert failed is not None and failed.reason is Reason.OUT_OF_MEMORY
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


def test_a_fit_has_one_thread_of_every_library(sandbox: Sandbox) -> None:
    told = sandbox.run(ROWS, "threads").cutoff
    assert told is not None
    environment, pools = json.loads(told)
    assert environment == ["1"] * len(THREADS)
    assert pools and set(pools) == {1}, "numpy's BLAS at least"


def test_folders_that_imports_make_are_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with tidy_imports():
        assert Path(tempfile.mkdtemp()).parent.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
    assert tempfile.gettempdir() == str(tmp_path)
