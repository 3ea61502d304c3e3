"""The MLflow image's entry point: `serve` (the default), `token` (a sidecar) and `backup`.

Postgres is reached without a password of its own: `token` writes an Entra token into the file that libpq
reads at each new connection (`passfile`), so a token that has ended is never used again. A database with a
password works too: put it into that file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy

SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
REFRESH_SECONDS = 300  # a token lives for at least an hour
PATIENCE_SECONDS = 120


def url_of(database: str) -> str:
    """The SQLAlchemy URL of a database of PGHOST, signed in by the file PGPASSFILE."""
    made = sqlalchemy.URL.create(
        "postgresql+psycopg",
        os.environ["PGUSER"],
        host=os.environ["PGHOST"],
        port=int(os.environ.get("PGPORT", "5432")),
        database=database,
        query={"passfile": os.environ["PGPASSFILE"], "sslmode": os.environ.get("PGSSLMODE", "require")},
    )
    return made.render_as_string(hide_password=False)


def tracking() -> str:
    """The database of runs and models."""
    return os.environ.get("MLFLOW_DATABASE", "mlflow")


def users() -> str:
    """The database of users and rights; MLflow migrates it apart from the other, so it cannot be the same."""
    return os.environ.get("MLFLOW_AUTH_DATABASE", f"{tracking()}_auth")


def serve() -> None:
    """Bring an older schema up to date, then become the server.

    Settings: MLFLOW_ARTIFACTS (where clients write artifacts themselves), MLFLOW_HOSTS (names under which it
    is asked), MLFLOW_PORT, MLFLOW_WORKERS, and MLflow's own MLFLOW_AUTH_ADMIN_PASSWORD and
    MLFLOW_FLASK_SERVER_SECRET_KEY.
    """
    wait_for(Path(os.environ["PGPASSFILE"]))
    if sqlalchemy.inspect(sqlalchemy.create_engine(url_of(tracking()))).has_table("alembic_version"):
        subprocess.run([sys.executable, "-m", "mlflow", "db", "upgrade", url_of(tracking())], check=True)
    os.environ["MLFLOW_AUTH_CONFIG_PATH"] = str(auth_settings())
    arguments = {
        "--app-name": "basic-auth",
        "--backend-store-uri": url_of(tracking()),
        "--default-artifact-root": os.environ["MLFLOW_ARTIFACTS"],
        "--host": os.environ.get("MLFLOW_HOST", "0.0.0.0"),
        "--port": os.environ.get("MLFLOW_PORT", "5000"),
        "--workers": os.environ.get("MLFLOW_WORKERS", "4"),
        "--allowed-hosts": os.environ["MLFLOW_HOSTS"],
    }
    flat = [text for pair in arguments.items() for text in pair]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "server", "--no-serve-artifacts", *flat])


def auth_settings() -> Path:
    """MLflow's file of auth settings, whose database cannot come from the environment."""
    path = Path(tempfile.mkdtemp()) / "basic_auth.ini"
    # '%' begins an interpolation in such a file.
    lines = {
        "default_permission": os.environ.get("MLFLOW_DEFAULT_PERMISSION", "READ"),
        "database_uri": url_of(users()).replace("%", "%%"),
        "admin_username": "admin",
    }
    path.write_text("\n".join(["[mlflow]", *(f"{name} = {value}" for name, value in lines.items())]))
    return path


def wait_for(path: Path) -> None:
    """Wait for the sidecar's first token. Raises TimeoutError where none comes."""
    begin = time.monotonic()
    while not path.exists():
        if time.monotonic() - begin > PATIENCE_SECONDS:
            raise TimeoutError(
                f"{path} was not written in {PATIENCE_SECONDS} s: see the log of container 'token'"
            )
        time.sleep(0.5)


def token() -> None:
    """Keep PGPASSFILE filled with a token of the pod's identity (once with `token --once`)."""
    from azure.identity import DefaultAzureCredential

    credential = DefaultAzureCredential()
    while True:
        write_password(Path(os.environ["PGPASSFILE"]), credential.get_token(SCOPE).token)
        if "--once" in sys.argv:
            return
        time.sleep(REFRESH_SECONDS)


def write_password(path: Path, password: str) -> None:
    """Replace the file as a whole: a connection that begins now reads the old token or the new one."""
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    made = path.with_suffix(".new")
    made.touch(mode=0o600)  # libpq ignores a file that others may read
    made.write_text(f"*:*:*:*:{escaped}\n")
    made.replace(path)


def backup() -> None:
    """Dump both databases into MLFLOW_BACKUPS, a blob container's URL or a folder.

    Raises:
        CalledProcessError: where pg_dump fails; its words are in the log, and the job is red.

    """
    wait_for(Path(os.environ["PGPASSFILE"]))
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S")
    with tempfile.TemporaryDirectory() as folder:
        for database in (tracking(), users()):
            dump = Path(folder) / f"{database}-{stamp}.dump"
            libpq = ["--dbname", database, "--no-password", "--format", "custom", "--file", str(dump)]
            subprocess.run(["pg_dump", *libpq], check=True)
            keep(dump, os.environ["MLFLOW_BACKUPS"])
            print(f"{dump.name}: {dump.stat().st_size} bytes")


def keep(dump: Path, where: str) -> None:
    """Copy a dump to where backups are kept; one that exists is never overwritten."""
    if not where.startswith("https://"):
        with (Path(where) / dump.name).open("xb") as target:
            target.write(dump.read_bytes())
        return
    from azure.identity import DefaultAzureCredential
    from azure.storage.blob import ContainerClient

    container = ContainerClient.from_container_url(where, DefaultAzureCredential())
    with dump.open("rb") as data:
        container.upload_blob(dump.name, data, overwrite=False)


if __name__ == "__main__":
    {"serve": serve, "token": token, "backup": backup}[(sys.argv[1:] or ["serve"])[0]]()
