"""What the report and the status say of runs: stages, training runs, champions, decisions of a promotion."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from manymodels_spark.frames import records
from manymodels_spark.lake.tables import CHAMPIONS, FITS, PROMOTIONS, RUNS, Lake
from manymodels_spark.reporting import partition_details
from manymodels_spark.reporting import records as r

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

RUNS_SHOWN = 10


def training_runs(lake: Lake) -> list[r.TrainRow]:
    """The newest training runs, newest first, each with what it spent inside fits."""
    from pyspark.sql import functions as F

    if not lake.exists(RUNS):
        return []
    rows = (
        newest_events(lake, "run_id")
        .filter("stage = 'train'")
        .orderBy(F.desc("run_id"))
        .limit(RUNS_SHOWN)
        .collect()
    )
    spent: dict[str, Any] = {}
    if rows and lake.exists(FITS):
        mine = lake.read(FITS).filter(F.col("run_id").isin([row["run_id"] for row in rows]))
        sums = mine.groupBy("run_id").agg(
            F.sum("seconds").alias("fit"), F.sum("family_seconds").alias("family")
        )
        spent = {row["run_id"]: row for row in sums.collect()}
    return [_train_row(row, spent.get(row["run_id"])) for row in rows]


def _train_row(row: Any, spent: Any) -> r.TrainRow:
    fit, family = (float(spent["fit"] or 0), float(spent["family"] or 0)) if spent is not None else (0.0, 0.0)
    return r.TrainRow(
        row["run_id"],
        row["status"],
        partition_details.shown(row["began"]),
        float(row["seconds"]),
        dict(row["counts"] or {}),
        fit,
        family,
    )


def newest_events(lake: Lake, *by: str) -> DataFrame:
    """The newest event in `runs` of every stage, or of every stage and `by`; `began` is its start as text."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    newest = Window.partitionBy("stage", *by).orderBy(F.desc("run_id"), F.desc("ended_at"))
    events = lake.read(RUNS).withColumn("began", F.col("started_at").cast("string"))
    return events.withColumn("_rank", F.row_number().over(newest)).filter("_rank = 1").drop("_rank")


def stage_rows(lake: Lake) -> list[r.StageRow]:
    """The newest event of every stage, in the order in which they began."""
    if not lake.exists(RUNS):
        return []
    rows = sorted(newest_events(lake).collect(), key=lambda row: row["began"])
    return [
        r.StageRow(
            row["stage"],
            row["run_id"],
            row["status"],
            partition_details.shown(row["began"]),
            float(row["seconds"]),
            int(row["calls"]),
            row["note"] if row["status"] == "done" else "",
        )
        for row in rows
    ]


def champions_by_family(lake: Lake) -> list[r.ShareRow]:
    """The champions in production by family, most frequent first."""
    from pyspark.sql import functions as F

    if not lake.exists(CHAMPIONS):
        return []
    counted = (
        lake.read(CHAMPIONS).groupBy("family").agg(F.count("*").alias("n")).orderBy(F.desc("n"), "family")
    )
    return [r.ShareRow(str(row["family"]), int(row["n"])) for row in counted.collect()]


def decisions(lake: Lake) -> list[r.ShareRow]:
    """The newest promotion's decisions by outcome and by reason without its numbers."""
    if not lake.exists(PROMOTIONS):
        return []
    last = lake.read(PROMOTIONS).selectExpr("max_by(promotion, decided_at) AS promotion").first()
    mine = lake.read(PROMOTIONS).filter(f"promotion = '{last['promotion'] if last else ''}'")
    counted = mine.groupBy("outcome", "reason").count().toPandas()
    if counted.empty:
        return []
    named = counted.assign(reason=[general(str(text)) for text in counted["reason"]])
    sums = named.groupby(["outcome", "reason"], as_index=False).agg({"count": "sum"})
    shares = [r.ShareRow(row["outcome"], int(row["count"]), row["reason"]) for row in records(sums)]
    return sorted(shares, key=lambda share: (-share.count, share.name, share.detail))


def general(reason: str) -> str:
    """A decision's reason without the numbers that differ by partition; where gates failed, only those."""
    parts = reason.split("; ")
    failed = [part for part in parts if part.startswith("failed: ")]
    number = r"-?\d[\d.]*(?:e[+-]?\d+)?|nan"
    bound = r"(?=, (?:required|wanted) (?:below|above))"
    texts = [
        re.sub(rf"^((?:failed|held): \w+ )(?:{number}){bound}", r"\1…", part) for part in failed or parts
    ]
    texts = [
        re.sub(rf"(\w+ )(?:{number})(, \w+ )(?:{number})( \(.*\), by)", r"\1…\2…\3", text) for text in texts
    ]
    return "; ".join(texts)
