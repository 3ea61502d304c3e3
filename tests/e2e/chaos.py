"""A job that is killed on its way: a family that counts its
fits, the command line as a process, and who to kill in it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import yaml

from manymodels_spark.families.base import Problem
from manymodels_spark.families.naive import SeasonalNaive, SeasonOptions

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 300.0


class CountedOptions(SeasonOptions):
    """`seconds` that a fit takes, and the file in which each fit leaves a line."""

    seconds: float = 0.0
    log: str


class Counted(SeasonalNaive):
    """The seasonal naive, slower, and every fit of all rows is written down."""

    name = "counted"
    Options = CountedOptions  # type: ignore[assignment]
    options: CountedOptions

    def fit(self, rows: pd.DataFrame, problem: Problem) -> list[float]:
        """The last season's values, after a while."""
        time.sleep(self.options.seconds)
        with Path(self.options.log).open("a") as log:
            log.write(f"{problem.seed}\n")
        return super().fit(rows, problem)


def candidate(seconds: float, log: Path) -> dict[str, Any]:
    """The family as a spec names it."""
    return {"tests.e2e.chaos:Counted": {"seconds": seconds, "log": str(log)}}


def fits_of(log: Path) -> Counter[str]:
    """Fits so far by partition (its seed)."""
    return Counter(log.read_text().split()) if log.exists() else Counter()


@dataclass
class Victim:
    """`manymodels COMMAND SPEC` as a process of its own, with
    its JVM and Python workers, any of which may be killed.
    """

    spec: Path
    command: str = "train"
    output: Path = field(init=False)
    _known: list[psutil.Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start it."""
        self.output = self.spec.with_suffix(f".{time.time_ns()}.log")
        self.scratch.mkdir(exist_ok=True)
        settings = {
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.scratch),
            "MANYMODELS_MASTER": "local[2]",
            "MANYMODELS_DRIVER_MEMORY": "1g",
        }
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    "from manymodels_spark.cli import main; main()",
                    self.command,
                    str(self.spec),
                ],
                cwd=self.spec.parent,
                env={**os.environ, **settings},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def scratch(self) -> Path:
        """Its temporary folder."""
        return self.spec.parent / "tmp"

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self._process.poll() is not None

    def kill(self, who: str) -> bool:
        """SIGKILL for the `driver`, its `jvm` or one Python
        `worker`; False where there is none (yet, or any more).
        """
        found = {"driver": self._driver, "jvm": self._jvm, "worker": self._worker}[who]()
        if found is None:
            return False
        self._known = self._family()
        with suppress(psutil.NoSuchProcess):
            found.send_signal(signal.SIGKILL)
        return True

    def wait(self) -> int:
        """Its exit code, when it and all that it started are gone."""
        try:
            code = self._process.wait(PATIENCE_SECONDS)
            _, left = psutil.wait_procs(self._known, timeout=30)
        finally:
            self.stop()
        assert not left, f"processes that outlive their driver: {left}"
        return code

    def stop(self) -> None:
        """End all of it, whatever it is doing."""
        for process in [*self._known, *self._family()]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(30)

    def text(self) -> str:
        """What it printed."""
        return self.output.read_text(errors="replace")

    def _family(self) -> list[psutil.Process]:
        driver = self._driver()
        return [] if driver is None else [driver, *driver.children(recursive=True)]

    def _driver(self) -> psutil.Process | None:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self._process.pid) if not self.ended else None
        return None

    def _jvm(self) -> psutil.Process | None:
        driver = self._driver()
        return (
            next((child for child in driver.children() if child.name() == "java"), None) if driver else None
        )

    def _worker(self) -> psutil.Process | None:
        """The youngest process that Spark's Python daemon has forked."""
        with suppress(psutil.NoSuchProcess):
            daemons = [
                child for jvm in [self._jvm()] if jvm for child in jvm.children() if "python" in child.name()
            ]
            workers = [worker for daemon in daemons for worker in daemon.children()]
            return max(workers, key=lambda worker: worker.create_time(), default=None)
        return None


def wait_for_fits(victim: Victim, log: Path, more: int) -> bool:
    """Wait until that many more fits were made; False where the run ended before."""
    wanted, end = sum(fits_of(log).values()) + more, time.monotonic() + PATIENCE_SECONDS
    while sum(fits_of(log).values()) < wanted:
        if victim.ended:
            return False
        assert time.monotonic() < end, f"no fits any more:\n{victim.text()[-3000:]}"
        time.sleep(0.02)
    return True


def write_spec(path: Path, spec: Any) -> Path:
    """A spec's model as a file that the command line reads."""
    path.write_text(yaml.safe_dump(plain(spec)))
    return path


def plain(spec: Any) -> dict[str, Any]:
    """A spec as a person would write it: only what was given."""
    data: dict[str, Any] = spec.model_dump(mode="json", exclude_unset=True)
    data["candidates"] = [{one["family"]: one["options"]} for one in data["candidates"]]
    return data
