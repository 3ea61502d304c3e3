"""Postgres: the exported rows go by COPY into a temporary table and from there, in one transaction, into
place.

Rows pass through Python in batches of fixed size, as CSV that Arrow writes; no row is ever a Python object.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from manymodels_spark.errors import WarehouseError
from manymodels_spark.spec.places import Postgres
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
)
from manymodels_spark.warehouse.checksum import Checksum
from manymodels_spark.warehouse.digest import (
    POSTGRES_CELLS,
    batch_checksum,
    cell_kind,
    empty_checksum,
    sql_digest,
)
from manymodels_spark.warehouse.files import batches
from manymodels_spark.warehouse.refused import NUMBER, Trial, refused_row

if TYPE_CHECKING:
    import pandas as pd
    import psycopg

_CONNECT_SECONDS = 5
_CSV = csv.WriteOptions(include_header=False)
_STAGE, _KEYS, _NUMBERED = "__stage", "__keys", "__numbered"


class PostgresWarehouse(Warehouse):
    """A schema of a Postgres database (14 or newer). Loads of one table wait for each other."""

    name = "Postgres"
    dialect = "postgres"

    def __init__(self, part: Postgres, spec: str) -> None:
        super().__init__(spec)
        self.schema = part.schema_name
        self._connection = _connect(resolve(part.url))
        self._ledger = self._table(LEDGER)
        with self._connection.transaction():
            self._lock("ledger")
            self._run(f"CREATE SCHEMA IF NOT EXISTS {quote(self.schema)}")
            self._run(f"CREATE TABLE IF NOT EXISTS {self._ledger} ({_definition(LEDGER_SCHEMA)})")

    def last(self, table: str) -> Loaded | None:
        """See Warehouse."""
        if not self._columns_of(table):
            return None
        names = ", ".join(quote(name) for name in LEDGER_SCHEMA.names)
        condition = 'spec = %s AND "table" = %s ORDER BY loaded_at DESC, version DESC LIMIT 1'
        row = self._run(
            f"SELECT {names} FROM {self._ledger} WHERE {condition}", [self.spec, table]
        ).fetchone()
        return Loaded(*row) if row else None

    def load(self, table: str, export: Export, run_id: str, *, again: bool = False) -> bool:
        """See Warehouse."""
        import psycopg

        try:
            with self._connection.transaction():
                self._lock(table)
                if not again and is_loaded(self.last(table), export, table):
                    return False
                self._make(table, export, again)
                sent = self._stage(export)
                self._put(table, export, sent)
                self._note(table, export, sent, run_id)
        except psycopg.Error as error:
            raise WarehouseError(
                f"Postgres could not load {table}: {error}. Nothing was changed in the table"
            ) from error
        return True

    def fetch(self, sql: str) -> pd.DataFrame:
        """See Warehouse."""
        import pandas as pd

        cursor = self._run(sql)
        names = [column.name for column in cursor.description or ()]
        return pd.DataFrame(cursor.fetchall() if names else [], columns=names)

    def tables(self) -> set[str]:
        """See Warehouse."""
        return {
            row[0]
            for row in self._run(
                "SELECT tablename FROM pg_tables WHERE schemaname = %s", [self.schema]
            ).fetchall()
        }

    def put_view(self, name: str, select: str) -> None:
        """See Warehouse. A view whose columns change cannot be replaced in Postgres: it is made anew, in one
        transaction.
        """
        import psycopg

        try:
            with self._connection.transaction():
                self._lock(name)
                self._run(f"DROP VIEW IF EXISTS {self._table(name)}")
                self._run(f"CREATE VIEW {self._table(name)} AS {select}")
        except psycopg.Error as error:
            raise WarehouseError(f"Postgres refused view {name}: {error}") from error

    def close(self) -> None:
        """See Warehouse."""
        self._connection.close()

    def _run(self, sql: str, values: Sequence[object] | None = None) -> psycopg.Cursor[Any]:
        return self._connection.execute(sql, values)

    def _lock(self, table: str) -> None:
        """Wait until no other load of this table is under way; the end of the transaction gives the lock
        back.
        """
        self._run("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"manymodels {self.schema}.{table}"])

    def _table(self, name: str) -> str:
        return f"{quote(self.schema)}.{quote(name)}"

    def _columns_of(self, table: str) -> list[str]:
        sql = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
        return [row[0] for row in self._run(sql, [self.schema, table]).fetchall()]

    def _make(self, table: str, export: Export, again: bool) -> None:
        """The table as the export wants it: created with an index on the key, or extended by new columns."""
        present, target = self._columns_of(table), self._table(table)
        if not present:
            self._run(f"CREATE TABLE {target} ({_definition(export.schema)})")
            if export.key:
                self._run(f"CREATE INDEX ON {target} ({_listed(export.key)})")
            return
        others = self._run(
            f'SELECT DISTINCT spec FROM {self._ledger} WHERE "table" = %s AND spec <> %s', [table, self.spec]
        )
        if not again:
            rows = self._run(f"SELECT count(*) FROM {target}").fetchone()
            require_own(
                table, rows[0] if rows else 0, self.last(table), [row[0] for row in others.fetchall()]
            )
        for field in export.schema:
            if field.name not in present:
                self._run(f"ALTER TABLE {target} ADD COLUMN {_definition(pa.schema([field]))}")

    def _stage(self, export: Export) -> Checksum:
        """Copy rows and keys into temporary tables. Gives the checksum of the rows as they were sent."""
        sent = self._copy(_STAGE, export.files, export.schema, export.key)
        if export.replaces is not None:
            self._copy(
                _KEYS,
                export.replaces,
                pa.schema([export.schema.field(name) for name in export.key]),
                export.key,
            )
            self._run(f"ANALYZE {_KEYS}")
        return sent

    def _copy(self, table: str, files: Sequence[str], schema: pa.Schema, key: tuple[str, ...]) -> Checksum:
        self._run(f"CREATE TEMP TABLE {table} ({_definition(schema)}) ON COMMIT DROP")
        sent = empty_checksum(schema)
        with self._connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT csv)") as copy:
            for batch in batches(files, schema):
                _refuse_nul(batch, key)
                sent += batch_checksum(batch)
                copy.write(_csv(batch))
        return sent

    def _put(self, table: str, export: Export, sent: Checksum) -> None:
        """Take the old rows away, bring the new ones and compare them with what was sent."""
        import psycopg

        names, target = export.schema.names, self._table(table)
        Checksum(export.rows, sent.columns, sent.mixed).require(sent, names, table)
        self._run(f"DELETE FROM {target} AS t {self._affected(export)}")
        try:
            with self._connection.transaction():
                self._run(f"INSERT INTO {target} ({_listed(names)}) SELECT {_listed(names)} FROM {_STAGE}")
        except (psycopg.errors.IntegrityError, psycopg.errors.DataError) as error:
            raise self._refusal(table, export, error) from error
        cells = ", ".join(
            f"t.{quote(field.name)}::{_type(field)} AS {quote(field.name)}" for field in export.schema
        )
        arrived = self._run(
            sql_digest(
                export.schema, f"(SELECT {cells} FROM {target} AS t {self._affected(export)}) AS t", _cell
            )
        )
        sent.require(Checksum.of(arrived.fetchone() or ()), names, table)

    def _affected(self, export: Export) -> str:
        """The condition for the rows that the export replaces, on a table called t."""
        if export.replaces is None:
            return ""
        first, *rest = (quote(name) for name in export.key)
        same = [f"k.{first} = t.{first}", *(f"k.{name} IS NOT DISTINCT FROM t.{name}" for name in rest)]
        return f"WHERE EXISTS (SELECT 1 FROM {_KEYS} AS k WHERE {' AND '.join(same)})"

    def _note(self, table: str, export: Export, sent: Checksum, run_id: str) -> None:
        marks = "%s, %s, %s, %s, %s, %s, now() AT TIME ZONE 'UTC', %s"
        row = [self.spec, table, export.source, export.version, sent.rows, sent.text, run_id]
        self._run(f"INSERT INTO {self._ledger} ({_listed(LEDGER_SCHEMA.names)}) VALUES ({marks})", row)

    def _refusal(self, table: str, export: Export, error: Exception) -> WarehouseError:
        """The error that names the refused row; inserts are tried and taken back within the transaction."""
        self._run(
            f"CREATE TEMP TABLE {_NUMBERED} ON COMMIT DROP AS SELECT row_number() OVER () AS {NUMBER}, * "
            f"FROM {_STAGE}"
        )
        self._run(f"CREATE INDEX ON {_NUMBERED} ({NUMBER})")
        trial = Trial(
            _NUMBERED, export.schema.names, self._try(table, export.schema.names), self._first, quote
        )
        found = refused_row(trial, export.rows)
        what = row_name(dict(found[0]), export.key, found[1]) if found else "the rows"
        return WarehouseError(
            f"Postgres refused {what} of table {table}: {error}. Nothing was changed in the table"
        )

    def _try(self, table: str, names: Sequence[str]) -> Callable[[str], bool]:
        import psycopg

        def accepts(rows: str) -> bool:
            try:
                with self._connection.transaction(force_rollback=True):
                    self._run(f"INSERT INTO {self._table(table)} ({_listed(names)}) {rows}")
            except (psycopg.errors.IntegrityError, psycopg.errors.DataError):
                return False
            return True

        return accepts

    def _first(self, sql: str) -> Mapping[str, object]:
        cursor = self._run(sql)
        return dict(
            zip([column.name for column in cursor.description or ()], cursor.fetchone() or (), strict=False)
        )


def _connect(url: str) -> psycopg.Connection[Any]:
    """A connection that commits each statement outside a transaction. Raises WarehouseError, without the
    password.
    """
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    scheme, _, rest = url.partition("://")
    info = f"{scheme.partition('+')[0]}://{rest}" if rest else url
    try:
        place = conninfo_to_dict(info)
    except psycopg.Error:
        raise WarehouseError(
            "warehouse.postgres.url cannot be read. Expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from None
    try:
        options = "-c TimeZone=UTC -c DateStyle=ISO"
        return psycopg.connect(
            info, autocommit=True, connect_timeout=_CONNECT_SECONDS, options=options, prepare_threshold=None
        )
    except psycopg.Error as error:
        where = f"{place.get('host', 'localhost')}:{place.get('port', 5432)}/{place.get('dbname', '')}"
        raise WarehouseError(
            f"Postgres at {where} cannot be reached as user {place.get('user', '?')}: "
            f"{str(error).strip()}. Check that it "
            "runs, that this machine may reach it, and the user and password (warehouse: postgres: url)"
        ) from error


def _csv(batch: pa.Table) -> memoryview:
    """A batch as Postgres reads it: NULL is nothing, an empty text is two quotes."""
    columns = [_hex(column) if pa.types.is_binary(column.type) else column for column in batch.columns]
    buffer = io.BytesIO()
    csv.write_csv(pa.table(columns, names=[f"c{number}" for number in range(len(columns))]), buffer, _CSV)
    return buffer.getbuffer()


def _hex(column: pa.ChunkedArray) -> pa.Array:
    return pa.array(
        [None if cell is None else "\\x" + cell.hex() for cell in column.to_pylist()], pa.string()
    )


def _refuse_nul(batch: pa.Table, key: tuple[str, ...]) -> None:
    """Postgres holds any text but that with a NUL character: name the row before the server breaks off."""
    for field in batch.schema:
        if not pa.types.is_string(field.type):
            continue
        found = pc.index(pc.match_substring(batch.column(field.name), "\x00"), True).as_py()
        if found >= 0:
            row = row_name(batch.slice(found, 1).to_pylist()[0], key, field.name)
            raise WarehouseError(
                f"Postgres cannot hold {row}: it has a NUL character. Remove it at the source"
            )


def _cell(field: pa.Field) -> str:
    return POSTGRES_CELLS[cell_kind(field.type)].format(quote(field.name))


def _type(field: pa.Field) -> str:
    return types.sql_type(field, types.POSTGRES)


def _definition(schema: pa.Schema) -> str:
    return ", ".join(f"{quote(field.name)} {_type(field)}" for field in schema)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(quote(name) for name in names)
