"""The rows of exported Parquet files, a bounded batch at a time,
for warehouses that are sent them through Python.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

BATCH_ROWS = 50_000


def batches(files: Sequence[str], schema: pa.Schema, size: int = BATCH_ROWS) -> Iterator[pa.Table]:
    """Tables of up to `size` rows in the schema's columns and types:
    times as UTC, NULL for a column a file has not.
    """
    for path in files:
        with pq.ParquetFile(path, coerce_int96_timestamp_unit="us") as parquet:
            present = set(parquet.schema_arrow.names)
            columns_read = [name for name in schema.names if name in present]
            for batch in parquet.iter_batches(size, columns=columns_read):
                yield _conform(batch, schema)


def _conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        if field.name in batch.schema.names:
            columns.append(_cast(batch.column(field.name), field.type))
        else:
            columns.append(pa.nulls(batch.num_rows, field.type))
    return pa.table(columns, schema=schema)


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """An array in a type; an instant loses its zone as UTC,
    a float that is no number gets the one usual form.
    """
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        array = (
            array.cast(pa.timestamp(array.type.unit, "UTC"))
            .cast(pa.int64())
            .cast(pa.timestamp(array.type.unit))
        )
    array = array.cast(kind)
    if pa.types.is_floating(kind):
        array = pc.if_else(pc.is_nan(array), pa.scalar(float("nan"), kind), array)
    return array
