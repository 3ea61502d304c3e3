"""One row per partition and time: repeated rows merged, missing steps filled, and only as the spec says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from manymodels_spark.names import quote
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.typed import ORDER

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, WindowSpec

ID = "partition_id"


def deduplicated(rows: DataFrame, spec: Spec, repeating: DataFrame | None) -> DataFrame:
    """Rows with the same time merged by `prepare.duplicates`; inputs are those of the last row.

    `repeating` has the partition_id of the partitions where a time stands more than once, None where there are none:
    all others pass as they are, since merging shuffles and sorts every row.
    """
    from pyspark.sql import functions as F

    if spec.columns.time is None or spec.task != "forecast" or repeating is None:
        return rows.drop(ORDER)
    ids = F.broadcast(repeating.select(ID))
    return rows.join(ids, ID, "left_anti").drop(ORDER).unionByName(_merged(rows.join(ids, ID, "left_semi"), spec))


def _merged(rows: DataFrame, spec: Spec) -> DataFrame:
    from pyspark.sql import functions as F

    target = F.col(quote(spec.columns.target))
    rule = spec.prepare.duplicates
    value = {"sum": F.sum(target), "mean": F.avg(target)}.get(rule, F.max_by(target, ORDER))
    others = [name for name in rows.columns if name not in (ID, spec.columns.time, spec.columns.target, ORDER)]
    last = [F.max_by(F.col(quote(name)), ORDER).alias(name) for name in others]
    return rows.groupBy(ID, quote(str(spec.columns.time))).agg(value.alias(spec.columns.target), *last)


def completed(rows: DataFrame, spec: Spec, spans: DataFrame, calendar: DataFrame | None) -> DataFrame:
    """Steps missing between a partition's first and last row added; targets filled by `prepare.gaps`.

    `spans` has partition_id, first and last; `calendar` partition_id, the time and the known-future columns, which
    it tells for the steps that were added.
    """
    from pyspark.sql import functions as F

    if spec.prepare.gaps == "leave" or spec.columns.time is None or spec.task != "forecast":
        return rows
    time, target = spec.columns.time, spec.columns.target
    full = _with_calendar(_grid(spans, spec).join(rows, [ID, time], "full_outer"), spec, calendar)
    forward = [target] if spec.prepare.gaps == "forward" else []
    if carried := [*spec.columns.inputs, *forward]:  # Spark Connect refuses to add no columns
        full = full.withColumns({name: _carried(name, spec) for name in carried})
    zero = F.coalesce(F.col(quote(target)), F.lit(0.0))
    return full.withColumn(target, zero) if spec.prepare.gaps == "zero" else full


def shortened(rows: DataFrame, spec: Spec) -> DataFrame:
    """Only the last `prepare.history` rows of each partition, where the spec says so."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    if spec.prepare.history is None or spec.columns.time is None:
        return rows
    tie = F.xxhash64(*(F.col(quote(name)) for name in rows.columns))  # rows of one time are cut alike in every run
    newest = Window.partitionBy(ID).orderBy(F.col(quote(spec.columns.time)).desc(), tie)
    return rows.withColumn("_rank", F.row_number().over(newest)).filter(F.col("_rank") <= spec.prepare.history).drop("_rank")


def _grid(spans: DataFrame, spec: Spec) -> DataFrame:
    """All steps of the frequency between each partition's first and last time."""
    from pyspark.sql import functions as F

    bounds = spans.agg(F.min("first").cast("string").alias("low"), F.max("last").cast("string").alias("high")).first()
    low, high = (bounds["low"], bounds["high"]) if bounds and bounds["low"] else ("2000-01-01", "2000-01-01")
    steps = pd.DataFrame({str(spec.columns.time): pd.date_range(low, high, freq=spec.columns.frequency)})
    table = F.broadcast(spans.sparkSession.createDataFrame(steps))
    time = table[quote(str(spec.columns.time))]
    return spans.join(table, (time >= spans["first"]) & (time <= spans["last"])).select(ID, time)


def _with_calendar(rows: DataFrame, spec: Spec, calendar: DataFrame | None) -> DataFrame:
    from pyspark.sql import functions as F

    known = spec.columns.known_future
    if calendar is None or not known:
        return rows
    renamed = calendar.select(ID, quote(str(spec.columns.time)), *(F.col(quote(name)).alias(f"_known_{name}") for name in known))
    joined = rows.join(renamed, [ID, str(spec.columns.time)], "left")
    told = {name: F.coalesce(F.col(quote(name)), F.col(quote(f"_known_{name}"))) for name in known}
    return joined.withColumns(told).drop(*(f"_known_{name}" for name in known))


def _carried(name: str, spec: Spec) -> Column:
    from pyspark.sql import functions as F

    return F.last(F.col(quote(name)), ignorenulls=True).over(_within(spec))


def _within(spec: Spec) -> WindowSpec:
    from pyspark.sql import Window

    return Window.partitionBy(ID).orderBy(quote(str(spec.columns.time)))
