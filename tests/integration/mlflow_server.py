"""A real `mlflow server` on a loopback port, over SQLite
or a Postgres URL, with direct or proxied artifacts.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.mlflow_stores import new_store

PATIENCE_SECONDS = 120


@dataclass
class MlflowServer:
    """A server that may be stopped and started again on the same port, with the same store and artifacts."""

    folder: Path
    store: str
    proxied: bool = False
    workers: int = 1
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=lambda: free_port())
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The tracking URI."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def artifacts(self) -> Path:
        """The folder in which the artifacts lie, whoever writes them."""
        return self.folder / "artifacts"

    def start(self) -> MlflowServer:
        """Start it and wait until it answers. Raises RuntimeError with its log where it does not."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.folder,
                env={**_environment(), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait()
        return self

    def stop(self) -> None:
        """End the server and its workers at once; what it holds in its store stays."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def log(self) -> str:
        """What the server has printed."""
        return (self.folder / "server.log").read_text(errors="replace")

    def _command(self) -> list[str]:
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--workers",
            str(self.workers),
            "--backend-store-uri",
            self.store,
            *self.options,
        ]
        if self.proxied:
            return [*command, "--serve-artifacts", "--artifacts-destination", str(self.artifacts)]
        return [*command, "--no-serve-artifacts", "--default-artifact-root", self.artifacts.as_uri()]

    def _wait(self) -> None:
        assert self._process is not None
        begin = time.monotonic()
        while time.monotonic() - begin < PATIENCE_SECONDS and self._process.poll() is None:
            if _answers(f"{self.url}/health"):
                return
            time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"mlflow server did not answer at {self.url}:\n{self.log()[-3000:]}")


def start(
    folder: Path,
    store: str | None = None,
    *,
    proxied: bool = False,
    workers: int = 1,
    options: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
) -> MlflowServer:
    """A running server; `store` is an SQLAlchemy URL, by default an SQLite file in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    place = store or new_store(folder / "server.db")
    return MlflowServer(folder, place, proxied, workers, options, environment or {}).start()


def free_port() -> int:
    """A port of loopback that nobody listens on, below those that
    the system hands out: Spark takes some of them at any time.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _environment() -> dict[str, str]:
    settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return {**outside, **settings}
