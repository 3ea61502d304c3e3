"""Rows as a source writes them, made what the lake keeps: columns to rows, times to ISO text, decimal commas.

What does not have the form that the spec says stays as it is written, so that `prepare` counts it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manymodels_spark.errors import SourceError
from manymodels_spark.lake.sources.base import AUDIT
from manymodels_spark.spark.names import literal, quote
from manymodels_spark.spec.source import Delta, Files, Melt

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

NANOSECONDS = "nanoseconds"
_EPOCHS = {"epoch_seconds": 1, "epoch_milliseconds": 1000}
_QUARTER = r"^\s*(\d{4})[- ]?[Qq]([1-4])\s*$"
_WEEK = r"^\s*(\d{4})-?W(\d{1,2})\s*$"
_COMMA = r"^\s*[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?\s*$"


def as_kept(rows: DataFrame, source: Files | Delta, times: tuple[str, ...]) -> DataFrame:
    """The rows of a source, by what the spec says of how it writes them.

    Args:
        rows: as they were read.
        source: the spec's source, with `melt`, `time_format` and `decimal_comma`.
        times: the columns of times, in the source's names.

    Raises:
        SourceError: where a column that `melt` or `decimal_comma` names is not there.

    """
    if source.melt is not None:
        rows = _melted(rows, source.melt)
    if missing := [name for name in source.decimal_comma if name not in rows.columns]:
        raise SourceError(f"decimal_comma: no column {', '.join(missing)}. It has: {', '.join(rows.columns)}")
    changed = {name: _number(name) for name in source.decimal_comma}
    if source.time_format is not None:
        changed |= {name: _time(name, source.time_format) for name in times if _is_written(rows, name)}
    return rows.withColumns(changed) if changed else rows


def _is_written(rows: DataFrame, name: str) -> bool:
    """Whether a column holds text or numbers; times and dates need no format."""
    kinds = {field.name: field.dataType.typeName() for field in rows.schema}
    return kinds.get(name, "timestamp") not in ("timestamp", "timestamp_ntz", "date")


def _melted(rows: DataFrame, melt: Melt) -> DataFrame:
    """A row for each value of the columns that are not kept; empty ones make none."""
    from pyspark.sql import functions as F

    if missing := [name for name in melt.keep if name not in rows.columns]:
        raise SourceError(
            f"melt.keep: no column {', '.join(missing)}. It has: {', '.join(rows.columns[:12])}"
        )
    kept = [*melt.keep, *(name for name in AUDIT if name in rows.columns)]
    others = [name for name in rows.columns if name not in kept]
    as_text = rows.select(
        *(quote(name) for name in kept), *(F.col(quote(name)).cast("string").alias(name) for name in others)
    )
    ids = [F.col(quote(name)) for name in kept]
    values = [F.col(quote(name)) for name in others]
    long = as_text.unpivot([*ids], [*values], melt.name, melt.values)
    return long.filter(F.col(quote(melt.values)).isNotNull())


def _number(name: str) -> Column:
    from pyspark.sql import functions as F

    text = F.col(quote(name)).cast("string")
    dotted = F.regexp_replace(F.regexp_replace(text, r"\.", ""), ",", ".")
    return F.when(text.rlike(_COMMA), dotted).otherwise(text)


def _time(name: str, form: str) -> Column:
    """The time as ISO text: of seconds since 1970 with the zone UTC, else without a zone."""
    from pyspark.sql import functions as F

    column = quote(name)
    text = f"trim(CAST({column} AS STRING))"
    if form in _EPOCHS:
        moment = f"timestamp_millis(CAST(try_cast({column} AS DOUBLE) * {1000 // _EPOCHS[form]} AS BIGINT))"
        said = f"date_format({moment}, \"yyyy-MM-dd'T'HH:mm:ss.SSS'Z'\")"
    elif form == NANOSECONDS:
        said = f"date_format(timestamp_micros({column} DIV 1000), 'yyyy-MM-dd HH:mm:ss.SSSSSS')"
    elif form == "quarter":
        year, quarter = (f"regexp_extract({text}, {literal(_QUARTER)}, {group})" for group in (1, 2))
        said = f"CAST(try_cast({year} || '-' || (try_cast({quarter} AS INT) * 3 - 2) AS DATE) AS STRING)"
    elif form == "week":
        year, week = (f"regexp_extract({text}, {literal(_WEEK)}, {group})" for group in (1, 2))
        first = f"date_trunc('week', try_cast({year} || '-01-04' AS DATE))"
        said = f"CAST(CAST({first} AS DATE) + 7 * (try_cast({week} AS INT) - 1) AS STRING)"
    else:
        said = f"date_format(try_to_timestamp({text}, {literal(form)}), 'yyyy-MM-dd HH:mm:ss')"
    return F.coalesce(F.expr(said), F.expr(text))
