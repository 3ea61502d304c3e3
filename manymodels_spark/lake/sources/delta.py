"""A Delta table of somebody else's: copied as a whole whenever its version has moved on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manymodels_spark.errors import SourceError
from manymodels_spark.lake.sources.base import BATCH, SOURCE, Batch
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.source import Delta, resolve

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def new_rows(spark: SparkSession, source: Delta, seen: DataFrame | None) -> Batch | None:
    """All rows of the table's newest (or the spec's) version, or None where that version was copied."""
    from pyspark.sql import functions as F

    name = source.table or resolve(source.path or "")
    if not name:
        raise SourceError("source.delta: a path or a table is expected, and neither is given")
    version = source.version if source.version is not None else _newest(spark, source, name)
    batch = f"version {version}"
    if seen is not None and not seen.filter(F.col(BATCH) == batch).isEmpty():
        return None
    reader = spark.read.format("delta").option("versionAsOf", version)
    rows = reader.table(name) if source.table else reader.load(name)
    return Batch(rows.withColumn(SOURCE, F.lit(name)).withColumn(BATCH, F.lit(batch)), "replace")


def _newest(spark: SparkSession, source: Delta, name: str) -> int:
    quoted = ".".join(quote(part) for part in name.split(".")) if source.table else f"delta.{quote(name)}"
    row = spark.sql(f"DESCRIBE HISTORY {quoted} LIMIT 1").first()
    return int(row["version"]) if row else 0
