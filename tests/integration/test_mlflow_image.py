"""The MLflow image's entry point as a process over a real Postgres: users, rights, tokens and backup."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from deploy_files import DEPLOY, module
from integration.mlflow_server import free_port
from integration.postgres import find_binaries

ENTRY = DEPLOY / "aks" / "mlflow" / "entry.py"
PASSWORD = "admin-password-for-tests"
pytestmark = pytest.mark.services


class Image:
    """What a pod does: the entry point with the settings of its environment."""

    def __init__(self, folder: Path, database: str) -> None:
        place = urlsplit(database)
        self.folder, self.port, self.process = folder, free_port(), None
        with psycopg.connect(database, autocommit=True) as server:
            server.execute(f'CREATE DATABASE "{place.path[1:]}_auth"')
        module(ENTRY).write_password(folder / "pgpass", place.password or "")
        binaries = find_binaries()
        self.environment = {
            "PATH": f"{binaries}:/usr/bin:/bin",
            "HOME": str(folder),
            "PGHOST": str(place.hostname),
            "PGPORT": str(place.port),
            "PGUSER": str(place.username),
            "PGPASSFILE": str(folder / "pgpass"),
            "PGSSLMODE": "disable",
            "MLFLOW_DATABASE": place.path[1:],
            "MLFLOW_ARTIFACTS": (folder / "artifacts").as_uri(),
            "MLFLOW_BACKUPS": str(folder),
            "MLFLOW_HOSTS": f"127.0.0.1:{self.port}",
            "MLFLOW_HOST": "127.0.0.1",
            "MLFLOW_PORT": str(self.port),
            "MLFLOW_WORKERS": "1",
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "flask-for-tests",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ENTRY)],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        begin = time.monotonic()
        while time.monotonic() - begin < 120 and self.process.poll() is None:
            try:
                if self.ask("/health", user=None)[0] == 200:
                    return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError((self.folder / "log").read_text()[-3000:])

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def run(self, command: str) -> str:
        done = subprocess.run(
            [sys.executable, str(ENTRY), command],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def ask(self, path: str, body: Any = None, user: str | None = "admin", host: str = "") -> tuple[int, Any]:
        """(status, JSON) of a request as a user, whose password is the same for all."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        if user:
            request.add_header(
                "Authorization", "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
            )
        if host:
            request.add_header("Host", host)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read().decode()
                return answer.status, json.loads(text) if text.startswith("{") else text
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()


@pytest.fixture
def image(tmp_path: Path, postgres_url: str) -> Iterator[Image]:
    made = Image(tmp_path, postgres_url)
    made.start()
    yield made
    made.stop()


def log_model(image: Image, user: str, experiment: str) -> tuple[int, Any]:
    return image.ask(
        "/api/2.0/mlflow/logged-models",
        {"experiment_id": experiment, "name": "store-1", "tags": [{"key": "store", "value": "1"}]},
        user,
    )


# Starts Postgres and MLflow four times.
@pytest.mark.slow
def test_the_server_of_the_image_signs_people_in_backs_up_and_comes_back(
    image: Image, postgres_url: str
) -> None:
    # --- who may do what ---
    for name in ("trainer", "reader"):
        assert image.ask("/api/2.0/mlflow/users/create", {"username": name, "password": PASSWORD})[0] == 200
    assert image.ask("/api/2.0/mlflow/experiments/search", {"max_results": 1}, user=None)[0] == 401
    assert image.ask("/api/2.0/mlflow/experiments/search", {"max_results": 1}, user="nobody")[0] == 401
    _, made = image.ask("/api/2.0/mlflow/experiments/create", {"name": "retail"}, "trainer")
    experiment = made["experiment_id"]
    status, model = log_model(image, "trainer", experiment)
    assert status == 200
    assert log_model(image, "reader", experiment)[0] == 403, "default_permission is READ"
    asked = f"/api/2.0/mlflow/logged-models/{model['model']['info']['model_id']}"
    assert image.ask(asked, user="reader")[1]["model"]["info"]["name"] == "store-1"
    assert (
        image.ask("/api/2.0/mlflow/experiments/search", {"max_results": 1}, host="evil.example.com")[0] == 403
    )

    # --- a backup, and a server over what was restored from it ---
    lines = image.run("backup").splitlines()
    dumps = sorted(image.folder.glob("*.dump"))
    assert len(lines) == len(dumps) == 2 and all(dump.stat().st_size > 5_000 for dump in dumps)
    image.stop()
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    restore = ["pg_restore", "--no-owner", "--no-password", "-d", image.environment["MLFLOW_DATABASE"]]
    tracking = next(dump for dump in dumps if "_auth-" not in dump.name)
    subprocess.run([*restore, str(tracking)], env=image.environment, check=True, capture_output=True)

    # --- the password of the database changes while the server runs, as a token does ---
    image.start()
    assert image.ask(asked, user="reader")[1]["model"]["info"]["tags"] == [{"key": "store", "value": "1"}]
    user = image.environment["PGUSER"]
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(f"ALTER ROLE {user} PASSWORD 'next-token'")
        try:
            module(ENTRY).write_password(Path(image.environment["PGPASSFILE"]), "next-token")
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND usename = %s",
                (user,),
            )
            assert image.ask(asked, user="reader")[1]["model"]["info"]["name"] == "store-1"
        finally:
            server.execute(f"ALTER ROLE {user} PASSWORD '{urlsplit(postgres_url).password}'")


def test_a_password_for_libpq_s_file_survives_its_separators(tmp_path: Path) -> None:
    path = tmp_path / "pgpass"
    module(ENTRY).write_password(path, r"a:b\c")
    assert path.read_text() == "*:*:*:*:a\\:b\\\\c\n"
    assert path.stat().st_mode & 0o777 == 0o600
