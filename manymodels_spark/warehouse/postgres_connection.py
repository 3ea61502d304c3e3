"""A connection to Postgres, and its errors in words: what was refused, and which rights the role needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from manymodels_spark.errors import WarehouseError
from manymodels_spark.warehouse.base import quote

if TYPE_CHECKING:
    import psycopg

_CONNECT_SECONDS = 5


def connect(url: str) -> psycopg.Connection[Any]:
    """A connection that commits each statement outside a transaction.
    Raises WarehouseError, without the password.
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


@contextmanager
def in_words(connection: psycopg.Connection[Any], schema: str, what: str) -> Iterator[None]:
    """Turn an error of the database into a WarehouseError that begins with `what`, e.g. `Postgres could not
    load sales`; where a right is missing, it says what to grant.
    """
    import psycopg

    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise WarehouseError(f"{what}: {_said(error)}. {_grants(connection, schema)}") from error
    except psycopg.Error as error:
        raise WarehouseError(f"{what}: {_said(error)}") from error


def _said(error: psycopg.Error) -> str:
    """The server's own words without the statement, which may be pages long."""
    parts = [error.diag.message_primary, error.diag.message_detail, error.diag.message_hint]
    return ". ".join(filter(None, parts)) or str(error).strip().rstrip(".")


def _grants(connection: psycopg.Connection[Any], schema: str) -> str:
    """What an administrator runs. To replace tables and views, a role must own them;
    it need not be able to create schemas.
    """
    role, name = connection.info.user, quote(schema)
    return (
        "The role requires a schema of its own. As an administrator, run: "
        f"CREATE SCHEMA IF NOT EXISTS {name}; ALTER SCHEMA {name} OWNER TO {quote(role)}; "
        "and for each table and view of the loads that another role owns: "
        f"ALTER TABLE ... OWNER TO {quote(role)}"
    )
