"""Monitor: predictions of former cutoffs against the actuals that came since, by partition, in executors.

A finding is an alert where the difference is large and, over all partitions that had the same check, hardly
chance: thousands of tests at once are corrected by Benjamini and Hochberg (1995), so that of all alerts of a
check no more than `monitor.significance` are expected to be false. Table `monitoring` keeps every finding of
every call; `alerts` has the alerts of the newest call, each with what to do. `train --only-degraded` fits the
partitions in it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from manymodels_spark.errors import ManyModelsError, TooManyAlerts
from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.tables import (
    ALERTS,
    FITS,
    MONITORING,
    PARTITIONS,
    PREDICTIONS,
    SILVER,
    Lake,
)
from manymodels_spark.modeling import live_errors
from manymodels_spark.spark.names import quote
from manymodels_spark.spark.workers import cogrouped
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.runs.alerts import BY_SCORE, replace_alerts
from manymodels_spark.stages.runs.job import Job, StageReport

FINDINGS_SCHEMA = (
    "run_id string, partition_id string, key string, check string, subject string, age string, steps bigint, "
    "value double, reference double, shift double, threshold double, p double, large boolean, "
    "first timestamp, last timestamp, at timestamp"
)
COLUMNS = [column.split()[0] for column in FINDINGS_SCHEMA.split(", ")]


@dataclass(frozen=True)
class AlertShare:
    """The alerts of one check and subject: how many partitions, the most changed of them in words, what to
    do.
    """

    check: str
    subject: str
    partitions: int
    examples: tuple[str, ...]
    advice: str


def alerts_by_check(lake: Lake, examples: int = 3) -> list[AlertShare]:
    """The newest alerts in short, most frequent first; empty where `monitor` never ran."""
    if not lake.exists(ALERTS):
        return []
    size = F.struct(F.abs("shift").alias("size"), "key", "value", "reference")
    some = F.slice(F.sort_array(F.collect_list(size), asc=False), 1, examples).alias("some")
    facts = (F.count_distinct("partition_id").alias("n"), some, F.first("advice").alias("advice"))
    grouped = lake.read(ALERTS).groupBy("check", "subject").agg(*facts)
    return [
        AlertShare(
            row["check"],
            row["subject"],
            int(row["n"]),
            tuple(_as_text(one) for one in row["some"]),
            row["advice"],
        )
        for row in grouped.orderBy(F.desc("n"), "check", "subject").collect()
    ]


def _as_text(one: Any) -> str:
    return f"{PartitionKey.parse(one['key'])} ({one['value']:.3g}, expected {one['reference']:.3g})"


def monitor(job: Job) -> StageReport:
    """Judge the predictions whose actuals are in `silver` by now, and test target and inputs for drift.

    Counts: partitions, monitored, alerted, alerts. Raises TooManyAlerts, with everything written, where the
    share of monitored partitions with an alert is above `monitor.alerts`; ManyModelsError for tasks without a
    time.
    """
    spec, lake = job.spec, job.lake
    if spec.task != "forecast":
        raise ManyModelsError(
            f"monitor compares forecasts with the actuals that came later; {spec.name} is a {spec.task}"
        )
    with job.stage("monitor") as report:
        lake.append(MONITORING, judge(_findings(lake, spec, report.run_id), spec.monitor.significance))
        mine = lake.read(MONITORING).filter(f"run_id = '{report.run_id}'")
        replace_alerts(lake, _alerts(mine), f"NOT {BY_SCORE}")
        _count(report, lake, mine)
    _judge(spec, report)
    return report


def _findings(lake: Lake, spec: Spec, run_id: str) -> DataFrame:
    """A row of `FINDINGS_SCHEMA` per partition, check and age."""
    time, window = F.col(quote(str(spec.columns.time))), live_errors.window_of(spec)
    spans = lake.read(PARTITIONS).filter("problem IS NULL").withColumn("_step", _step())

    def since(steps: int) -> Column:
        return F.col("_end") - F.lit(steps) * F.col("_step")

    ends = F.broadcast(spans.select("partition_id", F.unix_timestamp("end").alias("_end"), "_step"))
    silver = lake.read(SILVER).drop("bucket", *spec.partition_by).join(ends, "partition_id")
    actuals = silver.filter(F.unix_timestamp(time) >= since(live_errors.history_of(spec))).drop(
        "_end", "_step"
    )
    # Whole forecasts, or the steps ahead could not be counted; `live_errors` keeps those of the window.
    known = (F.unix_timestamp(time) <= F.col("_end")) & (
        F.unix_timestamp("cutoff") >= since(window + spec.horizon)
    )
    made = lake.read(PREDICTIONS).join(ends, "partition_id").filter(known)
    made = with_backtests(lake, spec, made.drop(*spec.partition_by))
    return cogrouped(made, actuals, "partition_id", watcher(spec, run_id), FINDINGS_SCHEMA)


def _step() -> Column:
    """The seconds between two rows of a partition, on average."""
    return (F.unix_timestamp("end") - F.unix_timestamp("start")) / F.greatest(F.col("rows") - 1, F.lit(1))


def with_backtests(lake: Lake, spec: Spec, made: DataFrame) -> DataFrame:
    """Predictions with their partition's key, and in `backtest` the metric of the very fit that made each of
    them, found by its checksum: a former champion is not judged by its successor's promise, and a fallback,
    which no backtest judged, by none.
    """
    keys = lake.read(PARTITIONS).select("partition_id", "key")
    metric = F.col("metrics")[spec.metric].alias("backtest")
    fits = lake.read(FITS).filter("payload IS NOT NULL").select("partition_id", "sha256", metric)
    judged = fits.dropDuplicates(["partition_id", "sha256"])
    return made.join(keys, "partition_id", "left").join(judged, ["partition_id", "sha256"], "left")


def judge(findings: DataFrame, significance: float) -> DataFrame:
    """Findings with `q` and `alert`: those of one check, subject and age are tested together over all
    partitions.
    """
    family = Window.partitionBy("check", "subject", "age", F.isnan("p"))
    ordered = family.orderBy("p", "partition_id").rowsBetween(Window.unboundedPreceding, Window.currentRow)
    above = family.orderBy("p", "partition_id").rowsBetween(Window.currentRow, Window.unboundedFollowing)
    ratio = F.col("p") * F.count(F.lit(1)).over(family) / F.count(F.lit(1)).over(ordered)
    q = F.least(F.min("_ratio").over(above), F.lit(1.0))
    found = findings.withColumn("_ratio", ratio).withColumn("q", q).drop("_ratio")
    return found.withColumn("alert", F.col("large") & ~F.isnan("p") & (F.col("q") <= significance))


def watcher(spec: Spec, run_id: str) -> Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]:
    """The function for `cogroup().applyInPandas()`: a partition's predictions and its actuals in, its
    findings out.
    """

    def watch_group(predictions: pd.DataFrame, actuals: pd.DataFrame) -> pd.DataFrame:
        if predictions.empty or actuals.empty:
            return pd.DataFrame(columns=COLUMNS)
        first = predictions.iloc[0]
        time = predictions[str(spec.columns.time)]
        facts: dict[str, Any] = {
            "run_id": run_id,
            "partition_id": first["partition_id"],
            "key": first["key"],
            "first": time.min(),
            "last": time.max(),
            "at": datetime.now(UTC).replace(tzinfo=None),
        }
        found = live_errors.watch(actuals, predictions, spec)
        return pd.DataFrame([{**asdict(one), **facts} for one in found], columns=COLUMNS)

    return watch_group


def _alerts(findings: DataFrame) -> DataFrame:
    """The alerts among findings, each with what to do."""
    advice = F.create_map(*(F.lit(part) for pair in live_errors.ADVICE.items() for part in pair))
    return findings.filter("alert").drop("alert", "large").withColumn("advice", advice[F.col("check")])


def _count(report: StageReport, lake: Lake, mine: DataFrame) -> None:
    alerted = F.when(F.col("alert"), F.col("partition_id"))
    row = mine.agg(
        F.count_distinct("partition_id").alias("monitored"),
        F.count_distinct(alerted).alias("alerted"),
        F.count(F.when(F.col("alert"), 1)).alias("alerts"),
    ).first()
    report.counts.update(
        partitions=lake.read(PARTITIONS).count(),
        **({k: int(v) for k, v in row.asDict().items()} if row else {}),
    )
    counts = report.counts
    waiting = counts["partitions"] - counts["monitored"]
    found = (
        f"{counts['alerted']:,} of {counts['monitored']:,} partitions with {counts['alerts']:,} alerts, "
        f"{waiting:,} without actuals yet"
    )
    report.note = (
        found
        if counts["monitored"]
        else f"nothing to compare yet: no forecast of {waiting:,} partitions has an actual"
    )


def _judge(spec: Spec, report: StageReport) -> None:
    monitored, alerted = report.counts["monitored"], report.counts["alerted"]
    if monitored and alerted > spec.monitor.alerts * monitored:
        raise TooManyAlerts(
            f"{alerted} of {monitored} monitored partitions have an alert ({alerted / monitored:.1%}), and "
            f"monitor.alerts allows {spec.monitor.alerts:.1%}. See table alerts, and "
            "`manymodels train SPEC --only-degraded`",
            report,
        )
