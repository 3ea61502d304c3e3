"""The embedded warehouse: one DuckDB file, the default.
It reads the exported files itself, in one transaction.

Nothing of a load passes through Python: memory is bounded by DuckDB's own limit, whatever the number of rows.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from manymodels_spark.errors import WarehouseError
from manymodels_spark.spec.places import DuckDB
from manymodels_spark.spec.source import resolve
from manymodels_spark.warehouse import types
from manymodels_spark.warehouse.base import (
    LEDGER,
    LEDGER_SCHEMA,
    Export,
    Loaded,
    Warehouse,
    is_loaded,
    quote,
    require_own,
    row_name,
    text,
)
from manymodels_spark.warehouse.checksum import Checksum
from manymodels_spark.warehouse.refused import NUMBER, Trial, refused_row

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

_LOCK_SECONDS = 5.0
_ONE_LOAD = threading.Lock()


class DuckDBWarehouse(Warehouse):
    """A DuckDB file; another process that has it open is waited for a few seconds."""

    name = "DuckDB"
    dialect = "duckdb"

    def __init__(self, part: DuckDB, spec: str) -> None:
        super().__init__(spec)
        self._connection = _connect(resolve(part.path))
        self._run(f"SET memory_limit = '{part.memory}MB'; SET TimeZone = 'UTC'")
        self._run("SET preserve_insertion_order = false")
        self._run(f"CREATE TABLE IF NOT EXISTS {LEDGER} ({_definition(LEDGER_SCHEMA)})")

    def last(self, table: str) -> Loaded | None:
        """See Warehouse."""
        if not self._columns_of(table):
            return None
        newest = (
            f'SELECT * FROM {LEDGER} WHERE spec = ? AND "table" = ? '
            "ORDER BY loaded_at DESC, version DESC LIMIT 1"
        )
        row = self._run(newest, [self.spec, table]).fetchone()
        return Loaded(*row) if row else None

    def load(self, table: str, export: Export, run_id: str, *, again: bool = False) -> bool:
        """See Warehouse."""
        import duckdb

        rows = self._rows_of(export.files, export.schema)
        refusals = (duckdb.ConstraintException, duckdb.ConversionException, duckdb.OutOfRangeException)
        try:
            with _ONE_LOAD, self._transaction():
                if not again and is_loaded(self.last(table), export, table):
                    return False
                self._make(table, export.schema, again)
                sent = self._insert(table, export, rows)
                self._note(table, export, sent, run_id)
        except refusals as error:
            raise self._refusal(table, export, rows, error) from error
        except duckdb.Error as error:
            raise WarehouseError(
                f"DuckDB could not load {table}: {error}. Nothing was changed in the table"
            ) from error
        return True

    def fetch(self, sql: str) -> pd.DataFrame:
        """See Warehouse."""
        frame: pd.DataFrame = self._run(sql).df()
        return frame

    def tables(self) -> set[str]:
        """See Warehouse."""
        return {
            row[0]
            for row in self._run(
                "SELECT table_name FROM duckdb_tables() WHERE schema_name = current_schema()"
            ).fetchall()
        }

    def put_view(self, name: str, select: str) -> None:
        """See Warehouse."""
        import duckdb

        try:
            self._run(f"CREATE OR REPLACE VIEW {quote(name)} AS {select}")
        except duckdb.Error as error:
            raise WarehouseError(f"DuckDB refused view {name}: {error}") from error

    def close(self) -> None:
        """See Warehouse."""
        self._connection.close()

    def _run(self, sql: str, values: Sequence[object] = ()) -> duckdb.DuckDBPyConnection:
        return self._connection.execute(sql, values) if values else self._connection.execute(sql)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._run("BEGIN")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            self._rollback()
            raise

    def _rollback(self) -> None:
        from contextlib import suppress

        import duckdb

        # A failed COMMIT has ended the transaction already.
        with suppress(duckdb.TransactionException):
            self._run("ROLLBACK")

    def _columns_of(self, table: str) -> list[str]:
        sql = (
            "SELECT column_name FROM duckdb_columns() WHERE schema_name = current_schema() AND table_name = ?"
        )
        return [row[0] for row in self._run(sql, [table]).fetchall()]

    def _make(self, table: str, schema: pa.Schema, again: bool) -> None:
        """The table as the export requires it: created, or extended by the columns that are new."""
        present = {name.lower() for name in self._columns_of(table)}
        if not present:
            self._run(f"CREATE TABLE {quote(table)} ({_definition(schema)})")
            return
        sql = f'SELECT DISTINCT spec FROM {LEDGER} WHERE "table" = ? AND spec <> ?'
        others = [row[0] for row in self._run(sql, [table, self.spec]).fetchall()]
        if not again:
            require_own(table, self._count(f"SELECT count(*) FROM {quote(table)}"), self.last(table), others)
        for field in schema:
            if field.name.lower() not in present:
                self._run(f"ALTER TABLE {quote(table)} ADD COLUMN {_definition(pa.schema([field]))}")

    def _insert(self, table: str, export: Export, rows: str) -> Checksum:
        """Take the old rows away, bring the new ones and compare them with the files."""
        names = export.schema.names
        affected = self._affected(export)
        self._run(f"DELETE FROM {quote(table)} AS t {affected}")
        self._run(f"INSERT INTO {quote(table)} ({_listed(names)}) {rows}")
        sent = self._checksum(f"({rows})", names)
        Checksum(export.rows, sent.columns, sent.mixed).require(sent, names, table)
        cells = ", ".join(
            f"CAST(t.{quote(field.name)} AS {_type(field)}) AS {quote(field.name)}" for field in export.schema
        )
        sent.require(
            self._checksum(f"(SELECT {cells} FROM {quote(table)} AS t {affected})", names), names, table
        )
        return sent

    def _affected(self, export: Export) -> str:
        """The condition for the rows that the export replaces, on a table called t."""
        if export.replaces is None:
            return ""
        keys = self._rows_of(export.replaces, pa.schema([export.schema.field(name) for name in export.key]))
        same = " AND ".join(f"k.{quote(name)} IS NOT DISTINCT FROM t.{quote(name)}" for name in export.key)
        return f"WHERE EXISTS (SELECT 1 FROM ({keys}) AS k WHERE {same})"

    def _checksum(self, source: str, names: Sequence[str]) -> Checksum:
        digests = ", ".join(f"hash({quote(name)}) AS d{number}" for number, name in enumerate(names))
        columns = [f"d{number}" for number in range(len(names))]
        sums = ", ".join(f"sum({column})" for column in columns)
        mixed = f"sum(hash({', '.join(columns)}))"
        row = self._run(
            f"SELECT count(*), {sums}, {mixed} FROM (SELECT {digests} FROM {source} AS rows)"
        ).fetchone()
        return Checksum.of(row or ())

    def _note(self, table: str, export: Export, sent: Checksum, run_id: str) -> None:
        now = datetime.now(UTC).replace(tzinfo=None)
        row = [self.spec, table, export.source, export.version, sent.rows, sent.text, now, run_id]
        self._run(f"INSERT INTO {LEDGER} VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def _count(self, sql: str) -> int:
        row = self._run(sql).fetchone()
        return int(row[0]) if row else 0

    def _rows_of(self, files: Sequence[str], schema: pa.Schema) -> str:
        """A query of the files' rows: the schema's columns in its order and types,
        NULL where a file has none.
        """
        if not files:
            cells = ", ".join(f"CAST(NULL AS {_type(field)}) AS {quote(field.name)}" for field in schema)
            return f"SELECT {cells} WHERE false"
        source = (
            f"read_parquet([{', '.join(_file(path) for path in files)}], union_by_name = true, "
            "hive_partitioning = false)"
        )
        found = {row[0].lower() for row in self._run(f"DESCRIBE SELECT * FROM {source}").fetchall()}
        values = {
            field.name: quote(field.name) if field.name.lower() in found else "NULL" for field in schema
        }
        cells = ", ".join(
            f"CAST({values[field.name]} AS {_type(field)}) AS {quote(field.name)}" for field in schema
        )
        return f"SELECT {cells} FROM {source}"

    def _refusal(self, table: str, export: Export, rows: str, error: Exception) -> WarehouseError:
        """The error that names the refused row; the rows are tried in a temporary copy."""
        message = f"DuckDB refused {{}} of table {table}: {error}. Nothing was changed in the table"
        found = self._find_refused(table, export, rows)
        if found is None:
            return WarehouseError(message.format("the rows"))
        return WarehouseError(message.format(row_name(dict(found[0]), export.key, found[1])))

    def _find_refused(
        self, table: str, export: Export, rows: str
    ) -> tuple[Mapping[str, object], str | None] | None:
        self._run(
            f"CREATE OR REPLACE TEMP TABLE __numbered AS SELECT *, row_number() OVER () AS {NUMBER} FROM "
            f"({rows})"
        )
        try:
            if not self._columns_of(table):
                return None
            trial = Trial("__numbered", export.schema.names, self._try(table, export), self._first, quote)
            return refused_row(trial, self._count("SELECT count(*) FROM __numbered"))
        finally:
            self._run("DROP TABLE __numbered")

    def _try(self, table: str, export: Export) -> Any:
        import duckdb

        def accepts(rows: str) -> bool:
            self._run("BEGIN")
            try:
                self._run(f"DELETE FROM {quote(table)} AS t {self._affected(export)}")
                self._run(f"INSERT INTO {quote(table)} ({_listed(export.schema.names)}) {rows}")
            except duckdb.Error:
                return False
            finally:
                self._rollback()
            return True

        return accepts

    def _first(self, sql: str) -> dict[str, object]:
        cursor = self._run(sql)
        names = [column[0] for column in cursor.description or ()]
        return dict(zip(names, cursor.fetchone() or (), strict=False))


def _connect(path: str) -> duckdb.DuckDBPyConnection:
    """A connection to the file. Raises WarehouseError where it cannot be opened,
    or stays locked for seconds.
    """
    import duckdb

    limit = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            if path != ":memory:":
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            return duckdb.connect(path)
        except (duckdb.Error, OSError) as error:
            locked = "lock" in str(error).lower()
            if not locked or time.monotonic() > limit:
                advice = (
                    "Close the other program that has it open"
                    if locked
                    else "Check the path, its permissions and the disk"
                )
                raise WarehouseError(
                    f"the DuckDB file {path} cannot be opened: {error}. {advice} (warehouse: path)"
                ) from error
            time.sleep(0.2)


def _type(field: pa.Field) -> str:
    return types.sql_type(field, types.DUCKDB)


def _definition(schema: pa.Schema) -> str:
    return ", ".join(f"{quote(field.name)} {_type(field)}" for field in schema)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(quote(name) for name in names)


def _file(path: str) -> str:
    """A file's name as a literal; characters that DuckDB would take for a pattern are put in brackets."""
    return text(re.sub(r"([*?\[])", r"[\1]", path))
