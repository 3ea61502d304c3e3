"""A throw-away Azure storage account on a loopback port: Azurite, which `scripts/test_services.sh` installs.

Spark reaches it as `abfs://CONTAINER@devstoreaccount1.dfs.core.windows.net/...` through Hadoop's own driver,
Python as a blob service by its connection string.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

ACCOUNT = "devstoreaccount1"
# Published by Microsoft for development: no secret.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
MISSING = "Azurite is not installed: run scripts/test_services.sh"
START_SECONDS = 60


@dataclass
class Azurite:
    """A running storage account."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    _numbers: count[int] = field(default_factory=lambda: count(1))

    @property
    def connection_string(self) -> str:
        """What `AZURE_STORAGE_CONNECTION_STRING` is to hold."""
        endpoint = f"http://127.0.0.1:{self.port}/{ACCOUNT}"
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint};"
        )

    def new_container(self) -> str:
        """Create an empty container and give its `abfs://` address."""
        from azure.storage.blob import BlobServiceClient

        name = f"test{next(self._numbers)}"
        with BlobServiceClient.from_connection_string(self.connection_string) as service:
            service.create_container(name)
        return f"abfs://{name}@{ACCOUNT}.dfs.core.windows.net"

    def stop(self) -> None:
        """Stop it at once and remove its files."""
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def start() -> Azurite:
    """A new account. Skips the test, saying how to install it, where there is no Azurite."""
    program = (
        Path(os.environ.get("MANYMODELS_SERVICES", ".services")).absolute()
        / "node_modules"
        / ".bin"
        / "azurite-blob"
    )
    if not program.exists():
        pytest.skip(MISSING)
    folder, port = Path(tempfile.mkdtemp(prefix="manymodels-azurite-")), _free_port()
    command = [
        str(program),
        "--blobHost",
        "127.0.0.1",
        "--blobPort",
        str(port),
        "--location",
        str(folder),
        "--silent",
        "--skipApiVersionCheck",
        "--disableTelemetry",
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _await(process, port)
    return Azurite(process, folder, port)


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit:
        if process.poll() is not None:
            raise RuntimeError(f"Azurite ended with {process.returncode} as it started")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    process.kill()
    raise RuntimeError(f"Azurite did not listen within {START_SECONDS} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
