"""A connection to Synapse: statements one by one, transactions that wait for each other, and errors in words.

Sign-in is by Microsoft Entra, as the platform does (`spark.credentials`): no secret is in a spec, a statement
or a message. This module must know nothing of exports.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from manymodels_spark.errors import WarehouseError
from manymodels_spark.spark.credentials import credential
from manymodels_spark.spec.places import Synapse
from manymodels_spark.spec.source import resolve
from manymodels_spark.warehouse import synapse_sql as sql
from manymodels_spark.warehouse.base import Loaded
from manymodels_spark.warehouse.synapse_names import name, qualified

_LOGIN_SECONDS = 30
_SERVER = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(,\d{1,5})?\Z")


class Pool:
    """One schema of a database, over a DB-API connection that commits each
    statement outside a transaction.
    """

    def __init__(self, connection: Any, schema: str) -> None:
        self.connection, self.schema = connection, schema

    def run(self, statement: str) -> Any:
        """Run one statement; gives the cursor."""
        cursor = self.connection.cursor()
        cursor.execute(statement)
        return cursor

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        return [tuple(row) for row in self.run(statement).fetchall()]

    def count(self, table: str) -> int:
        """The rows of a table."""
        return int(self.rows(sql.count(table))[0][0])

    def columns_of(self, table: str) -> list[str]:
        """The columns of a table by its bare name, in order; none where there is no such table."""
        return [str(row[0]) for row in self.rows(sql.columns_of(self.schema, table))]

    def work_tables(self, table: str) -> list[str]:
        """The bare names of the tables that loads of this one work with."""
        return [str(row[0]) for row in self.rows(sql.tables_like(self.schema, table))]

    def newest(self, spec: str, table: str) -> Loaded | None:
        """The newest row of the ledger."""
        rows = self.rows(sql.newest(self.schema, spec, table))
        return Loaded(*rows[0]) if rows else None

    def table(self, bare: str) -> str:
        """A table as statements name it."""
        return qualified(self.schema, bare)

    def make_schema(self) -> None:
        """Create the schema where it is not there."""
        if not self.rows(sql.schema_exists(self.schema)):
            self.run(f"CREATE SCHEMA {name(self.schema)}")

    @contextmanager
    def transaction(self, table: str, run_id: str) -> Iterator[None]:
        """A transaction that no other load of this table has open at the same time."""
        if not self.rows(sql.has_lock(self.schema, table))[0][0]:
            self.run(sql.make_lock(self.schema, table))
        self.run(sql.BEGIN)
        try:
            self.run(sql.lock(self.schema, table, run_id))
            yield
            self.run(sql.COMMIT)
        except BaseException:
            self.rollback()
            raise

    def rollback(self) -> None:
        """Take the open transaction back; a connection that is gone has done so already."""
        with contextlib.suppress(Exception):
            self.run(sql.ROLLBACK)


def connect(part: Synapse) -> Any:
    """A connection to the server of the spec. Raises WarehouseError where it cannot be made."""
    server = resolve(part.server).removeprefix("tcp:")
    if not _SERVER.match(server):
        raise WarehouseError(
            "warehouse.synapse.server is no server's name. Expected e.g. WORKSPACE.sql.azuresynapse.net, "
            "without options"
        )
    try:
        import mssql_python
        from azure.core.exceptions import AzureError
    except ImportError as error:
        raise WarehouseError(
            f"loading into Synapse needs {error.name}. Run: pip install 'manymodels-spark[azure]'"
        ) from error
    database = part.database.replace("}", "}}")
    options = f"Server={server};Database={{{database}}};Encrypt=yes;TrustServerCertificate=no"
    try:
        return mssql_python.connect(
            options, autocommit=True, timeout=_LOGIN_SECONDS, token_provider=credential()
        )
    except (mssql_python.Error, AzureError, RuntimeError, OSError) as error:
        raise WarehouseError(
            f"Synapse at {server}, database {part.database}, cannot be reached: {error}. Check that the pool "
            "is not paused, that its firewall lets this machine in, and that this identity is a user of the "
            "database (CREATE USER [...] FROM EXTERNAL PROVIDER)"
        ) from None


def driver_errors(*kinds: str) -> tuple[type[Exception], ...]:
    """The driver's exceptions by name, `Error` by default; none where the driver is not installed."""
    try:
        import mssql_python
    except ImportError:
        return ()
    return tuple(getattr(mssql_python, kind) for kind in kinds or ("Error",))


@contextmanager
def in_words(table: str) -> Iterator[None]:
    """Turn the driver's errors into a WarehouseError that says what became of the table."""
    try:
        yield
    except driver_errors() as error:
        raise WarehouseError(
            f"Synapse could not load {table}: {error}. The table is as it was, or the load was complete and "
            "the next one puts it in place. Run the load again"
        ) from error
