"""Where rows come from: one module a kind of source, all behind `new_rows`.

A source knows what it has that the lake does not have yet.
It must know neither the stages nor the table names.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from manymodels_spark.errors import ManyModelsError, SourceError
from manymodels_spark.lake.sources import database, delta, files, written
from manymodels_spark.lake.sources.base import Batch, first_line
from manymodels_spark.spec.source import Delta, Files, Jdbc, Source

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["Batch", "new_rows", "read"]


def new_rows(
    spark: SparkSession, source: Source, seen: DataFrame | None, as_text: tuple[str, ...] = ()
) -> Batch | None:
    """What the source has beyond `seen` (all rows copied so far, with `_source` and `_batch`), or None.

    `as_text` names the columns (times) that a file without types must not guess at.

    Raises SourceError where it cannot be read, without the secrets of its address.
    """
    try:
        batch = _new_rows(spark, source, seen, as_text)
        if batch is not None:
            batch.rows.schema  # noqa: B018  (Spark Connect looks at a source only when asked for something)
        return batch
    except ManyModelsError:
        raise
    except Exception as error:
        raise SourceError(f"source {describe(source)} cannot be read: {first_line(error, source)}") from error


def _new_rows(
    spark: SparkSession, source: Source, seen: DataFrame | None, as_text: tuple[str, ...]
) -> Batch | None:
    """The batch in the lake's names; the source itself only knows its own."""
    original = {new: old for old, new in source.rename.items()}
    before = None if seen is None else seen.toDF(*(original.get(name, name) for name in seen.columns))
    texts = tuple(original.get(name, name) for name in as_text)
    batch = _by_kind(spark, source, before, texts)
    if batch is None:
        return None
    rows = batch.rows if isinstance(source, Jdbc) else written.as_kept(batch.rows, source, texts)
    return replace(batch, rows=_renamed(rows, source))


def _renamed(rows: DataFrame, source: Source) -> DataFrame:
    if not source.rename:
        return rows
    if missing := [name for name in source.rename if name not in rows.columns]:
        raise SourceError(
            f"source {describe(source)}: rename: no column {', '.join(missing)}. It has: "
            f"{', '.join(rows.columns)}"
        )
    names = [source.rename.get(name, name) for name in rows.columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SourceError(
            f"source {describe(source)}: rename: two columns would be called {', '.join(twice)}. "
            "Choose another name"
        )
    return rows.toDF(*names)


def _by_kind(
    spark: SparkSession, source: Source, seen: DataFrame | None, as_text: tuple[str, ...]
) -> Batch | None:
    match source:
        case Jdbc():
            return database.new_rows(spark, source, seen)
        case Files():
            return files.new_rows(spark, source, seen, as_text if source.kind == "csv" else ())
        case Delta():
            return delta.new_rows(spark, source, seen)


def read(spark: SparkSession, source: Source, as_text: tuple[str, ...] = ()) -> DataFrame:
    """All rows of the source. Raises SourceError where it cannot be read."""
    batch = new_rows(spark, source, None, as_text)
    if batch is None:
        raise SourceError(
            f"source {describe(source)} has no rows: nothing was found to read. Check the path or table"
        )
    return batch.rows


def describe(source: Source) -> str:
    """The source as the spec writes it, e.g. `jdbc sales`, `csv data/*.csv`: no variable is resolved."""
    match source:
        case Jdbc():
            return f"jdbc {source.table or 'query'} at {source.url.partition('?')[0]}"
        case Files():
            return f"{source.kind} {source.path}"
        case Delta():
            return f"delta {source.table or source.path}"
