"""Synapse's serverless endpoint: views of the lake's Delta tables where they lie, nothing is loaded.

The views read through a data source with the workspace's managed identity, so that whoever may read a view
needs no role on the storage. The endpoint reads Delta's first reader version only: no deletion vectors, no
mapped columns (learn.microsoft.com: azure/synapse-analytics/sql/query-delta-lake-format).
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal

import pyarrow as pa

from manymodels_spark.errors import WarehouseError
from manymodels_spark.warehouse import types
from manymodels_spark.warehouse.base import Export, Loaded
from manymodels_spark.warehouse.synapse_connected import ConnectedToSynapse
from manymodels_spark.warehouse.synapse_names import listed, name, require_distinct, text, url
from manymodels_spark.warehouse.synapse_pool import driver_errors, in_words

CREDENTIAL = "manymodels_workspace"
_PLACE = re.compile(r"https://(?P<host>[^/]+)/(?P<container>[^/]+)/(?P<path>.+)\Z", re.DOTALL)


class SynapseServerless(ConnectedToSynapse):
    """Views of the lake's Delta tables: every query reads the newest version."""

    name = "Synapse serverless"
    reads: ClassVar[Literal["local", "remote", "delta"]] = "delta"

    def last(self, table: str) -> Loaded | None:
        """None: there is no ledger where nothing is loaded."""
        return None

    def load(self, table: str, export: Export, run_id: str, *, again: bool = False) -> bool:
        """Make the view anew, in one statement; the export's only file is the Delta table's folder."""
        require_distinct(export.schema)
        found = _PLACE.match(url(export.files[0]).rstrip("/") + "/")
        if found is None:
            raise WarehouseError(f"{export.files[0]} is no folder of a container in Azure storage")
        source = f"manymodels_{found['host'].partition('.')[0]}_{found['container']}"
        with in_words(table):
            self._pool.make_schema()
            self._make_source(source, f"https://{found['host']}/{found['container']}")
            view = self._pool.table(table)
            self._pool.run(delta_view(view, export.schema, source, f"/{found['path']}"))
        return True

    def _make_source(self, source: str, location: str) -> None:
        """Create credential and data source where they are missing. Raises WarehouseError with the statements
        for an administrator where this identity may not.
        """
        statements = []
        if not self._pool.rows(exists("database_scoped_credentials", CREDENTIAL)):
            statements.append(create_credential())
        if not self._pool.rows(exists("external_data_sources", source)):
            statements.append(create_source(source, location))
        try:
            for statement in statements:
                self._pool.run(statement)
        except driver_errors() as error:
            raise WarehouseError(
                f"Synapse serverless refused a data source for {location}: {error}. An administrator of the "
                f"database runs once: {'; '.join(statements)}; and for each reader: GRANT REFERENCES ON "
                f"DATABASE SCOPED CREDENTIAL::{name(CREDENTIAL)} TO [READER]"
            ) from error


def exists(catalog: str, found: str) -> str:
    """One row where a credential or a data source of this name is there; `catalog` is a view of `sys`."""
    return f"SELECT name FROM sys.{catalog} WHERE name = {text(found)}"


def create_credential() -> str:
    """The workspace's managed identity, as what views read the lake with."""
    return f"CREATE DATABASE SCOPED CREDENTIAL {name(CREDENTIAL)} WITH IDENTITY = 'Managed Identity'"


def create_source(source: str, location: str) -> str:
    """A container of the lake, read with that identity."""
    place = location.replace("'", "''")
    options = f"LOCATION = '{place}', CREDENTIAL = {name(CREDENTIAL)}"
    return f"CREATE EXTERNAL DATA SOURCE {name(source)} WITH ({options})"


def delta_view(view: str, schema: pa.Schema, source: str, path: str) -> str:
    """A view of a Delta table: always the newest version. `path` is within the data source."""
    definitions = ",\n    ".join(f"{name(field.name)} {_type(field)}" for field in schema)
    place, source = path.replace("'", "''"), source.replace("'", "''")
    return (
        f"CREATE OR ALTER VIEW {view} AS\nSELECT {listed(schema.names)}\n"
        f"FROM OPENROWSET(BULK '{place}', DATA_SOURCE = '{source}', FORMAT = 'DELTA') WITH (\n"
        f"    {definitions}\n) AS lake"
    )


def _type(field: pa.Field) -> str:
    kind = types.sql_type(field, types.SYNAPSE)
    return kind.replace("nvarchar(4000)", "varchar(max) COLLATE Latin1_General_100_BIN2_UTF8")
