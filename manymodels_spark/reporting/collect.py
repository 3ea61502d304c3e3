"""Report: what the lake says of the newest run, aggregated in Spark into the plain records of one HTML page.

Only a slim row per partition comes to the driver; histories and folds come for the partitions worth a look
and for as many others as a page can hold. Nothing is written to the lake.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.keys import PartitionKey, readable
from manymodels_spark.lake.queries import latest_fits
from manymodels_spark.lake.tables import (
    FITS,
    PARTITIONS,
    PREDICTIONS,
    PROMOTIONS,
    QUARANTINE,
    UNSCORED,
    Lake,
)
from manymodels_spark.reporting import figures, partition_details
from manymodels_spark.reporting import records as r
from manymodels_spark.reporting.page import render
from manymodels_spark.reporting.runs import champions_by_family, decisions, stage_rows, training_runs
from manymodels_spark.spark.session import cores
from manymodels_spark.spec.metric_names import HIGHER_IS_BETTER, TASK_METRICS
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.train.quarantine import by_reason

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

FOLDER = Path(".manymodels/reports")
_SCORES = "array<struct<candidate:string,metrics:map<string,double>,seconds:double,error:string>>"


def report(job: Job, out: Path | None = None) -> Path:
    """Write the report of the newest training run; its path, by default `.manymodels/reports/RUN.html`.

    Raises ManyModelsError where the spec was never prepared, or the file cannot be written.
    """
    data = collect(job)
    path = out or FOLDER / f"{data.training[0].run_id if data.training else data.spec}.html"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(data), encoding="utf-8")
    except OSError as error:
        raise ManyModelsError(
            f"the report cannot be written to {path} ({error.strerror}). Give another place with --out"
        ) from error
    return path


def collect(job: Job) -> r.ReportData:
    """The report's records, read from the tables that exist."""
    spec, lake = job.spec, job.lake
    training = training_runs(lake)
    partitions = _partitions(job, training[0].run_id if training else "")
    data = r.ReportData(
        spec=spec.name,
        task=spec.task,
        metric=spec.metric,
        higher_is_better=spec.metric in HIGHER_IS_BETTER,
        partition_by=list(spec.partition_by),
        target=spec.columns.target,
        horizon=spec.horizon,
        made_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        cores=cores(job.spark),
        partitions=partitions,
        stages=stage_rows(lake),
        training=training,
    )
    if lake.exists(FITS):
        fits = (
            latest_fits(_present(lake, FITS).drop("payload", "options", "folds"))
            .filter("status <> 'failed'")
            .persist()
        )
        data.candidates, data.spreads, data.coverage = (
            _candidates(fits, spec.metric),
            _spreads(fits, job),
            _coverage(fits, job),
        )
        fits.unpersist()
    if lake.exists(QUARANTINE):
        data.quarantine = _quarantine(lake)
    data.champions = champions_by_family(lake)
    data.decisions, data.unscored = decisions(lake), _unscored(lake)
    data.details = partition_details.details(lake, spec, partitions)
    data.predictions = lake.read(PREDICTIONS).count() if lake.exists(PREDICTIONS) else 0
    return data


def _present(lake: Lake, table: str) -> DataFrame:
    """The rows of partitions that are still in the data."""
    return lake.read(table).join(lake.read(PARTITIONS).select("partition_id"), "partition_id", "left_semi")


def _partitions(job: Job, run_id: str) -> pd.DataFrame:
    """A slim row per prepared partition: the columns of `ReportData.partitions`."""
    from pyspark.sql import functions as F

    lake, spec = job.lake, job.spec
    base = lake.read(PARTITIONS).select("partition_id", "key", F.col("rows").alias("prepared"))
    if not lake.exists(FITS):
        return _named(base.toPandas(), spec.partition_by, run_id)
    fits = lake.read(FITS).select(
        "partition_id", "run_id", "status", "family", "seconds", "fitted_at", *_values(spec.metric)
    )
    newest = latest_fits(fits).drop("fitted_at").withColumnRenamed("run_id", "fit_run")
    joined = base.join(newest, "partition_id", "left").join(_before(fits), "partition_id", "left")
    if lake.exists(PROMOTIONS):
        decided = _last_promotion(lake).select("partition_id", F.col("outcome").alias("decision"))
        joined = joined.join(decided, "partition_id", "left")
    return _named(joined.toPandas(), spec.partition_by, run_id)


def _values(metric: str) -> list[Any]:
    from pyspark.sql import functions as F

    return [
        F.col("metrics")[metric].alias("metric"),
        F.col("metrics")[f"seasonal_naive_{metric}"].alias("naive"),
    ]


