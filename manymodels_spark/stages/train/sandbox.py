"""A process in which a fit may die: it can run too long, take too much memory or crash, and only it is lost.

A Python worker of Spark keeps one such child and hands it partition after partition; a child that dies is
replaced by the next fork, with the libraries that the parent has imported already warm. It knows nothing of
Spark.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pandas as pd

from manymodels_spark.errors import Reason
from manymodels_spark.families.threads import hold_one_thread
from manymodels_spark.modeling.results import Failure, FitResult, Status
from manymodels_spark.spark.workers import keep_imports

Fit = Callable[..., FitResult]
PREFIX = "manymodels-fit-"
_MEGABYTE = 1024 * 1024
_ORPHAN_SECONDS = 30.0
_NO_MEMORY = 77


@contextmanager
def tidy_imports() -> Iterator[None]:
    """For imports that make temporary folders (cmdstanpy's does): they are removed afterwards. Nothing uses
    them.
    """
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-") as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


@dataclass
class Sandbox:
    """Runs `fit(rows, *args)` in a child process within `seconds` of wall time and `megabytes` beyond its
    start.
    """

    fit: Fit
    seconds: float
    megabytes: int | None = None
    _child: BaseProcess | None = None
    _pipe: Any = None
    _folder: Path | None = None

    def run(self, rows: pd.DataFrame, *args: object) -> FitResult:
        """The fit's result, or a failure with how its process ended. Never raises for what the fit
        does.
        """
        if self._child is None:
            self._start()
        began = time.perf_counter()
        try:
            self._pipe.send((rows, args))
            answered = self._pipe.poll(self.seconds)
            result = self._pipe.recv() if answered else None
        except (EOFError, OSError):
            return self._lost(rows, time.perf_counter() - began)
        if isinstance(result, FitResult):
            return result
        self.close()
        message = f"the fit was stopped after {self.seconds:g} s, the limit of limits.seconds_per_fit"
        return _failed(Reason.TIMED_OUT, message, rows, time.perf_counter() - began)

    def close(self) -> None:
        """End the child with everything that it started, and remove what it left on disk."""
        child, self._child = self._child, None
        if child is not None and child.pid is not None:
            _kill_group(child.pid)
            child.join()
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _start(self) -> None:
        _sweep()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._child = context.Process(
            target=_serve,
            args=(self.fit, theirs, self._pipe, self._folder, self.seconds, self.megabytes),
            daemon=True,
        )
        self._child.start()
        theirs.close()

    def _lost(self, rows: pd.DataFrame, seconds: float) -> FitResult:
        assert self._child is not None
        self._child.join(timeout=5)
        code = self._child.exitcode
        self.close()
        if code == -signal.SIGKILL:
            message = "the fit's process was killed (signal 9), as systems do when memory runs out"
            return _failed(Reason.OUT_OF_MEMORY, message, rows, seconds)
        if code == _NO_MEMORY:
            message = "the rows or the model needed more memory than limits.memory_per_fit allows"
            return _failed(Reason.OUT_OF_MEMORY, message, rows, seconds)
        if code == -signal.SIGALRM:
            return _failed(Reason.TIMED_OUT, f"the fit ran longer than {self.seconds:g} s", rows, seconds)
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return _failed(Reason.WORKER_CRASHED, f"the fit killed its Python process ({how})", rows, seconds)


def _serve(
    fit: Fit, pipe: Connection, parents: Connection, folder: Path, seconds: float, megabytes: int | None
) -> None:
    """The child's loop: fit what comes through the pipe until the parent ends."""
    parents.close()
    os.setsid()
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(name, signal.SIG_DFL)
    tempfile.tempdir = str(folder)
    os.environ["TMPDIR"] = str(folder)
    keep_imports()
    hold_one_thread()
    if megabytes is not None:
        ceiling = _virtual_bytes() + megabytes * _MEGABYTE
        resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
    code = 0
    try:
        while True:
            rows, args = pipe.recv()
            # Ends a fit that nobody waits for any more, when Spark has killed the parent.
            signal.setitimer(signal.ITIMER_REAL, seconds + _ORPHAN_SECONDS)
            pipe.send(_guarded(fit, rows, args))
            signal.setitimer(signal.ITIMER_REAL, 0)
    except MemoryError:  # not in the fit, but in what comes or goes
        code = _NO_MEMORY
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        pass
    finally:
        with suppress(MemoryError):
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(code)


def _guarded(fit: Fit, rows: pd.DataFrame, args: tuple[object, ...]) -> FitResult:
    began = time.perf_counter()
    try:
        return fit(rows, *args)
    except MemoryError as error:
        reason, message = Reason.OUT_OF_MEMORY, "the fit needed more memory than limits.memory_per_fit allows"
        return _failed(reason, message, rows, time.perf_counter() - began, error)
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        return _failed(Reason.FIT_FAILED, message, rows, time.perf_counter() - began, error)


def _failed(
    reason: Reason, message: str, rows: pd.DataFrame, seconds: float, error: Exception | None = None
) -> FitResult:
    failure = Failure(reason, message, None if error is None else repr(error))
    return FitResult(Status.FAILED, rows=len(rows), seconds=seconds, failure=failure)


def _kill_group(pid: int) -> None:
    """Kill a session that the child leads: a fit's own processes (Stan's) end with it."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _virtual_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def _sweep() -> None:
    """Remove folders whose process has ended: of workers that were killed before they could clean up."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)
