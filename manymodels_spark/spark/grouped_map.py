"""Grouped maps: a function on the rows of every group, in executors. The one place that asks Spark for them.

Where the session has `applyInArrow` (Spark 4.0 and newer) it makes the same plan as `applyInPandas` without a
conversion a group in Spark's own worker, which for small groups costs more than a fit; see decision 17.
Functions see pandas either way, and columns by their own names: to Spark they travel by number, since it
would read dots and backticks in a name as syntax.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from manymodels_spark.spark.names import quote
from manymodels_spark.spark.workers import keep_imports_once_a_task

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

GroupMap = Callable[[tuple[Any, ...], "pd.DataFrame"], "pa.Table"]


def grouped_map(
    rows: DataFrame, by: Sequence[str], run: GroupMap, schema: StructType | str, *, arrow: bool = True
) -> DataFrame:
    """`groupBy(*by).applyInPandas(run)`, or `applyInArrow` where the session has it and `arrow` is true.

    Args:
        rows: the rows; those of a group come to `run` in no order.
        by: columns that tell groups apart. Where `rows` are already spread by some of them, nothing moves.
        run: called with the group's values of `by` and its other columns as a DataFrame (times in
            nanoseconds, on the session's clock without zone; those that nanoseconds cannot hold are missing).
            Gives an Arrow table of the columns of `schema`, in their order.
        schema: what comes out.
        arrow: False for `applyInPandas` in any session, where groups are large.

    Returns:
        A lazy DataFrame of the tables that `run` gives.

    """
    names = [name for name in rows.columns if name not in by]
    numbered = _numbered(rows.select(*(rows[quote(name)] for name in [*by, *names])))
    groups = numbered.groupBy(*(f"c{number}" for number in range(len(by))))
    if arrow and hasattr(groups, "applyInArrow"):
        return groups.applyInArrow(_on_arrow(run, names, len(by)), schema)
    return (
        _within_nanoseconds(numbered)
        .groupBy(*numbered.columns[: len(by)])
        .applyInPandas(_on_pandas(run, names, len(by)), schema)
    )


def _on_arrow(run: GroupMap, names: list[str], keys: int) -> Callable[[Any, pa.Table], pa.Table]:
    def on_arrow(key: tuple[pa.Scalar, ...], table: pa.Table) -> pa.Table:
        from manymodels_spark.spark.arrow_frames import frame_of

        keep_imports_once_a_task()
        rows = table.select(range(keys, table.num_columns)).rename_columns(names)
        return run(tuple(value.as_py() for value in key), frame_of(rows))

    return on_arrow


def _on_pandas(run: GroupMap, names: list[str], keys: int) -> Callable[[Any, pd.DataFrame], pd.DataFrame]:
    def on_pandas(key: tuple[Any, ...], frame: pd.DataFrame) -> pd.DataFrame:
        keep_imports_once_a_task()
        table = run(key, frame.iloc[:, keys:].set_axis(names, axis=1))
        # Spark takes maps as dicts alone.
        found: pd.DataFrame = table.to_pandas(maps_as_pydicts="strict")
        return found

    return on_pandas


def _within_nanoseconds(rows: DataFrame) -> DataFrame:
    """Times that pandas cannot hold become missing: Spark's own conversion would end the whole task."""
    from pyspark.sql import functions as F

    def bounded(name: str, kind: str) -> Any:
        first, last = (F.lit(bound).cast(kind) for bound in ("1677-09-22 00:00:00", "2262-04-11 00:00:00"))
        return F.when(F.col(name).between(first, last), F.col(name)).alias(name)

    kinds = {field.name: field.dataType.simpleString() for field in rows.schema}
    return rows.select(
        *(bounded(n, kind) if kind.startswith("timestamp") else F.col(n) for n, kind in kinds.items())
    )


def _numbered(rows: DataFrame) -> DataFrame:
    return rows.toDF(*(f"c{number}" for number in range(len(rows.columns))))
