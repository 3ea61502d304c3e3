"""A source opened as table `sample` of an in-memory DuckDB: all of it where it is small, else its beginning.

It says how the spec has to name the source. Text files are kept as text: what a column means is found later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manymodels_spark.discover import databases, delta_log, text_files
from manymodels_spark.errors import ManyModelsError, SourceError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_KINDS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
_MEMORY = "1GB"


@dataclass(frozen=True)
class Limits:
    """How much is looked at: sources of more bytes are sampled by their first rows."""

    whole_bytes: int = 1_000_000_000
    rows: int = 1_000_000


@dataclass
class Sample:
    """Rows of a source in table `sample`, and how a spec names the source (`source`, as its YAML has it)."""

    db: DuckDBPyConnection
    name: str
    kind: str
    source: dict[str, Any]
    whole: bool = True
    total_rows: int | None = None
    size: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def options(self) -> dict[str, Any]:
        """The part of `source` below its kind, to be changed in place."""
        part: dict[str, Any] = self.source[self.kind]
        return part

    def one(self, sql: str) -> tuple[Any, ...]:
        """The only row of a query."""
        row = self.db.execute(sql).fetchone()
        return row if row is not None else ()

    def all(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self.db.execute(sql).fetchall()

    @property
    def columns(self) -> dict[str, str]:
        """The names of the columns with their DuckDB types."""
        return {str(name): str(kind) for name, kind, *_ in self.all("DESCRIBE sample")}

    @property
    def rows(self) -> int:
        """How many rows were looked at."""
        return int(self.one("SELECT count(*) FROM sample")[0])


def open_sample(source: str, table: str | None = None, limits: Limits | None = None) -> Sample:
    """Read a file, a folder, a glob, a Delta table, or a table of a database.

    Args:
        source: a path, or a database's URL as SQLAlchemy or JDBC writes it.
        table: the table of a database.
        limits: up to where a source is read whole.

    Returns:
        The sample, with at least one row and one column.

    Raises:
        SourceError: where there is nothing, or nothing that can be read, with what it is and what to do.

    """
    limits, db = limits or Limits(), _duckdb()
    try:
        if databases.is_database(source):
            sample = _database(db, source, table, limits)
        else:
            sample = _files(db, Path(source), source, limits)
    except db_errors() as error:
        reason = str(error).splitlines()[0][:300]
        raise SourceError(f"{databases.without_secret(source)} cannot be read: {reason}") from error
    if not sample.rows:
        raise SourceError(f"{sample.name} has no row, only a header. Give a source with rows")
    return sample


def db_errors() -> tuple[type[Exception], ...]:
    """What DuckDB raises."""
    import duckdb

    return (duckdb.Error,)


def _duckdb() -> DuckDBPyConnection:
    try:
        import duckdb
    except ImportError as error:
        raise ManyModelsError(
            "init looks at sources with DuckDB, which is missing: pip install duckdb"
        ) from error
    return duckdb.connect(config={"memory_limit": _MEMORY})


def _database(db: DuckDBPyConnection, url: str, table: str | None, limits: Limits) -> Sample:
    source, total = databases.read(db, url, table, limits.rows)
    name = f"{databases.without_secret(url)} {table}"
    whole = total <= limits.rows
    return Sample(db, name, "jdbc", {"jdbc": source}, whole, total)


def _files(db: DuckDBPyConnection, path: Path, given: str, limits: Limits) -> Sample:
    if delta_log.is_delta(path):
        files = delta_log.files_of(path)
        return _parquet(db, files, "delta", given, limits)
    found = text_files.listing(path, given, tuple(_KINDS))
    size = sum(file.stat().st_size for file in found)
    if size == 0:
        raise SourceError(f"{given} is empty: 0 bytes. Give a file with a header and rows")
    whole = size <= limits.whole_bytes
    first = text_files.Head.of(found[0])
    kind = first.kind or _KINDS.get(text_files.suffix(found[0]), "csv")
    if kind == "parquet":
        return _parquet(db, [str(file) for file in found], "parquet", given, limits)
    bound = "" if whole else f" LIMIT {limits.rows}"
    options = (text_files.read_json if kind == "json" else text_files.read_csv)(db, found, first, bound)
    part: dict[str, Any] = {"path": given, **({"options": options} if options else {})}
    return Sample(db, given, kind, {kind: part}, whole, None, size)


def _parquet(db: DuckDBPyConnection, files: list[str], kind: str, given: str, limits: Limits) -> Sample:
    size = sum(Path(file).stat().st_size for file in files)
    whole = size <= limits.whole_bytes
    db.execute("SET VARIABLE files = $1", [files])
    reading = "read_parquet(getvariable('files'), union_by_name=true, hive_partitioning=true)"
    total = db.execute(f"SELECT count(*) FROM {reading}").fetchone()
    bound = "" if whole else f" LIMIT {limits.rows}"
    db.execute(f"CREATE TABLE sample AS SELECT * FROM {reading}{bound}")
    return Sample(db, given, kind, {kind: {"path": given}}, whole, int(total[0]) if total else None, size)
