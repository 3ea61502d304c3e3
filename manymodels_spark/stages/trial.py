"""Try: the stages on a few partitions of a spec, in a lake and an MLflow of their own that are thrown away.

Partitions are spread evenly over the lengths that there are. Nothing of the spec's own places is touched:
predictions stay in the scratch lake, and no warehouse is loaded.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.frames import records
from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.tables import FITS, PREDICTIONS, QUARANTINE, SILVER
from manymodels_spark.spark.names import quote
from manymodels_spark.spark.session import cores, starts_java
from manymodels_spark.spec.model import Spec
from manymodels_spark.spec.places import DuckDB, Mlflow, Repository
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.pipeline import RunReport, run
from manymodels_spark.stages.runs.job import Job, Progress, StageReport, new_run_id

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PARTITIONS, SHOWN = 20, 3


@dataclass(frozen=True)
class TriedPartition:
    """One partition of a trial: its prepared rows and its predictions, as the tables have them."""

    key: PartitionKey
    family: str
    metric: float | None
    history: pd.DataFrame
    forecast: pd.DataFrame


@dataclass(frozen=True)
class Trial:
    """What a trial found. `total` are the source's partitions, `fit_seconds` those of all its fits together,
    `seconds` the trial's own without the start of Spark; `shown` are the best, the median and the worst of
    those with a forecast.
    """

    spec: Spec
    report: RunReport
    total: int
    fitted: int
    fit_seconds: float
    median: float | None
    naive: float | None
    families: dict[str, int]
    quarantined: list[tuple[PartitionKey, str, str]]
    shown: tuple[TriedPartition, ...]
    cores: int
    seconds: float

    @property
    def run_seconds(self) -> float:
        """About what training all partitions takes on these cores, the fixed part of a run included."""
        fits = self.fit_seconds / max(self.fitted, 1) * self.total / self.cores
        return fits + max(self.seconds - self.fit_seconds / self.cores, 0.0)


def try_spec(
    spec: Spec, spark: SparkSession, progress: Progress | None = None, scratch: str | None = None
) -> Trial:
    """Run the stages up to scoring on 20 partitions.

    Args:
        spec: the spec to try.
        spark: the session to try it in.
        progress: what is told how the stages go.
        scratch: a folder that all workers reach, for the scratch lake; by default one of this machine.

    Returns:
        What was found. Failed partitions are in it, they end nothing.

    Raises:
        ManyModelsError: where a stage cannot work, and on a cluster without `scratch`.

    """
    with _local() as local:
        begin = time.perf_counter()
        job = Job.of(_elsewhere(spec, local, _tables(scratch, local)), spark, progress)
        total: list[int] = []
        first = ingest(job, narrow=partial(_chosen, spec, total))
        report = _stages(job, first)
        return _trial(job, spec, report, total[0], begin)


def _stages(job: Job, first: StageReport) -> RunReport:
    """The stages after ingest; scoring where there is a champion."""
    report = run(job, ("prepare", "train", "promote"))
    last = run(job, ("score",)) if report["promote"].counts.get("champions") else RunReport(())
    failures = report.too_many_failures or last.too_many_failures
    return RunReport((first, *report.stages, *last.stages), failures)


def _local() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="manymodels-try-", ignore_cleanup_errors=True)


def _tables(scratch: str | None, local: str) -> str:
    """Where the trial's tables go. Raises ManyModelsError on a cluster without a place that is shared."""
    if scratch is None and not starts_java():
        raise ManyModelsError(
            "the workers of this platform share no folder of this machine. Name one that they all reach for "
            "the trial's tables: --scratch abfss://... (in a notebook `scratch=`). It is left there"
        )
    return local if scratch is None else f"{scratch.rstrip('/')}/{new_run_id()}"


def _elsewhere(spec: Spec, local: str, tables: str) -> Spec:
    """The spec with its MLflow and warehouse in a folder of this machine, its lake and models in `tables`."""
    dev, prod = (
        Repository(tracking=f"sqlite:///{local}/{name}.db", artifacts=f"{tables}/{name}")
        for name in ("dev", "prod")
    )
    return spec.model_copy(
        update={
            "lake": f"{tables}/lake",
            "mlflow": Mlflow(development=dev, production=prod),
            "warehouse": DuckDB(path=f"{local}/warehouse.duckdb"),
            # Nobody has approved a model that was made a minute ago.
            "promote": spec.promote.model_copy(update={"approval": None}),
        }
    )


