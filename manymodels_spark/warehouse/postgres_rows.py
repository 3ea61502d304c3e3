"""What a load into Postgres sends: rows as COPY reads them, and columns as SQL defines and digests them.

This module must know no connection.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from manymodels_spark.errors import WarehouseError
from manymodels_spark.warehouse import types
from manymodels_spark.warehouse.base import quote, row_name
from manymodels_spark.warehouse.digest import POSTGRES_CELLS, cell_kind

_CSV = csv.WriteOptions(include_header=False)


def as_csv(batch: pa.Table) -> memoryview:
    """A batch as Postgres reads it: NULL is nothing, an empty text is two quotes."""
    columns = [_hex(column) if pa.types.is_binary(column.type) else column for column in batch.columns]
    buffer = io.BytesIO()
    csv.write_csv(pa.table(columns, names=[f"c{number}" for number in range(len(columns))]), buffer, _CSV)
    return buffer.getbuffer()


def _hex(column: pa.ChunkedArray) -> pa.Array:
    return pa.array(
        [None if cell is None else "\\x" + cell.hex() for cell in column.to_pylist()], pa.string()
    )


def refuse_nul(batch: pa.Table, key: tuple[str, ...]) -> None:
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


def cell(field: pa.Field) -> str:
    """The digest of a column's cells, for `digest.sql_digest`."""
    return POSTGRES_CELLS[cell_kind(field.type)].format(quote(field.name))


def column_type(field: pa.Field) -> str:
    """The type of a column."""
    return types.sql_type(field, types.POSTGRES)


def definition(schema: pa.Schema) -> str:
    """The columns of a table with their types."""
    return ", ".join(f"{quote(field.name)} {column_type(field)}" for field in schema)


def listed(names: Sequence[str]) -> str:
    """Column names, quoted."""
    return ", ".join(quote(name) for name in names)
