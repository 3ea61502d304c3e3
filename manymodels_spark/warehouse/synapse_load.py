"""One load into a dedicated SQL pool, once its rows are staged:
in place within a transaction, or beside and then in.

The pool allows no DDL within a transaction. So a load by SWITCH or RENAME is written into a journal when all
its rows are there and checked, and whoever comes next finishes what a killed run left in it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from manymodels_spark.errors import WarehouseError
from manymodels_spark.warehouse import synapse_sql as sql
from manymodels_spark.warehouse.base import Export, Loaded, is_loaded, row_name
from manymodels_spark.warehouse.checksum import Checksum
from manymodels_spark.warehouse.refused import NUMBER, Trial, refused_row
from manymodels_spark.warehouse.synapse_names import Layout, Names, name
from manymodels_spark.warehouse.synapse_pool import Pool, driver_errors


@dataclass(frozen=True)
class Load:
    """Staged rows, and what the ledger is to say of them; `before` is what it said when the load began."""

    pool: Pool
    names: Names
    export: Export
    layout: Layout
    row: Loaded
    sent: Checksum
    before: Loaded | None
    again: bool

    def run(self, way: str) -> bool:
        """Put the rows in place; False where another load has brought this version meanwhile."""
        target = self.names.target if way == "delete_insert" else self.names["new"]
        try:
            return self._in_place() if way == "delete_insert" else self._beside(way)
        except driver_errors("DataError", "IntegrityError") as error:
            raise self._refusal(target, error) from error

    def _in_place(self) -> bool:
        names = self.names
        with self.pool.transaction(names.table, self.row.run_id):
            if self._is_loaded():
                return False
            self.pool.run(sql.delete(names.target, self._affected(names.table)))
            self._bring(names.target)
            self._compare(names.target, names.table)
            self.pool.run(sql.note(names.schema, self.row))
        return True

    def _beside(self, way: str) -> bool:
        names, new = self.names, self.names["new"]
        if way == "switch":
            self.pool.run(sql.clone(new, names.target, self.layout))
        else:
            self.pool.run(sql.create(new, self.export.schema, self.layout))
        if self.export.replaces is not None:
            self._keep(new)
        self._bring(new)
        self._compare(new, names.plain("new"))
        total = self.pool.count(new)
        with self.pool.transaction(names.table, self.row.run_id):
            if self._is_loaded():
                return False
            self._require_no_other()
            self.pool.run(sql.intend(names.schema, self.row, way, names.token, total))
        Placing(self.pool, names, self.row, total).finish(way)
        return True

    def _keep(self, new: str) -> None:
        """The rows that the export does not replace, in the columns that both tables have."""
        columns = set(self.pool.columns_of(self.names.plain("new")))
        shared = [column for column in self.pool.columns_of(self.names.table) if column in columns]
        where = self._affected(self.names.table, keep=True)
        self.pool.run(sql.insert(new, shared, sql.rows_of(self.names.target, shared, where)))

    def _is_loaded(self) -> bool:
        """Whether another load has come since this one began; asked when no further one can come."""
        last = self.pool.newest(self.row.spec, self.names.table)
        return not self.again and last != self.before and is_loaded(last, self.export, self.names.table)

    def _require_no_other(self) -> None:
        if self.pool.rows(sql.pending(self.names.schema, self.names.table)):
            raise WarehouseError(
                f"{self.names.table}: another load is just being put in place. Run the load again"
            )

    def _bring(self, table: str) -> None:
        columns = self.export.schema.names
        self.pool.run(sql.insert(table, columns, sql.rows_of(self.names["rows"], columns)))

    def _compare(self, table: str, bare: str) -> None:
        """Raise WarehouseError unless the rows that arrived are those that were staged."""
        schema = self.export.schema
        found = self.pool.rows(sql.digest(table, schema, self.layout, self._affected(bare)))
        self.sent.require(Checksum.of(found[0]), schema.names, self.names.table)

    def _affected(self, bare: str, *, keep: bool = False) -> str:
        if self.export.replaces is None:
            return ""
        return sql.affected(self.names, self.export.schema, self.export.key, on=bare, keep=keep)

    def _refusal(self, target: str, error: Exception) -> WarehouseError:
        """The error that names the refused row; inserts are tried and taken back."""
        self.pool.run(sql.number(self.names["tried"], self.names["rows"], self.export.schema.names, NUMBER))
        trial = Trial(self.names["tried"], self.export.schema.names, self._try(target), self._first, name)
        found = refused_row(trial, self.export.rows)
        what = row_name(dict(found[0]), self.export.key, found[1]) if found else "the rows"
        return WarehouseError(
            f"Synapse refused {what} of table {self.names.table}: {error}. Nothing was changed in the table"
        )

    def _try(self, target: str) -> Callable[[str], bool]:
        def accepts(rows: str) -> bool:
            self.pool.run(sql.BEGIN)
            try:
                self.pool.run(sql.insert(target, self.export.schema.names, rows))
            except driver_errors("DataError", "IntegrityError"):
                return False
            finally:
                self.pool.rollback()
            return True

        return accepts

    def _first(self, query: str) -> Mapping[str, object]:
        cursor = self.pool.run(query)
        return dict(
            zip([column[0] for column in cursor.description or ()], cursor.fetchone() or (), strict=False)
        )


@dataclass(frozen=True)
class Placing:
    """A journalled load on its way into place; any step may be found done already.
    `total` is its table's rows.
    """

    pool: Pool
    names: Names
    row: Loaded
    total: int

    def finish(self, way: str) -> None:
        """Bring the load in place and note it in the ledger."""
        names = self.names
        if way == "switch":
            self._switch()
        else:
            self._rename()
        with self.pool.transaction(names.table, self.row.run_id):
            if any(row[8] == names.token for row in self.pool.rows(sql.pending(names.schema, names.table))):
                self.pool.run(sql.note(names.schema, self.row))
                self.pool.run(sql.settle(names.schema, names.table, names.token))

    def _switch(self) -> None:
        """Take the new rows under a name that nobody else knows first:
        a switch done twice would empty the target.
        """
        prefix = (self.names.plain("new"), self.names.plain("claimed"))
        found = [table for table in self.pool.work_tables(self.names.table) if table.startswith(prefix)]
        if not found:
            return
        claimed = f"{self.names.plain('claimed')}_{secrets.token_hex(2)}"
        self.pool.run(sql.rename(self.pool.table(found[0]), claimed))
        if self.total == 0 or self.pool.count(self.pool.table(claimed)):
            self.pool.run(sql.switch(self.pool.table(claimed), self.names.target))

    def _rename(self) -> None:
        if not self.pool.columns_of(self.names.plain("new")):
            return
        if self.pool.columns_of(self.names.table):
            self.pool.run(sql.rename(self.names.target, self.names.plain("old")))
        self.pool.run(sql.rename(self.names["new"], self.names.table))
