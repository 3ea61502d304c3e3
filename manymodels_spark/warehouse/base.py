"""What every warehouse offers: exactly-once loads of exported Parquet files, and queries for people.

An `Export` is one exact version of a lake table; a `Warehouse` puts it in place whole or not at all and notes
it in a ledger within the same transaction. This module must know neither Spark nor Delta nor the lake.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import pyarrow as pa

from manymodels_spark.errors import WarehouseError
from manymodels_spark.warehouse.checksum import Checksum

if TYPE_CHECKING:
    import pandas as pd

LEDGER = "manymodels_loads"
LEDGER_SCHEMA = pa.schema(
    [
        pa.field("spec", pa.string()),
        pa.field("table", pa.string()),
        pa.field("source", pa.string()),
        pa.field("version", pa.int64()),
        pa.field("rows", pa.int64()),
        pa.field("checksum", pa.string()),
        pa.field("loaded_at", pa.timestamp("us")),
        pa.field("run_id", pa.string()),
    ]
)


@dataclass(frozen=True)
class Export:
    """One version of a lake table as Parquet files, and what must be true once they are loaded.

    `source` is the table's identity, which changes when it is created anew, so that its versions start again.
    `replaces` are files with the keys whose rows are taken away before the new rows come, and `base` the
    version that this brings forward; None and None mean all rows and any version. Times in the files are UTC.
    `checksum` is None where the warehouse computes it from the files itself.
    """

    source: str
    version: int
    schema: pa.Schema
    rows: int
    files: tuple[str, ...]
    key: tuple[str, ...] = ()
    replaces: tuple[str, ...] | None = None
    base: int | None = None
    checksum: Checksum | None = None


@dataclass(frozen=True)
class Loaded:
    """A row of the ledger: what was loaded, when and by which run. `rows` are those that the load brought."""

    spec: str
    table: str
    source: str
    version: int
    rows: int
    checksum: str
    loaded_at: datetime
    run_id: str


class Warehouse(ABC):
    """One warehouse, connected for one spec. Use it in a `with` statement.

    `reads` says what it is given: files on this machine, files in the lake's storage,
    or the Delta table itself.
    """

    name: ClassVar[str]
    dialect: ClassVar[str]
    reads: ClassVar[Literal["local", "remote", "delta"]] = "local"

    def __init__(self, spec: str) -> None:
        self.spec = spec

    @abstractmethod
    def last(self, table: str) -> Loaded | None:
        """The newest load of one of this spec's tables.

        Args:
            table: its bare name in the warehouse.

        Returns:
            A row of the ledger, or None where there is none.
        """

    @abstractmethod
    def load(self, table: str, export: Export, run_id: str, *, again: bool = False) -> bool:
        """Put the export in place of what it replaces, within one transaction.

        Args:
            table: its bare name in the warehouse.
            export: one version of the lake's table.
            run_id: of the load, for the ledger.
            again: load it whatever the ledger says.

        Returns:
            False where the ledger already has this version, and nothing was done.

        Raises:
            WarehouseError: the warehouse cannot be reached, refuses a row (which is named) or holds other
                rows than were exported; the table is then as before.
        """

    @abstractmethod
    def fetch(self, sql: str) -> pd.DataFrame:
        """The result of a query, for people and notebooks.

        Args:
            sql: in the warehouse's dialect.

        Returns:
            Its rows, with the query's column names.

        Raises:
            WarehouseError: the query is refused.
        """

    @abstractmethod
    def tables(self) -> set[str]:
        """The tables that are there to make views of.

        Returns:
            Their bare names.
        """

    @abstractmethod
    def put_view(self, name: str, select: str) -> None:
        """Make a view of a query, or replace it.

        Args:
            name: of the view.
            select: the query, in the warehouse's dialect.

        Raises:
            WarehouseError: the query is refused.
        """

    def require_replaceable(self, views: Mapping[str, Sequence[str]]) -> None:  # noqa: B027
        """Asked before anything is loaded; by default views are replaced whatever stands on them.

        Args:
            views: each view's columns in order, by the view's name.

        Raises:
            WarehouseError: `put_view` could not give a view these columns because of what others built on it.
        """

    @abstractmethod
    def close(self) -> None:
        """Give the connection back."""

    def replace_table(
        self,
        name: str,
        parquet_files: tuple[str, ...],
        schema: pa.Schema,
        version: int,
        *,
        rows: int,
        source: str = "",
        run_id: str = "",
        checksum: Checksum | None = None,
    ) -> bool:
        """Load a small table whole, in place of all its rows.

        Args:
            name: its bare name in the warehouse.
            parquet_files: what to load, in the form that `reads` names.
            schema: of the files.
            version: of the lake's table.
            rows: how many the files hold.
            source: the lake table's identity.
            run_id: of the load, for the ledger.
            checksum: what must be true of the rows; None where the warehouse computes it from the files.

        Returns:
            False where this version is there already.

        Raises:
            WarehouseError: as `load`.
        """
        export = Export(source, version, schema, rows, parquet_files, checksum=checksum)
        return self.load(name, export, run_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def quote(name: str) -> str:
    """An identifier in double quotes, as standard SQL has it.

    Args:
        name: of a column, table, schema or view.

    Returns:
        The quoted name.

    Raises:
        WarehouseError: it holds NUL, which no database takes.
    """
    if "\x00" in name:
        raise WarehouseError(
            f"column or table {name!r} holds a NUL character, which no database takes in a name"
        )
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text literal of standard SQL."""
    return "'" + value.replace("'", "''") + "'"


def row_name(values: dict[str, object], key: tuple[str, ...], column: str | None) -> str:
    """A refused row as a message names it: its key, and the column with its value where that is known."""
    place = ", ".join(f"{name}={values[name]}" for name in key if name in values) or str(values)
    return f"the row with {place}" + (f", column {column} = {values[column]!r}" if column else "")


def is_loaded(last: Loaded | None, export: Export, table: str) -> bool:
    """Whether the ledger has this version, or a newer one, already.

    Raises WarehouseError where another load came between the export and now,
    so that the export no longer fits.
    """
    if last is not None and last.source == export.source and last.version >= export.version:
        return True
    if export.base is not None and (
        last is None or (last.source, last.version) != (export.source, export.base)
    ):
        now = f"version {last.version}" if last else "no load"
        raise WarehouseError(
            f"{table}: this load brings version {export.base} forward to {export.version}, but the warehouse "
            f"holds {now} by now: another load was quicker. Run the load again"
        )
    return False


def require_own(table: str, rows: int, last: Loaded | None, others: list[str]) -> None:
    """Raise WarehouseError where a load would take rows away that this spec did not bring."""
    if others:
        raise WarehouseError(
            f"table {table} is loaded by spec {others[0]} already, and one load would take away the other's "
            "rows. Give each spec a table of its own (warehouse: table)"
        )
    if last is None and rows:
        raise WarehouseError(
            f"table {table} holds {rows} rows that no load of this spec brought. Empty it, name another one "
            "(warehouse: table), or load with full=True (--full) to replace them"
        )
