"""Synapse: a dedicated SQL pool that reads the exported files itself (the serverless endpoint is next door).

No row passes through Python: COPY INTO stages the files with the pool's managed identity, their checksum is
taken in the pool, and they are put in place as `warehouse.synapse.load` says (see `synapse_load.py`).
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, ClassVar, Literal

import pyarrow as pa

from manymodels_spark.errors import WarehouseError
from manymodels_spark.spec.places import Synapse
from manymodels_spark.warehouse import synapse_sql as sql
from manymodels_spark.warehouse.base import LEDGER, Export, Loaded, Warehouse, is_loaded, require_own
from manymodels_spark.warehouse.checksum import Checksum
from manymodels_spark.warehouse.synapse_connected import ConnectedToSynapse
from manymodels_spark.warehouse.synapse_load import Load, Placing
from manymodels_spark.warehouse.synapse_names import Layout, Names, require_distinct
from manymodels_spark.warehouse.synapse_pool import Pool, connect, driver_errors, in_words
from manymodels_spark.warehouse.synapse_serverless import SynapseServerless

_WORK = re.compile(r"__(rows|keys|tried|new|old|claimed)_(?P<day>\d{8})[0-9a-f]{8}(_[0-9a-f]{4})?\Z")
_KEEP_DAYS = 2


def open_synapse(part: Synapse, spec: str, connecting: Callable[[Synapse], Any] = connect) -> Warehouse:
    """The dedicated pool, or the serverless endpoint where the spec says so.

    `connecting` gives a DB-API connection that commits each statement. Raises WarehouseError where it cannot.
    """
    pool = Pool(connecting(part), part.schema_name)
    return (
        SynapseServerless(pool, spec) if part.serverless else SynapseWarehouse(pool, spec, part, connecting)
    )


class SynapseWarehouse(ConnectedToSynapse):
    """A schema of a dedicated SQL pool. Loads of one table wait for each other where they change it."""

    name = "Synapse"
    reads: ClassVar[Literal["local", "remote", "delta"]] = "remote"

    def __init__(
        self, pool: Pool, spec: str, part: Synapse, connecting: Callable[[Synapse], Any] = connect
    ) -> None:
        super().__init__(pool, spec)
        self.part, self._connecting = part, connecting
        with in_words(LEDGER):
            pool.make_schema()
            for book in (LEDGER, sql.JOURNAL, sql.LOCKS):
                if not pool.columns_of(book):
                    pool.run(sql.create_book(pool.schema, book))

    def last(self, table: str) -> Loaded | None:
        """See Warehouse. What a killed run left half done is finished first."""
        with in_words(table):
            self._settle(table)
            return self._pool.newest(self.spec, table) if self._pool.columns_of(table) else None

    def load(self, table: str, export: Export, run_id: str, *, again: bool = False) -> bool:
        """See Warehouse. A session that ends on the way, as its token does,
        is opened anew once and the load begun again.
        """
        require_distinct(export.schema)
        try:
            return self._load(table, export, run_id, again)
        except WarehouseError as error:
            if not isinstance(error.__cause__, driver_errors("OperationalError", "InterfaceError")):
                raise
            with contextlib.suppress(Exception):  # it is gone already
                self._pool.connection.close()
            self._pool.connection = self._connecting(self.part)
            return self._load(table, export, run_id, again)

    def _load(self, table: str, export: Export, run_id: str, again: bool) -> bool:
        names = Names(self._pool.schema, table, _token())
        layout = Layout.of(self.part.distribution, export.schema)
        last = self.last(table)
        if not again and is_loaded(last, export, table):
            return False
        with in_words(table):
            try:
                before = self._pool.newest(self.spec, table)
                self._make(names, export, layout, last, again)
                sent = self._stage(names, export, layout)
                row = Loaded(
                    self.spec,
                    table,
                    export.source,
                    export.version,
                    sent.rows,
                    sent.text,
                    datetime.now(UTC),
                    run_id,
                )
                return Load(self._pool, names, export, layout, row, sent, before, again).run(self.part.load)
            finally:
                self._clear(names)

    def _make(self, names: Names, export: Export, layout: Layout, last: Loaded | None, again: bool) -> None:
        """The table as the export requires it: created, or extended by the columns that are new."""
        pool, table = self._pool, names.table
        present = {column.lower() for column in pool.columns_of(table)}
        if not present:
            pool.run(sql.create(names.target, export.schema, layout))
            return
        if not again:
            others = [str(row[0]) for row in pool.rows(sql.other_specs(pool.schema, self.spec, table))]
            require_own(table, 0 if last else pool.count(names.target), last, others)
        for field in export.schema:
            if field.name.lower() not in present:
                pool.run(sql.add_column(names.target, field, layout))

    def _stage(self, names: Names, export: Export, layout: Layout) -> Checksum:
        """Copy rows and keys into work tables. Gives the checksum of the rows that arrived there."""
        self._copy(names["rows"], export.schema, export.files, layout)
        if export.replaces is not None:
            keys = pa.schema([export.schema.field(column) for column in export.key])
            self._copy(names["keys"], keys, export.replaces, layout)
        sent = Checksum.of(self._pool.rows(sql.digest(names["rows"], export.schema, layout))[0])
        expected = export.checksum or Checksum(export.rows, sent.columns, sent.mixed)
        expected.require(sent, export.schema.names, names.table)
        return sent

    def _copy(self, table: str, schema: pa.Schema, files: tuple[str, ...], layout: Layout) -> None:
        self._pool.run(sql.create(table, schema, layout.staging(schema.names)))
        if files:
            self._pool.run(sql.copy_into(table, schema.names, files))

    def _settle(self, table: str) -> None:
        """Finish the loads that the journal holds: complete and checked, and perhaps not yet in place."""
        for row in self._pool.rows(sql.pending(self._pool.schema, table)):
            spec, _, source, version, rows, checksum, run_id, way, token, total = row
            loaded = Loaded(spec, table, source, version, rows, checksum, datetime.now(UTC), run_id)
            names = Names(self._pool.schema, table, token)
            Placing(self._pool, names, loaded, int(total)).finish(way)
            self._clear(names)

    def _clear(self, names: Names) -> None:
        """Drop the work tables of this load, and those that a killed one left days ago."""
        today = _today()
        # The load's own outcome is what matters, and the next one clears again.
        with contextlib.suppress(Exception):
            kept = [str(row[8]) for row in self._pool.rows(sql.pending(names.schema, names.table))]
            for found in self._pool.work_tables(names.table):
                mark = _WORK.fullmatch(found.removeprefix(names.table))
                if mark is None or any(token in found for token in kept):
                    continue
                age = today - datetime.strptime(mark["day"], "%Y%m%d").date()
                if names.token in found or age.days > _KEEP_DAYS:
                    self._pool.run(sql.drop(self._pool.table(found)))


def _token() -> str:
    """What sets one load's work tables apart: the day, for those that come to clear, and chance."""
    return f"{_today():%Y%m%d}{secrets.token_hex(4)}"


def _today() -> date:
    return datetime.now(UTC).date()
