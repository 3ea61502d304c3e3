"""A checksum that Python and a database compute alike, cell by cell:
whole numbers only, so that nothing rounds.

Every cell becomes a number below 2**31: a number by its remainder, a float by that of its 64 bits, a date by
its days and a time by its microseconds since 1970, text by the first 4 bytes of its MD5. A row becomes the
remainder of a weighted sum of its cells, squared. The sums over all rows are compared; `sql_digest` writes
the same sums as SQL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from manymodels_spark.warehouse.checksum import Checksum

PRIME = 2**31 - 1
NULL = 1_046_527
_NAN = np.float64("nan")


def batch_checksum(batch: pa.RecordBatch | pa.Table, encoding: str = "utf-8") -> Checksum:
    """The checksum of a batch of rows; `encoding` is the one that the database
    has its text in when it hashes.
    """
    columns = [_digests(column, encoding) for column in batch.columns]
    mixed = np.zeros(batch.num_rows, dtype=np.int64)
    for number, cells in enumerate(columns):
        mixed += (2 * number + 1) * cells
    mixed = np.fmod(mixed, PRIME)
    squares = np.fmod(mixed * mixed, PRIME)
    return Checksum(batch.num_rows, tuple(int(cells.sum()) for cells in columns), int(squares.sum()))


def empty_checksum(schema: pa.Schema) -> Checksum:
    """The checksum of no rows."""
    return Checksum(0, (0,) * len(schema), 0)


def total(parts: Iterable[Checksum], schema: pa.Schema) -> Checksum:
    """The checksum of all parts' rows."""
    return sum(parts, start=empty_checksum(schema))


def sql_digest(
    schema: pa.Schema, source: str, cell: Callable[[pa.Field], str], count: str = "count(*)"
) -> str:
    """The query of the same numbers: `source` is a table or a query in parentheses,
    `cell` a cell's number as SQL.
    """
    names = [f"d{number}" for number in range(len(schema))]
    cells = ",\n    ".join(
        f"COALESCE({cell(field)} % {PRIME}, {NULL}) AS {name}"
        for name, field in zip(names, schema, strict=True)
    )
    weighted = " + ".join(f"{2 * number + 1} * {name}" for number, name in enumerate(names))
    sums = ", ".join(f"SUM({name})" for name in names)
    return (
        f"SELECT {count}, {sums}, SUM((mixed * mixed) % {PRIME})\n"
        f"FROM (\n  SELECT {', '.join(names)}, ({weighted}) % {PRIME} AS mixed\n"
        f"  FROM (\n    SELECT {cells}\n    FROM {source}\n  ) AS cells\n) AS rows_mixed"
    )


def _digests(column: pa.Array | pa.ChunkedArray, encoding: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """One whole number per cell."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    kind = array.type
    missing = array.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        numbers = _hashed(array, lambda cell: str(cell).encode(encoding))
    elif pa.types.is_decimal(kind):
        numbers = _hashed(array, lambda cell: format(cell, "f").encode())
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        numbers = _hashed(array, bytes)
    else:
        numbers = _whole(array)
    return np.where(missing, NULL, np.fmod(numbers, PRIME))


def _whole(array: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    kind = array.type
    if pa.types.is_floating(kind):
        floats = array.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
        return np.where(np.isnan(floats), _NAN, floats).view(np.int64)
    if pa.types.is_date32(kind):
        array = array.cast(pa.int32())
    elif pa.types.is_timestamp(kind):
        array = array.cast(pa.int64())
    numbers: np.ndarray[Any, np.dtype[np.int64]] = (
        array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    )
    return numbers


def _hashed(array: pa.Array, encoded: Callable[[Any], bytes]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Each distinct value is hashed once: most columns of a load repeat theirs."""
    coded = array.dictionary_encode()
    values = coded.dictionary.to_pylist()
    hashes = [
        int.from_bytes(hashlib.md5(encoded(value), usedforsecurity=False).digest()[:4], "big")
        for value in values
    ]
    numbers = np.array([*hashes, NULL], dtype=np.int64)
    found: np.ndarray[Any, np.dtype[np.int64]] = numbers[
        coded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    ]
    return found


POSTGRES_CELLS: Mapping[str, str] = {
    "bool": "{0}::int::bigint",
    "int": "{0}::bigint",
    "float": "('x' || encode(float8send({0}::float8), 'hex'))::bit(64)::bigint",
    "date": "({0} - DATE '1970-01-01')::bigint",
    "timestamp": "(extract(epoch FROM {0}) * 1000000)::bigint",
    "string": "('x' || substr(md5(convert_to({0}, 'UTF8')), 1, 8))::bit(32)::bigint",
    "decimal": "('x' || substr(md5({0}::text), 1, 8))::bit(32)::bigint",
    "binary": "('x' || substr(md5({0}), 1, 8))::bit(32)::bigint",
}
SYNAPSE_CELLS: Mapping[str, str] = {
    "bool": "CONVERT(BIGINT, {0})",
    "int": "CONVERT(BIGINT, {0})",
    "float": "CONVERT(BIGINT, CONVERT(BINARY(8), CONVERT(FLOAT(53), {0})))",
    "date": "CONVERT(BIGINT, DATEDIFF(DAY, '1970-01-01', {0}))",
    # A pool has no DATEDIFF_BIG, and DATEDIFF is an INT: days, then seconds, then microseconds.
    "timestamp": "CONVERT(BIGINT, DATEDIFF(DAY, '1970-01-01', {0})) * 86400000000"
    " + CONVERT(BIGINT, DATEDIFF(SECOND, CONVERT(DATE, {0}), {0})) * 1000000 + DATEPART(MICROSECOND, {0})",
    "string": "CONVERT(BIGINT, CONVERT(BINARY(4), SUBSTRING(HASHBYTES('MD5', {0}), 1, 4)))",
    "decimal": "CONVERT(BIGINT, CONVERT(BINARY(4), SUBSTRING(HASHBYTES('MD5', CONVERT(VARCHAR(60), {0})), "
    "1, 4)))",
    "binary": "CONVERT(BIGINT, CONVERT(BINARY(4), SUBSTRING(HASHBYTES('MD5', {0}), 1, 4)))",
}


def cell_kind(kind: pa.DataType) -> str:
    """The family of a type: bool, int, float, date, timestamp, decimal, string or binary."""
    name = str(kind).removeprefix("large_")
    if name == "bool" or name in {"string", "binary"}:
        return name
    heads = {
        "int": "int",
        "float": "float",
        "doubl": "float",
        "date": "date",
        "times": "timestamp",
        "decim": "decimal",
    }
    return next(family for head, family in heads.items() if name.startswith(head))
