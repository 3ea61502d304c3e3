"""Functions that Spark's Python workers run: columns of any name come to them, and what they import stays
imported.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

_last_task: int | None = None

Together = Callable[["pd.DataFrame", "pd.DataFrame"], "pd.DataFrame"]
Batches = Callable[[Iterable["pa.RecordBatch"]], Iterator["pa.RecordBatch"]]


def mapped(rows: DataFrame, run: Batches, schema: StructType | str) -> DataFrame:
    """`mapInArrow`, which looks columns up as expressions: they travel by number, and `run` sees their
    names.
    """
    names = rows.columns

    def named(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        keep_imports()
        return run(batch.rename_columns(names) for batch in batches)

    return _numbered(rows).mapInArrow(named, schema)


def cogrouped(
    left: DataFrame, right: DataFrame, by: str, run: Together, schema: StructType | str
) -> DataFrame:
    """`run` on the rows of both frames for every value of column `by`, which both have; columns travel by
    number.
    """
    names = [left.columns, right.columns]
    groups = [_numbered(frame).groupBy(f"c{frame.columns.index(by)}") for frame in (left, right)]

    def named(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
        keep_imports()
        return run(one.set_axis(names[0], axis=1), other.set_axis(names[1], axis=1))

    return groups[0].cogroup(groups[1]).applyInPandas(named, schema)


def _numbered(rows: DataFrame) -> DataFrame:
    return rows.toDF(*(f"c{number}" for number in range(len(rows.columns))))


def keep_imports() -> None:
    """Take what is imported by now out of garbage collections, which can free none of it.

    Spark has a worker collect after every task: a tenth of a second with what families import.
    """
    gc.freeze()


def keep_imports_once_a_task() -> None:
    """As `keep_imports`, for what runs once a group: a freeze a group would keep garbage for ever."""
    global _last_task
    from pyspark import TaskContext

    context = TaskContext.get()
    task = -1 if context is None else context.taskAttemptId()
    if task != _last_task:
        _last_task = task
        keep_imports()
