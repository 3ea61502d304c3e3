"""Queries over the lake's tables that several stages share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.lake.tables import PARTITIONS, SCORING, UNSCORED, Lake

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# What one forecast of one partition is identified by, in `predictions` and in the warehouse.
PREDICTION_KEY = ("partition_id", "cutoff")


def newest_rows(rows: DataFrame, order: list[Column], count: int = 1) -> DataFrame:
    """The first `count` rows of every partition_id in the given order."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    ranked = rows.withColumn("_rank", F.row_number().over(Window.partitionBy("partition_id").orderBy(*order)))
    return ranked.filter(F.col("_rank") <= count).drop("_rank")


def latest_fits(fits: DataFrame) -> DataFrame:
    """The newest row of every partition, by `fitted_at` and then by run."""
    from pyspark.sql import functions as F

    return newest_rows(fits, [F.col("fitted_at").desc(), F.col("run_id").desc()])


def prepared_partitions(lake: Lake) -> DataFrame:
    """Table `partitions`; one that an older version wrote has nothing inactive."""
    from pyspark.sql import functions as F

    partitions = lake.read(PARTITIONS)
    if "inactive" in partitions.columns:
        return partitions
    return partitions.withColumn("inactive", F.lit(False))


def unscored_reasons(lake: Lake) -> dict[str, int]:
    """Why partitions have no forecast since the newest scoring: partitions by reason, most frequent first."""
    from pyspark.sql import functions as F

    if not lake.exists(UNSCORED):
        return {}
    reason = F.element_at(F.split("error", ": "), 1).alias("reason")
    counted = lake.read(UNSCORED).groupBy(reason).agg(F.count_distinct("partition_id").alias("n"))
    return {row["reason"]: int(row["n"]) for row in counted.orderBy(F.desc("n"), "reason").collect()}


@dataclass(frozen=True)
class OlderModels:
    """Partitions of the newest scoring whose model was trained before the forecast's start, and the date of
    the oldest of these models.
    """

    partitions: int
    oldest: str


def older_models(lake: Lake) -> OlderModels | None:
    """The newest scoring's models that are older than their forecast; None where there are none."""
    from pyspark.sql import functions as F

    if not lake.exists(SCORING) or "trained_until" not in lake.read(SCORING).columns:
        return None
    older = lake.read(SCORING).filter("error IS NULL AND trained_until < cutoff")
    oldest = F.date_format(F.min("trained_until"), "yyyy-MM-dd").alias("oldest")
    row = older.agg(F.count_distinct("partition_id").alias("n"), oldest).first()
    return OlderModels(int(row["n"]), str(row["oldest"])) if row and row["n"] else None


def in_scope(lake: Lake, only: str | None) -> DataFrame:
    """The prepared partitions that `only` (SQL over the partition columns) selects.

    Raises ManyModelsError where `only` is no condition on the table's columns.
    """
    from pyspark.errors import AnalysisException, ParseException

    partitions = prepared_partitions(lake)
    if only is None:
        return partitions
    try:
        chosen = partitions.filter(only)
        chosen.schema  # noqa: B018  (Spark Connect resolves a condition only when asked for something)
    except (AnalysisException, ParseException) as error:
        said = str(error).strip().splitlines()[0]  # the lines below it show Spark's plan of the query
        raise ManyModelsError(
            f"--only {only!r} is no condition on {', '.join(partitions.columns)}: {said}"
        ) from error
    return chosen
