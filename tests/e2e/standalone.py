"""A Spark standalone cluster on this machine: a master and workers, each with a home and folders of its own.

Its Python has the libraries but not this package: executors see of it only what was submitted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyspark
from integration.mlflow_server import free_port

SPARK_HOME = Path(pyspark.__file__).parent
PATIENCE_SECONDS = 120
_OURS = ("MANYMODELS_", "MLFLOW_", "PYSPARK_", "SPARK_", "PYTHON", "VIRTUAL_ENV")


@dataclass
class Cluster:
    """`workers` workers of one core each. `folder` holds their work folders, homes and logs."""

    folder: Path
    workers: int = 2
    port: int = field(default_factory=free_port)
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The address of the master."""
        return f"spark://127.0.0.1:{self.port}"

    def start(self) -> Cluster:
        """Start it and wait until all workers are registered.
        Raises RuntimeError with the master's log otherwise.
        """
        self._launch("master", "Master", "--port", str(self.port))
        for name in self.names():
            work = self.folder / name / "work"
            self._launch(name, "Worker", "--cores", "1", "--memory", "1g", "--work-dir", str(work), self.url)
        self._wait()
        return self

    def stop(self) -> None:
        """End master, workers and their executors."""
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)

    def names(self) -> list[str]:
        """The workers' names, which are their folders'."""
        return [f"worker-{number}" for number in range(1, self.workers + 1)]

    def executor_logs(self, worker: str) -> list[str]:
        """What each executor of a worker printed."""
        return [
            path.read_text(errors="replace")
            for path in (self.folder / worker / "work").glob("app-*/*/stderr")
        ]

    def _launch(self, name: str, kind: str, *arguments: str) -> None:
        home = self.folder / name
        (home / "tmp").mkdir(parents=True)
        command = [str(SPARK_HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{kind.lower()}.{kind}"]
        with (home / "log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    [*command, "--host", "127.0.0.1", "--webui-port", "0", *arguments],
                    cwd=home,
                    stdin=subprocess.DEVNULL,
                    env=bare_environment(
                        HOME=str(home), TMPDIR=str(home / "tmp"), SPARK_HOME=str(SPARK_HOME)
                    ),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def _wait(self) -> None:
        log, begin = self.folder / "master" / "log", time.monotonic()
        while time.monotonic() - begin < PATIENCE_SECONDS:
            if log.read_text(errors="replace").count("Registering worker") == self.workers:
                return
            time.sleep(0.2)
        self.stop()
        raise RuntimeError(f"the cluster did not come up:\n{log.read_text(errors='replace')[-3000:]}")


def bare_environment(**more: str) -> dict[str, str]:
    """This process's environment without anything that tells of this package, of Spark or of a Python."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith(_OURS)}, **more}


def bare_python(folder: Path) -> Path:
    """An environment's Python that has the libraries of this one, and of this package nothing."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    theirs = next(folder.glob("lib/python*/site-packages"))
    # A folder named in a .pth file is searched, but its own .pth files are not read: an editable install is
    # not seen.
    (theirs / "libraries.pth").write_text(ours + "\n")
    return folder / "bin" / "python"
