"""A throw-away Postgres on a loopback port, started from the binaries of the system's package.

`scripts/test_services.sh` installs them. Postgres refuses
to run as root, so root hands it to user `postgres`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest

USER, PASSWORD = "manymodels", "s3cret-for-tests"
MISSING = "Postgres is not installed: run scripts/test_services.sh"


@dataclass
class Server:
    """A running server; each test gets a database of its own."""

    binaries: Path
    folder: Path
    port: int
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def new_database(self) -> str:
        """Create an empty database and give its URL."""
        name = f"test_{next(self._numbers)}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, name)
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        """Stop the server at once and remove its files."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        command = [*_as_postgres(), str(self.binaries / program), *arguments]
        answer = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if answer.returncode != 0:
            raise RuntimeError(f"{program} failed: {answer.stderr.strip()}")


def start() -> Server:
    """A new cluster with one user. Skips the test, saying how to install it, where there is no Postgres."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip(MISSING)
    folder = Path(tempfile.mkdtemp(prefix="manymodels-pg-"))
    password = folder / "password"
    password.write_text(PASSWORD)
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        for path in (folder, password):
            os.chown(path, owner.pw_uid, owner.pw_gid)
    server = Server(binaries, folder, _free_port())
    server._run(
        "initdb",
        "-D",
        str(folder / "data"),
        "-U",
        USER,
        f"--pwfile={password}",
        "-A",
        "scram-sha-256",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync",
    )
    options = f"-p {server.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    server._run("pg_ctl", "-D", str(folder / "data"), "-l", str(folder / "log"), "-o", options, "-w", "start")
    return server


def find_binaries() -> Path | None:
    """The newest server's folder of programs, as Debian lays them out, or the one on PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return Path(on_path).resolve().parent if on_path else None


def jdbc(url: str) -> dict[str, str]:
    """A `postgresql://` URL as the `url`, `user` and `password` of a spec's `jdbc:` source."""
    parts = urlsplit(url)
    return {
        "url": f"jdbc:postgresql://{parts.hostname}:{parts.port}{parts.path}",
        "user": parts.username or "",
        "password": parts.password or "",
    }


def _as_postgres() -> list[str]:
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
