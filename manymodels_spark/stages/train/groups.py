"""The rows that a Spark task is given, batch by batch, as one frame per partition.

One stream for all partitions of a task costs far less than one stream for each, which is what Spark's own
grouped calls make; small partitions are many. Knows Arrow and pandas, not Spark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_BOUNDS = (pd.Timestamp.min.value, pd.Timestamp.max.value)


def groups(batches: Iterable[pa.RecordBatch], by: str) -> Iterator[tuple[int, pd.DataFrame]]:
    """The value of the whole-number column `by` and the other columns' rows, for each run of equal values.

    Batches come sorted by that column; a run may go on from batch to batch.
    """
    open_value, pieces = -1, list[pa.RecordBatch]()
    for batch in batches:
        values = batch.column(batch.schema.get_field_index(by)).to_numpy(zero_copy_only=False)
        edges = [0, *(np.flatnonzero(np.diff(values)) + 1), len(values)]
        for start, end in pairwise(edges):
            if start == end:
                continue
            if pieces and values[start] != open_value:
                yield open_value, frame_of(pieces, by)
                pieces = []
            open_value = int(values[start])
            pieces.append(batch.slice(start, end - start))
    if pieces:
        yield open_value, frame_of(pieces, by)


def frame_of(pieces: list[pa.RecordBatch], without: str) -> pd.DataFrame:
    """Batches as one frame, as Spark's own conversion makes it: nanoseconds, instants on the session's clock
    without zone.

    Times that nanoseconds cannot hold are missing: the frame is made outside the fit, where an error ends the
    whole task.
    """
    table = pa.Table.from_batches(pieces).drop_columns([without])
    columns = [_held(_naive(column)) for column in table.columns]
    plain = pa.table(columns, names=table.column_names)
    frame: pd.DataFrame = plain.to_pandas(date_as_object=True, coerce_temporal_nanoseconds=True)
    return frame


def _naive(column: pa.ChunkedArray) -> pa.ChunkedArray:
    zoned = pa.types.is_timestamp(column.type) and column.type.tz is not None
    return pc.local_timestamp(column) if zoned else column


def _held(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_timestamp(column.type) or column.null_count == len(column):
        return column
    span = pc.min_max(column)
    low, high = (pa.scalar(bound, pa.timestamp("ns")).cast(column.type, safe=False) for bound in _BOUNDS)
    if pc.and_(pc.greater(span["min"], low), pc.less(span["max"], high)).as_py():
        return column
    held = pc.and_(pc.greater(column, low), pc.less(column, high))
    return pc.if_else(held, column, pa.scalar(None, column.type))
