"""Tables of databases: their address as a spec has it (without secrets), and a sample of their rows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pandas as pd

from manymodels_spark.errors import SourceError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TABLE = re.compile(r"[A-Za-z_][\w$]*(\.[A-Za-z_][\w$]*){0,2}")
_DUCKDB_FILES = (".duckdb", ".ddb")
USER, PASSWORD = "MANYMODELS_SOURCE_USER", "MANYMODELS_SOURCE_PASSWORD"


def is_database(source: str) -> bool:
    """Whether it is the URL of a database, or a DuckDB file."""
    return "://" in source or source.startswith("jdbc:") or source.endswith(_DUCKDB_FILES)


def without_secret(source: str) -> str:
    """The URL without user and password."""
    return re.sub(r"//[^@/]*@", "//", source)


def read(db: DuckDBPyConnection, url: str, table: str | None, rows: int) -> tuple[dict[str, Any], int]:
    """Make table `sample` of a database's table.

    Returns the `jdbc` part of a spec, in which user and password are names of variables, and the number of
    the table's rows. Raises SourceError where there is no such database or table.
    """
    if table is not None and not _TABLE.fullmatch(table):
        raise SourceError(f"--table: {table!r} is no name of a table. Letters, digits and dots are expected")
    if url.endswith(_DUCKDB_FILES):
        return _duckdb(db, re.sub(r"^(jdbc:duckdb:|duckdb:///)", "", url), table, rows)
    plain = url.removeprefix("jdbc:")
    if not re.match(r"postgres(ql)?(\+\w+)?://", plain):
        raise SourceError(
            f"{without_secret(url)}: `init` reads Postgres and DuckDB. For another database with a JDBC "
            "driver write the spec by hand (docs/spec.md), or give an export as Parquet"
        )
    return _postgres(db, plain, table, rows)


def _duckdb(db: DuckDBPyConnection, path: str, table: str | None, rows: int) -> tuple[dict[str, Any], int]:
    db.execute(f"ATTACH '{path.replace(chr(39), chr(39) * 2)}' AS source (READ_ONLY)")
    found = db.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = 'source' UNION SELECT view_name FROM "
        "duckdb_views() WHERE database_name = 'source' AND NOT internal ORDER BY 1"
    ).fetchall()
    name = _chosen(table, [str(row[0]) for row in found], path)
    total = db.execute(f"SELECT count(*) FROM source.{name}").fetchone()
    db.execute(f"CREATE TABLE sample AS SELECT * FROM source.{name} LIMIT {rows}")
    db.execute("DETACH source")
    return {"url": f"jdbc:duckdb:{path}", "table": name}, int(total[0]) if total else 0


def _postgres(db: DuckDBPyConnection, url: str, table: str | None, rows: int) -> tuple[dict[str, Any], int]:
    from sqlalchemy import create_engine, inspect, make_url, text
    from sqlalchemy.exc import SQLAlchemyError

    try:
        address = make_url(re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql+psycopg://", url))
        engine = create_engine(address)
        with engine.connect() as connection:
            looked = inspect(connection)
            name = _chosen(table, [*looked.get_table_names(), *looked.get_view_names()], without_secret(url))
            total = int(connection.execute(text(f"SELECT count(*) FROM {name}")).scalar() or 0)
            frame = pd.read_sql(text(f"SELECT * FROM {name} LIMIT {rows}"), connection)
    except ModuleNotFoundError as error:
        raise SourceError("Postgres requires psycopg: pip install 'manymodels-spark[postgres]'") from error
    except SQLAlchemyError as error:
        reason = without_secret(str(error.__cause__ or error).splitlines()[0])
        raise SourceError(f"{without_secret(url)} cannot be read: {reason}") from error
    db.register("frame", frame)
    db.execute("CREATE TABLE sample AS SELECT * FROM frame")
    port = f":{address.port}" if address.port else ""
    jdbc: dict[str, Any] = {
        "url": f"jdbc:postgresql://{address.host}{port}/{address.database}",
        "table": name,
    }
    jdbc |= {"user": f"${{{USER}}}"} if address.username else {}
    jdbc |= {"password": f"${{{PASSWORD}}}"} if address.password else {}
    return jdbc, total


def _chosen(table: str | None, known: list[str], where: str) -> str:
    if table is None and len(known) == 1:
        return known[0]
    if table is None:
        listed = ", ".join(known[:20]) or "none"
        raise SourceError(f"{where}: which table? Give --table NAME. It has: {listed}")
    if "." not in table and table not in known:
        raise SourceError(f"{where}: no table {table!r}. It has: {', '.join(known[:20]) or 'none'}")
    return table
