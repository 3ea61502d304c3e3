"""Postgres: the exported rows go by COPY into a temporary table and from there,
in one transaction, into place.

Rows pass through Python in batches of fixed size, as CSV that Arrow writes; no row is ever a Python object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from manymodels_spark.errors import WarehouseError
from manymodels_spark.spec.places import Postgres
from manymodels_spark.spec.source import resolve
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
from manymodels_spark.warehouse.digest import batch_checksum, empty_checksum, sql_digest
from manymodels_spark.warehouse.files import batches
from manymodels_spark.warehouse.postgres_connection import connect, in_words
from manymodels_spark.warehouse.postgres_rows import as_csv, cell, column_type, definition, listed, refuse_nul
from manymodels_spark.warehouse.postgres_views import OwnView
from manymodels_spark.warehouse.refused import NUMBER, Trial, refused_row

if TYPE_CHECKING:
    import pandas as pd
    import psycopg

_STAGE, _KEYS, _NUMBERED = "__stage", "__keys", "__numbered"


class PostgresWarehouse(Warehouse):
    """A schema of a Postgres database (14 or newer). Loads of one table wait for each other."""

    name = "Postgres"
    dialect = "postgres"

    def __init__(self, part: Postgres, spec: str) -> None:
        super().__init__(spec)
        self.schema = part.schema_name
        self._connection = connect(resolve(part.url))
        self._ledger = self._table(LEDGER)
        try:
            with self._words("Postgres could not open the warehouse"), self._connection.transaction():
                self._lock("ledger")
                self._make_ledger()
        except BaseException:
            self.close()
            raise

    def last(self, table: str) -> Loaded | None:
        """See Warehouse."""
        if not self._columns_of(table):
            return None
        condition = 'spec = %s AND "table" = %s ORDER BY loaded_at DESC, version DESC LIMIT 1'
        query = f"SELECT {listed(LEDGER_SCHEMA.names)} FROM {self._ledger} WHERE {condition}"
        with self._words("Postgres could not read the ledger"):
            row = self._run(query, [self.spec, table]).fetchone()
        return Loaded(*row) if row else None

    def load(self, table: str, export: Export, run_id: str, *, again: bool = False) -> bool:
        """See Warehouse."""
        what = f"Postgres could not load {table} (nothing was changed in it)"
        with self._words(what), self._connection.transaction():
            self._lock(table)
            if not again and is_loaded(self.last(table), export, table):
                return False
            self._make(table, export, again)
            sent = self._stage(export)
            self._put(table, export, sent)
            self._note(table, export, sent, run_id)
        return True

    def fetch(self, sql: str) -> pd.DataFrame:
        """See Warehouse."""
        import pandas as pd

        with self._words("Postgres refused the query"):
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
        """See Warehouse. A view that keeps its columns is replaced where it stands; one with other columns is
        made anew in the same transaction, with its owner, its comment and everybody's rights.
        """
        with self._words(f"Postgres refused view {name}"), self._connection.transaction():
            self._lock(name)
            OwnView(self._connection, self.schema, name).put(select)

    def require_replaceable(self, views: Mapping[str, Sequence[str]]) -> None:
        """See Warehouse."""
        with self._words("Postgres could not look at the views"):
            for name, columns in views.items():
                OwnView(self._connection, self.schema, name).require_replaceable(columns)

    def close(self) -> None:
        """See Warehouse."""
        self._connection.close()

    def _words(self, what: str) -> AbstractContextManager[None]:
        return in_words(self._connection, self.schema, what)

    def _make_ledger(self) -> None:
        """Create schema and ledger where they are missing. What is there is not asked for: the role may not
        be allowed to create it.
        """
        if not self._run("SELECT 1 FROM pg_namespace WHERE nspname = %s", [self.schema]).fetchone():
            self._run(f"CREATE SCHEMA {quote(self.schema)}")
        if not self._columns_of(LEDGER):
            self._run(f"CREATE TABLE {self._ledger} ({definition(LEDGER_SCHEMA)})")

    def _run(self, sql: str, values: Sequence[object] | None = None) -> psycopg.Cursor[Any]:
        return self._connection.execute(sql, values)

    def _lock(self, table: str) -> None:
        """Wait until no other load of this table is under way;
        the end of the transaction gives the lock back.
        """
        self._run("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"manymodels {self.schema}.{table}"])

    def _table(self, name: str) -> str:
        return f"{quote(self.schema)}.{quote(name)}"

    def _columns_of(self, table: str) -> list[str]:
        """The columns of a table, also of one that this role has no right on; none where it is not there."""
        sql = (
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 "
            "AND NOT attisdropped ORDER BY attnum"
        )
        return [row[0] for row in self._run(sql, [self._table(table)]).fetchall()]

    def _make(self, table: str, export: Export, again: bool) -> None:
        """The table as the export requires it: created with an index on the key, or with new columns."""
        present, target = self._columns_of(table), self._table(table)
        if not present:
            self._run(f"CREATE TABLE {target} ({definition(export.schema)})")
            if export.key:
                self._run(f"CREATE INDEX ON {target} ({listed(export.key)})")
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
                self._run(f"ALTER TABLE {target} ADD COLUMN {definition(pa.schema([field]))}")

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
        self._run(f"CREATE TEMP TABLE {table} ({definition(schema)}) ON COMMIT DROP")
        sent = empty_checksum(schema)
        with self._connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT csv)") as copy:
            for batch in batches(files, schema):
                refuse_nul(batch, key)
                sent += batch_checksum(batch)
                copy.write(as_csv(batch))
        return sent

    def _put(self, table: str, export: Export, sent: Checksum) -> None:
        """Take the old rows away, bring the new ones and compare them with what was sent."""
        import psycopg

        names, target = export.schema.names, self._table(table)
        Checksum(export.rows, sent.columns, sent.mixed).require(sent, names, table)
        self._run(f"DELETE FROM {target} AS t {self._affected(export)}")
        try:
            with self._connection.transaction():
                self._run(f"INSERT INTO {target} ({listed(names)}) SELECT {listed(names)} FROM {_STAGE}")
        except (psycopg.errors.IntegrityError, psycopg.errors.DataError) as error:
            raise self._refusal(table, export, error) from error
        cells = ", ".join(
            f"t.{quote(field.name)}::{column_type(field)} AS {quote(field.name)}" for field in export.schema
        )
        arrived = self._run(
            sql_digest(
                export.schema, f"(SELECT {cells} FROM {target} AS t {self._affected(export)}) AS t", cell
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
        self._run(f"INSERT INTO {self._ledger} ({listed(LEDGER_SCHEMA.names)}) VALUES ({marks})", row)

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
                    self._run(f"INSERT INTO {self._table(table)} ({listed(names)}) {rows}")
            except (psycopg.errors.IntegrityError, psycopg.errors.DataError):
                return False
            return True

        return accepts

    def _first(self, sql: str) -> Mapping[str, object]:
        cursor = self._run(sql)
        return dict(
            zip([column.name for column in cursor.description or ()], cursor.fetchone() or (), strict=False)
        )
