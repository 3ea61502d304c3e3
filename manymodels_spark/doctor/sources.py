"""Can the source be read: are the files there, does the table answer to this user?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Any

from manymodels_spark.doctor.findings import Finding, failed, first_line, ok, skipped
from manymodels_spark.doctor.needs import unset
from manymodels_spark.doctor.places import local_folder
from manymodels_spark.doctor.reach import CONNECT_SECONDS, listens
from manymodels_spark.spec import Spec
from manymodels_spark.spec.source import Delta, Files, Jdbc, resolve

_ADDRESS = re.compile(r"jdbc:(\w+)://(?:[^@/]*@)?([^/;:?]+)(?::(\d+))?")
_PORTS = {"postgresql": 5432, "sqlserver": 1433, "mysql": 3306, "oracle": 1521}
# What libpq understands of a JDBC address's options.
_OPTION = re.compile(r"[?&](?!(?:user|password|sslmode)=)[^&]*")


def source(spec: Spec) -> Iterator[Finding]:
    """Whether the source can be read: the files are there, the table answers."""
    if missing := unset(spec, ("source",)):
        yield skipped("read source", f"requires {', '.join(missing)}")
        return
    match spec.source:
        case Jdbc() as jdbc:
            yield _database(jdbc, resolve(jdbc.url))
        case Files() as files:
            yield _files(resolve(files.path))
        case Delta() as delta:
            yield (
                _files(resolve(delta.path))
                if delta.path
                else skipped("read source", f"table {delta.table} is asked with a session")
            )


def _files(path: str) -> Finding:
    if "://" in path and local_folder(path) is None:
        return skipped("read source", f"{path.partition('://')[0]}:// is asked by ingest, with a session")
    found = [path] if Path(path).exists() else glob(path, recursive=True)
    if not found:
        return failed(
            "read source", f"nothing is at {path}", "Correct source in the spec, or bring the files there"
        )
    try:
        for one in found[:1]:
            next(Path(one).iterdir(), None) if Path(one).is_dir() else Path(one).open("rb").close()
    except OSError as error:
        return failed(
            "read source", f"{found[0]} cannot be read ({error.strerror})", "Correct its permissions"
        )
    return ok("read source", path)


def _database(jdbc: Jdbc, url: str) -> Finding:
    """The table itself where a driver of Python is there (DuckDB, Postgres),
    else whether the server listens.
    """
    if url.startswith("jdbc:duckdb:"):
        return _duckdb_table(jdbc, url.removeprefix("jdbc:duckdb:").partition(";")[0])
    address = _ADDRESS.match(url)
    if address is None:
        return skipped("read source", "this kind of address is asked by ingest, with a session")
    kind, host, port = address.groups()
    if wrong := listens(host, int(port or _PORTS.get(kind, 1433))):
        return failed(
            "read source", wrong, "Start the database, open the network to it, or correct source.jdbc.url"
        )
    return (
        _postgres_table(jdbc, url)
        if kind == "postgresql"
        else ok("read source", f"{host} listens (its table is read by ingest)")
    )


def _duckdb_table(jdbc: Jdbc, path: str) -> Finding:
    import duckdb

    if not Path(path).exists():
        return failed(
            "read source",
            f"there is no file {path}",
            "Correct source.jdbc.url, or make the file (`manymodels demo-data`)",
        )
    try:
        with duckdb.connect(path, read_only=True) as connection:
            connection.execute(f"SELECT * FROM {_from(jdbc)} LIMIT 0")
    except duckdb.Error as error:
        if "configuration" in str(error):
            return skipped("read source", f"{path} is open in this process")
        return failed(
            "read source",
            first_line(error),
            "Correct source.jdbc.table, or close the program that has the file open",
        )
    return ok("read source", f"{jdbc.table or 'query'} in {path}")


def _postgres_table(jdbc: Jdbc, url: str) -> Finding:
    try:
        import psycopg
    except ImportError:
        return ok("read source", "the server listens (its table is read by ingest)")
    own = {"user": jdbc.user, "password": jdbc.password}
    options: dict[str, Any] = {name: resolve(value) for name, value in own.items() if value is not None}
    try:
        with psycopg.connect(
            _OPTION.sub("", url.removeprefix("jdbc:")), connect_timeout=int(CONNECT_SECONDS) + 2, **options
        ) as connection:
            connection.execute(f"SELECT * FROM {_from(jdbc)} LIMIT 0")
    except psycopg.Error as error:
        return failed(
            "read source", first_line(error), "Grant SELECT on the table to the user, or correct source.jdbc"
        )
    return ok("read source", f"{jdbc.table or 'query'} answers")


def _from(jdbc: Jdbc) -> str:
    return f"({jdbc.query}) AS asked" if jdbc.query else str(jdbc.table)