def _before(fits: DataFrame) -> DataFrame:
    """The metric of the model before the newest one, where there was one."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    order = Window.partitionBy("partition_id").orderBy(F.desc("fitted_at"), F.desc("run_id"))
    ranked = fits.filter("status <> 'failed'").withColumn("_rank", F.row_number().over(order))
    return ranked.filter("_rank = 2").select("partition_id", F.col("metric").alias("previous"))


def _named(frame: pd.DataFrame, partition_by: list[str], run_id: str) -> pd.DataFrame:
    """The frame with the key's columns as text, and with every column of the page."""
    keys = [PartitionKey.parse(key).as_dict() for key in frame["key"]]
    texts = {r.column(name): [readable(key[name]) for key in keys] for name in partition_by}
    numbers = ("metric", "naive", "previous", "seconds")
    missing = dict.fromkeys(("status", "family", "decision", "fit_run")) | dict.fromkeys(
        numbers, float("nan")
    )
    full = frame.assign(**{name: value for name, value in missing.items() if name not in frame}, **texts)
    full = full.assign(
        status=full["status"].where(full["status"].notna(), r.NEVER),
        fresh=full["fit_run"] == run_id,
        rows=full["prepared"].astype(int),
    )
    order = sorted(
        full.index, key=lambda index: [figures.natural(texts[r.column(name)][index]) for name in partition_by]
    )
    return full.loc[order, [*r.PARTITION_COLUMNS, *texts]].reset_index(drop=True)


def _candidates(fits: DataFrame, metric: str) -> list[r.CandidateRow]:
    from pyspark.sql import functions as F

    one = fits.select("family", F.explode(F.from_json("scores", _SCORES)).alias("s")).filter(
        "not coalesce(s.error, '') like 'ruled out:%'"
    )
    counted = one.groupBy("s.candidate").agg(
        F.count("*").alias("tried"),
        F.count("s.error").alias("errors"),
        F.count(F.when(F.col("family") == F.col("s.candidate"), 1)).alias("wins"),
        F.sum("s.seconds").alias("seconds"),
        F.percentile(F.nanvl(F.col("s.metrics")[metric], F.lit(None)), [0.25, 0.5, 0.75]).alias("q"),
    )
    return [
        r.CandidateRow(
            row["candidate"],
            row["tried"],
            row["errors"],
            row["wins"],
            tuple(row["q"] or (None,) * 3),
            float(row["seconds"] or 0),
        )
        for row in counted.orderBy(F.desc("wins"), "candidate").collect()
    ]


def _spreads(fits: DataFrame, job: Job) -> list[r.SpreadRow]:
    """The spec's metric by family, then every other metric over all partitions."""
    metric = job.spec.metric
    others = [name for name in TASK_METRICS[job.spec.task] if name != metric]
    by_family = _quantiles(fits, "family", metric)
    overall = [row for name in (metric, *others) for row in _quantiles(fits, "'all'", name)]
    return [*overall[:1], *by_family, *overall[1:]]


def _quantiles(fits: DataFrame, by: str, metric: str) -> list[r.SpreadRow]:
    from pyspark.sql import functions as F

    value = F.nanvl(F.col("metrics")[metric], F.lit(None).cast("double"))
    found = fits.select(F.expr(by).alias("by"), value.alias("value")).filter("value IS NOT NULL")
    grouped = found.groupBy("by").agg(
        F.count("*").alias("n"), F.percentile("value", [0.1, 0.25, 0.5, 0.75, 0.9]).alias("q")
    )
    return [
        r.SpreadRow(metric, row["by"], row["n"], tuple(row["q"]))
        for row in grouped.orderBy(F.desc("n"), "by").collect()
    ]


def _coverage(fits: DataFrame, job: Job) -> list[r.CoverageRow]:
    from pyspark.sql import functions as F

    rows = []
    for level in sorted(job.spec.backtest.intervals):
        value = F.col("metrics")[f"coverage_{level}"].alias("value")
        facts = (
            F.count("value").alias("n"),
            F.mean("value").alias("mean"),
            F.percentile("value", [0.1, 0.9]).alias("q"),
        )
        row = fits.select(value).filter("value IS NOT NULL AND NOT isnan(value)").agg(*facts).first()
        if row is not None and row["n"]:
            rows.append(r.CoverageRow(level, row["n"], row["mean"], row["q"][0], row["q"][1]))
    return rows


def _quarantine(lake: Lake) -> list[r.QuarantineRow]:
    return [
        r.QuarantineRow(
            row.reason,
            row.partitions,
            row.advice,
            tuple((partition_details.title(key), message) for key, message in row.examples),
        )
        for row in by_reason(lake)
    ]


def _last_promotion(lake: Lake) -> DataFrame:
    """The newest decision of every partition."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    newest = Window.partitionBy("partition_id").orderBy(F.desc("decided_at"), F.desc("promotion"))
    return (
        lake.read(PROMOTIONS)
        .withColumn("_rank", F.row_number().over(newest))
        .filter("_rank = 1")
        .drop("_rank")
    )


def _unscored(lake: Lake) -> list[r.ShareRow]:
    from pyspark.sql import functions as F

    if not lake.exists(UNSCORED):
        return []
    rows = (
        lake.read(UNSCORED)
        .groupBy("error")
        .agg(F.count("*").alias("n"), F.min("key").alias("one"))
        .orderBy(F.desc("n"), "error")
    )
    return [
        r.ShareRow(str(row["error"]), int(row["n"]), partition_details.title(row["one"]))
        for row in rows.limit(20).collect()
    ]
