"""Arrow tables as the DataFrames that fits take. Knows Arrow and pandas, not Spark."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_BOUNDS = (pd.Timestamp.min.value, pd.Timestamp.max.value)


def frame_of(table: pa.Table) -> pd.DataFrame:
    """A table as Spark's own conversion makes it: nanoseconds, instants on the session's clock without zone.

    Times that nanoseconds cannot hold are missing: the frame is made outside the fit, where an error ends the
    whole task.
    """
    columns = [_within_bounds(_without_zone(column)) for column in table.columns]
    plain = pa.table(columns, names=table.column_names)
    frame: pd.DataFrame = plain.to_pandas(date_as_object=True, coerce_temporal_nanoseconds=True)
    return frame


def _without_zone(column: pa.ChunkedArray) -> pa.ChunkedArray:
    zoned = pa.types.is_timestamp(column.type) and column.type.tz is not None
    return pc.local_timestamp(column) if zoned else column


def _within_bounds(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_timestamp(column.type) or column.null_count == len(column):
        return column
    span = pc.min_max(column)
    low, high = (pa.scalar(bound, pa.timestamp("ns")).cast(column.type, safe=False) for bound in _BOUNDS)
    if pc.and_(pc.greater(span["min"], low), pc.less(span["max"], high)).as_py():
        return column
    held = pc.and_(pc.greater(column, low), pc.less(column, high))
    return pc.if_else(held, column, pa.scalar(None, column.type))
