"""Any database with a JDBC driver: read in parallel, and by watermark only what is new."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from manymodels_spark.errors import SourceError
from manymodels_spark.frames import instant
from manymodels_spark.lake.sources.base import AUDIT, BATCH, SOURCE, Batch, digest
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.source import Jdbc, resolve

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_DRIVERS = {
    "duckdb": "org.duckdb.DuckDBDriver",
    "postgresql": "org.postgresql.Driver",
    "sqlserver": "com.microsoft.sqlserver.jdbc.SQLServerDriver",
    "mysql": "com.mysql.cj.jdbc.Driver",
    "oracle": "oracle.jdbc.OracleDriver",
}
_QUOTES = {"mysql": "`{}`", "sqlserver": "[{}]"}
# The watermark is compared with literals in UTC, and a database reads them on its session's clock.
_SESSION = {"postgresql": "SET TIME ZONE 'UTC'"}
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def new_rows(spark: SparkSession, source: Jdbc, seen: DataFrame | None) -> Batch | None:
    """The rows beyond the watermark of `seen` (with those that came late);
    without a watermark all, if any changed.
    """
    if source.watermark is None:
        rows = _marked(_read(spark, source), source, "snapshot")
        if seen is None:
            return Batch(rows, "replace")
        return None if digest(rows) == digest(seen) else Batch(rows, "replace")
    last = _last(seen, source.watermark)
    if seen is None or last is None:
        return Batch(_marked(_read(spark, source), source, "first"), "append")
    since = _minus(last, source.late)
    newer = _marked(_read(spark, source, since), source, f"since {since}")
    fresh = _unseen(newer, seen, source.watermark, since)
    return None if fresh.isEmpty() else Batch(fresh, "append")


def _last(seen: DataFrame | None, watermark: str) -> Any:
    """The highest watermark that was copied."""
    from pyspark.sql import functions as F

    if seen is None:
        return None
    row = seen.agg(F.max(_as_instant(F.col(quote(watermark)), seen, watermark)).alias("last")).first()
    return instant(row["last"]) if row else None


def _is_wall_time(rows: DataFrame, column: str) -> bool:
    """Whether the column's times have no zone."""
    return column in rows.columns and rows.schema[column].dataType.simpleString() == "timestamp_ntz"


def _as_instant(value: Column, rows: DataFrame, column: str) -> Column:
    """A value of the column that Python gets in UTC: it takes a time without zone for one of its own."""
    return value.cast("timestamp") if _is_wall_time(rows, column) else value


def _literal(value: Any, rows: DataFrame, column: str) -> Column:
    """A watermark as a literal of the column's own type, so that the database does the comparing."""
    from pyspark.sql import functions as F

    if _is_wall_time(rows, column) and isinstance(value, datetime):
        return F.lit(str(value.replace(tzinfo=None))).cast("timestamp_ntz")
    return F.lit(value)


def _minus(last: Any, late: str) -> Any:
    """The watermark less the time by which rows may come late; numbers have no such time."""
    if late == "0s" or isinstance(last, (int, float)):
        return last
    return last - timedelta(**{_UNITS[late[-1]]: int(late[:-1])})


def _unseen(newer: DataFrame, seen: DataFrame, watermark: str, since: Any) -> DataFrame:
    """The rows of the overlap that are not there yet; those at the watermark itself are read twice."""
    from pyspark.sql import functions as F

    names = [name for name in newer.columns if name not in AUDIT and name in seen.columns]
    overlap = seen.filter(F.col(quote(watermark)) >= _literal(since, seen, watermark))
    known = overlap.select(
        F.xxhash64(*(F.col(quote(name)).cast("string") for name in names)).alias("_known")
    ).distinct()
    marked = newer.withColumn("_known", F.xxhash64(*(F.col(quote(name)).cast("string") for name in names)))
    return marked.join(known, "_known", "left_anti").drop("_known")


