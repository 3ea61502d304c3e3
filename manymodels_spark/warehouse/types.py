"""The types of a load's columns, from Arrow to SQL. A type that no warehouse holds is refused by name."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from manymodels_spark.errors import WarehouseError

DUCKDB = {
    "bool": "BOOLEAN",
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "decimal": "DECIMAL({precision}, {scale})",
    "string": "VARCHAR",
    "date32[day]": "DATE",
    "timestamp[us]": "TIMESTAMP",
    "binary": "BLOB",
}
POSTGRES = {
    "bool": "boolean",
    "int8": "smallint",
    "int16": "smallint",
    "int32": "integer",
    "int64": "bigint",
    "float": "real",
    "double": "double precision",
    "decimal": "numeric({precision}, {scale})",
    "string": "text",
    "date32[day]": "date",
    "timestamp[us]": "timestamp",
    "binary": "bytea",
}
SYNAPSE = {
    "bool": "bit",
    "int8": "smallint",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
    "float": "real",
    "double": "float(53)",
    "decimal": "decimal({precision}, {scale})",
    "string": "nvarchar({length})",
    "date32[day]": "date",
    "timestamp[us]": "datetime2(6)",
    "binary": "varbinary(8000)",
}


def sql_type(field: pa.Field, names: Mapping[str, str], length: int = 4000) -> str:
    """The SQL type of a column; `length` is that of text where the warehouse requires one.

    Raises WarehouseError for nested and other types that no warehouse holds.
    """
    kind = field.type
    if pa.types.is_decimal(kind):
        return names["decimal"].format(precision=kind.precision, scale=kind.scale)
    if str(kind).removeprefix("large_") not in names:
        known = ", ".join(names)
        raise WarehouseError(
            f"column {field.name!r} has type {kind}, which no warehouse holds. Expected one of {known}"
        )
    return names[str(kind).removeprefix("large_")].format(length=length)
