"""CSV, JSON and Parquet files: each file is a batch, copied once, and copied anew where it was changed."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import pandas as pd

from manymodels_spark.errors import SourceError
from manymodels_spark.lake.sources.base import BATCH, SOURCE, Batch
from manymodels_spark.lake.sources.written import NANOSECONDS
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.source import Files, Wide, resolve

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameReader, SparkSession

_DEFAULTS: dict[str, dict[str, str]] = {
    "csv": {"header": "true", "inferSchema": "true", "enforceSchema": "false", "escape": '"'},
    "json": {},
    "parquet": {"mergeSchema": "true"},
}
# Spark reads no times in nanoseconds, but their numbers.
_NANOSECONDS_AS_NUMBERS = "spark.sql.legacy.parquet.nanosAsLong"
# CSV files are matched by column name one at a time up to here; more are read at once and must be alike.
ONE_BY_ONE = 50
# Spark writes the path of a local file with one slash here and with three there.
_SCHEME = re.compile(r"^file:/+")


def new_rows(
    spark: SparkSession, source: Files, seen: DataFrame | None, as_text: tuple[str, ...] = ()
) -> Batch | None:
    """The rows of the files that were not copied yet in their present state; a changed file replaces itself.

    Columns of CSV files named in `as_text` stay as they are written, whatever they look like.
    """
    present = _listing(spark, source)
    known: dict[str, str] = {}
    if seen is not None:
        known = {str(row[0]): str(row[1]) for row in seen.select(SOURCE, BATCH).distinct().collect()}
    changed = {path: batch for path, batch in present.items() if known.get(path) != batch}
    if not changed:
        return None
    rows = _read(spark, source, changed, (*as_text, *source.decimal_comma))
    if source.wide is not None:
        rows = _long(rows, source.wide)
    if changed.keys() & known.keys():
        return Batch(rows, "files", tuple(changed))
    return Batch(rows, "append")


def _listing(spark: SparkSession, source: Files) -> dict[str, str]:
    """Path to a digest of size and time of change. The files themselves are not read."""
    path = resolve(source.path)
    reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
    found = reader.load(path).select("path", "length", "modificationTime").collect()
    files = [row for row in found if not str(row["path"]).rsplit("/", 1)[-1].startswith(("_", "."))]
    if not files:
        raise SourceError(
            f"source.{source.kind}: no file at {source.path}. A file, a folder or a glob is expected"
        )
    return {
        _SCHEME.sub("file:///", str(row["path"])): hashlib.sha256(
            f"{row['length']} {row['modificationTime']}".encode()
        ).hexdigest()[:16]
        for row in files
    }


def _read(spark: SparkSession, source: Files, batches: dict[str, str], as_text: tuple[str, ...]) -> DataFrame:
    from functools import reduce

    from pyspark.sql import functions as F

    if source.time_format == NANOSECONDS:
        spark.conf.set(_NANOSECONDS_AS_NUMBERS, "true")
    reader = spark.read.format(source.kind).options(**{**_DEFAULTS[source.kind], **source.options})
    if any("=" in path for path in batches):
        reader = reader.option("basePath", resolve(source.path))
    groups = (
        [[path] for path in batches]
        if source.kind == "csv" and len(batches) <= ONE_BY_ONE
        else [list(batches)]
    )
    path = F.regexp_replace(F.col("_metadata.file_path"), _SCHEME.pattern, "file:///")
    keep = None if source.melt is None or source.kind != "csv" else source.melt.keep
    frames = [_load(reader, group, as_text, keep).withColumn(SOURCE, path) for group in groups]
    rows = reduce(lambda left, right: left.unionByName(right, allowMissingColumns=True), frames)
    pairs = spark.createDataFrame(list(batches.items()), f"`{SOURCE}` string, `{BATCH}` string")
    return rows.join(F.broadcast(pairs), SOURCE)


def _load(
    reader: DataFrameReader, paths: list[str], as_text: tuple[str, ...], keep: list[str] | None
) -> DataFrame:
    """The files' rows, with the columns named in `as_text` as text, and all but `keep` where that is given.

    A guess at a time's type would lose its zone, or that it has none, and 1.234 may be a thousand.
    """
    from pyspark.sql import types as T

    guessed = reader.load(paths)
    texts = {name for name in guessed.columns if name in as_text or (keep is not None and name not in keep)}
    if not texts:
        return guessed
    kinds = [T.StructField(f.name, T.StringType() if f.name in texts else f.dataType) for f in guessed.schema]
    return reader.schema(T.StructType(kinds)).load(paths)


def _long(rows: DataFrame, wide: Wide) -> DataFrame:
    """One row per value from one row per series: the first value at `start`,
    the next a step of `frequency` later.
    """
    from pyspark.sql import functions as F

    if wide.id not in rows.columns:
        raise SourceError(f"wide.id: no column {wide.id!r}. The file has: {', '.join(rows.columns[:8])}, ...")
    values = [name for name in rows.columns if name not in (wide.id, SOURCE, BATCH)]
    times = pd.date_range(wide.start, periods=len(values), freq=wide.frequency)
    steps = pd.DataFrame({"_step": range(len(values)), wide.time: times}).astype({"_step": "int32"})
    array = F.array(*(F.col(quote(name)).cast("double") for name in values))
    long = rows.select(
        F.col(quote(wide.id)).alias(wide.name), SOURCE, BATCH, F.posexplode(array).alias("_step", wide.values)
    )
    placed = long.filter(F.col(wide.values).isNotNull()).join(
        F.broadcast(rows.sparkSession.createDataFrame(steps)), "_step"
    )
    return placed.drop("_step")