def _read(spark: SparkSession, source: Jdbc, since: Any = None) -> DataFrame:
    """The table or query, in parallel ranges of the partition column (or else of the watermark)."""
    reader = spark.read.format("jdbc").options(**_options(source), dbtable=_table(source))
    rows = reader.load()
    _require(rows, source, "watermark", source.watermark)
    _require(rows, source, "partition_column", source.partition_column)
    column = source.partition_column or source.watermark
    low, high = _bounds(rows, source, column) if column is not None else (None, None)
    if column is not None and low is not None and low != high and not isinstance(low, str):
        first = since if column == source.watermark and since else low
        if _is_wall_time(rows, column):
            # Spark cuts no ranges of times without a zone.
            ranges = _ranges(source, column, first, high)
            rows = reader.jdbc(resolve(source.url), _table(source), predicates=ranges)
            return rows if since is None else rows.filter(_from(rows, source, since))
        rows = reader.options(
            partitionColumn=column,
            lowerBound=_bound(first),
            upperBound=_bound(high),
            numPartitions=str(source.partitions),
        ).load()
    return rows if since is None else rows.filter(_from(rows, source, since))


def _from(rows: DataFrame, source: Jdbc, since: Any) -> Column:
    """Whether a row is at the watermark or later."""
    from pyspark.sql import functions as F

    watermark = str(source.watermark)
    return F.col(quote(watermark)) >= _literal(since, rows, watermark)


def _ranges(source: Jdbc, column: str, low: Any, high: Any) -> list[str]:
    """Conditions in SQL, each a part of the column's times without zone, that all rows together meet once."""
    name, kind = _named(source, column), "" if _kind(resolve(source.url)) == "sqlserver" else "TIMESTAMP "
    step = (high - low) / source.partitions
    cuts = [(low + step * n).replace(tzinfo=None) for n in range(1, source.partitions)]
    texts = [f"{kind}'{cut.isoformat(' ', 'milliseconds')}'" for cut in dict.fromkeys(cuts)]
    if not texts:
        return ["1 = 1"]
    between = [f"{name} >= {a} AND {name} < {b}" for a, b in pairwise(texts)]
    return [f"{name} < {texts[0]} OR {name} IS NULL", *between, f"{name} >= {texts[-1]}"]


def _named(source: Jdbc, column: str) -> str:
    """A column as the database quotes it."""
    return _QUOTES.get(_kind(resolve(source.url)), '"{}"').format(column.replace('"', '""'))


def _require(rows: DataFrame, source: Jdbc, role: str, column: str | None) -> None:
    if column is not None and column not in rows.columns:
        raise SourceError(
            f"source.jdbc.{role}: no column {column!r} in {source.table or 'the query'}. It has: "
            f"{', '.join(rows.columns)}"
        )


def _bounds(rows: DataFrame, source: Jdbc, column: str) -> tuple[Any, Any]:
    """The smallest and largest value of the column, asked of the database itself."""
    name = _named(source, column)
    query = f"SELECT MIN({name}) AS low, MAX({name}) AS high FROM {_table(source)}"
    found = rows.sparkSession.read.format("jdbc").options(**_options(source), query=query).load()
    row = found.select(*(_as_instant(found[end], found, end) for end in ("low", "high"))).first()
    return (instant(row[0]), instant(row[1])) if row else (None, None)


def _bound(value: Any) -> str:
    """A bound as Spark reads it, which takes whole numbers; rows beyond the bounds are read, too."""
    return str(math.floor(value)) if isinstance(value, (float, Decimal)) else str(value)


def _table(source: Jdbc) -> str:
    if source.query:
        return f"({source.query}) manymodels_source"
    if source.table is None:
        raise SourceError("source.jdbc: a table or a query is expected, and neither is given")
    return source.table


def _options(source: Jdbc) -> dict[str, str]:
    url = resolve(source.url)
    kind = _kind(url)
    # A database's times without zone are wall times, and no instants on this machine's clock.
    options = {"url": url, "fetchsize": str(source.fetch_size), "preferTimestampNTZ": "true"}
    if statement := _SESSION.get(kind):
        options["sessionInitStatement"] = statement
    if driver := source.driver or _DRIVERS.get(kind):
        options["driver"] = driver
    if kind == "duckdb":
        options["duckdb.read_only"] = "true"
    if source.user is not None:
        options["user"] = resolve(source.user)
    if source.password is not None:
        options["password"] = resolve(source.password)
    return options


def _kind(url: str) -> str:
    return url.removeprefix("jdbc:").partition(":")[0]


def _marked(rows: DataFrame, source: Jdbc, batch: str) -> DataFrame:
    from pyspark.sql import functions as F

    return rows.withColumn(SOURCE, F.lit(source.table or "query")).withColumn(BATCH, F.lit(batch))