def _chosen(spec: Spec, total: list[int], rows: DataFrame) -> DataFrame:
    """The rows of partitions of all lengths; their number of all is added to `total`."""
    from pyspark.sql import functions as F

    keys = [quote(name) for name in spec.partition_by]
    counted = rows.groupBy(*keys).agg(F.count("*").alias("_rows"))
    ranked = counted.orderBy("_rows", *keys).toPandas()
    total.append(len(ranked))
    places = spread(len(ranked), PARTITIONS)
    if len(places) == len(ranked):
        return rows
    chosen = rows.sparkSession.createDataFrame(
        [
            tuple(_plain(value) for value in row)
            for row in ranked.drop(columns="_rows").iloc[places].to_numpy(object)
        ],
        counted.drop("_rows").schema,
    )
    named = chosen.toDF(*(f"_chosen_{number}" for number in range(len(keys))))
    same = [F.col(name).eqNullSafe(F.col(f"_chosen_{number}")) for number, name in enumerate(keys)]
    return rows.join(F.broadcast(named), same, "left_semi")


def _plain(value: Any) -> Any:
    """A value of a pandas frame as Spark takes it."""
    if value is None or value is pd.NaT or (isinstance(value, float) and value != value):
        return None
    return (
        value.to_pydatetime() if isinstance(value, pd.Timestamp) else getattr(value, "item", lambda: value)()
    )


def spread(count: int, most: int) -> list[int]:
    """At most `most` places among `count`, the first and the last among them, evenly apart."""
    if count <= most:
        return list(range(count))
    return sorted({round(number * (count - 1) / (most - 1)) for number in range(most)})


def _trial(job: Job, spec: Spec, report: RunReport, total: int, begin: float) -> Trial:
    columns = ["partition_id", "key", "status", "family", "seconds", "metrics"]
    fits = records(job.lake.read(FITS).select(*columns).toPandas())
    good = [row for row in fits if row["status"] != "failed"]
    metric = spec.metric
    found = {str(row["partition_id"]): dict(row["metrics"] or {}) for row in good}
    own = {name: float(one[metric]) for name, one in found.items() if one.get(metric) is not None}
    naive = [one[f"seasonal_naive_{metric}"] for one in found.values() if f"seasonal_naive_{metric}" in one]
    families = pd.Series([str(row["family"]) for row in good], dtype=str).value_counts().to_dict()
    failed = (
        job.lake.read(QUARANTINE).select("key", "reason", "advice").collect()
        if job.lake.exists(QUARANTINE)
        else []
    )
    return Trial(
        spec=spec,
        report=report,
        total=total,
        fitted=len(good),
        fit_seconds=float(sum(float(str(row["seconds"])) for row in fits)),
        median=float(pd.Series(own).median()) if own else None,
        naive=float(pd.Series(naive, dtype=float).median()) if naive else None,
        families={str(name): int(count) for name, count in families.items()},
        quarantined=[(PartitionKey.parse(row["key"]), row["reason"], row["advice"]) for row in failed],
        shown=_shown(job, good, own),
        cores=cores(job.spark),
        seconds=time.perf_counter() - begin,
    )


def _shown(job: Job, fits: list[dict[str, Any]], own: dict[str, float]) -> tuple[TriedPartition, ...]:
    """The best, the median and the worst by the spec's metric, of those with a forecast."""
    lake, time_column = job.lake, job.spec.columns.time
    if time_column is None or not lake.exists(PREDICTIONS):
        return ()
    predicted = lake.read(PREDICTIONS).toPandas()
    ranked = sorted(set(predicted["partition_id"]), key=lambda name: (own.get(name, float("inf")), name))
    ids = [ranked[place] for place in spread(len(ranked), SHOWN)]
    rows = lake.read(SILVER).filter(_any_of(ids)).toPandas() if ids else pd.DataFrame()
    by_id = {str(row["partition_id"]): row for row in fits}
    return tuple(
        TriedPartition(
            key=PartitionKey.parse(str(by_id[name]["key"])),
            family=str(by_id[name]["family"]),
            metric=own.get(name),
            history=rows[rows["partition_id"] == name].sort_values(time_column, ignore_index=True),
            forecast=predicted[predicted["partition_id"] == name].sort_values(time_column, ignore_index=True),
        )
        for name in ids
        if name in by_id
    )


def _any_of(ids: list[str]) -> str:
    return f"partition_id IN ({', '.join(repr(name) for name in ids)})"
