"""What reports in the warehouse read besides predictions: actuals and metrics, a row each, and the views."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from manymodels_spark.errors import WarehouseError
from manymodels_spark.lake.queries import latest_fits
from manymodels_spark.lake.tables import ACTUALS, ALERTS, FITS, METRICS, PARTITIONS, PREDICTIONS, SILVER, Lake
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.runs.alerts import ALERTS_SCHEMA
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.warehouse import views

if TYPE_CHECKING:
    from manymodels_spark.warehouse.base import Warehouse

HORIZONS_BEFORE = 3
DIALECTS = {dialect.name: dialect for dialect in (views.DUCKDB, views.POSTGRES, views.SYNAPSE)}


def refresh_facts(job: Job) -> None:
    """Bring `actuals` and `metrics` up to date with what they are made of; nothing is done where nothing
    changed.
    """
    lake, spec = job.lake, job.spec
    if spec.task == "forecast" and lake.exists(SILVER) and lake.exists(PREDICTIONS):
        lake.ensure(ALERTS, ALERTS_SCHEMA)
        _refresh(
            lake,
            ACTUALS,
            f"silver={lake.version(SILVER)} horizon={spec.horizon}",
            lambda: _actuals(lake, spec),
        )
    if lake.exists(FITS):
        _refresh(lake, METRICS, f"fits={lake.version(FITS)}", lambda: _metrics(lake))


def _refresh(lake: Lake, table: str, origin: str, rows: Callable[[], DataFrame]) -> None:
    if lake.note(table) != origin:
        lake.overwrite(table, rows(), note=origin)


def _actuals(lake: Lake, spec: Spec) -> DataFrame:
    """partition_id, time and actual, from some horizons before each partition's first prediction on."""
    time, target = quote(str(spec.columns.time)), quote(spec.columns.target)
    first = (
        lake.read(PREDICTIONS).groupBy("partition_id").agg(F.unix_timestamp(F.min("cutoff")).alias("_first"))
    )
    step = (F.unix_timestamp("end") - F.unix_timestamp("start")) / F.greatest(F.col("rows") - 1, F.lit(1))
    since = first.join(lake.read(PARTITIONS).select("partition_id", step.alias("_step")), "partition_id")
    placed = lake.read(SILVER).join(F.broadcast(since), "partition_id")
    kept = placed.filter(
        F.unix_timestamp(time) > F.col("_first") - HORIZONS_BEFORE * spec.horizon * F.col("_step")
    )
    moment = F.col(time).cast("timestamp").alias(str(spec.columns.time))
    return kept.select("partition_id", moment, F.col(target).cast("double").alias("actual"))


def _metrics(lake: Lake) -> DataFrame:
    """A row per partition and metric of its newest fit."""
    newest = latest_fits(
        lake.read(FITS).select("partition_id", "run_id", "status", "family", "metrics", "fitted_at")
    )
    exploded = newest.filter("status <> 'failed'").select(
        "partition_id", "run_id", "family", F.explode("metrics").alias("metric", "value"), "fitted_at"
    )
    return exploded.filter("NOT isnan(value)")


def star_of(spec: Spec) -> views.Star:
    """What the views of a spec are made of."""
    return views.Star(
        spec.name,
        tuple(spec.partition_by),
        str(spec.columns.time) if spec.task == "forecast" else None,
        tuple(spec.backtest.intervals),
        spec.warehouse.table or f"{spec.name}_{PREDICTIONS}",
        spec.task == "classification",
    )


def require_views(warehouse: Warehouse, spec: Spec) -> None:
    """Raise WarehouseError where a view that is there could not be given its new columns after the load."""
    columns = {view.name: [name for name, *_ in view.columns] for view in _views(warehouse, spec)}
    warehouse.require_replaceable(columns)


def put_views(warehouse: Warehouse, spec: Spec) -> dict[str, WarehouseError]:
    """Make the views whose tables are in the warehouse. Gives the errors of those that were refused by name:
    what was loaded counts all the same, and each view stands for itself.
    """
    refused: dict[str, WarehouseError] = {}
    present = sorted(warehouse.tables())
    for view in views.available(_views(warehouse, spec), star_of(spec), present):
        try:
            warehouse.put_view(view.name, view.select(DIALECTS[warehouse.dialect]))
        except WarehouseError as error:
            refused[view.name] = error
    return refused


def _views(warehouse: Warehouse, spec: Spec) -> list[views.View]:
    schema = getattr(warehouse, "schema", None)
    return views.star(star_of(spec), DIALECTS[warehouse.dialect], schema)


def refused_views(views: Mapping[str, WarehouseError]) -> str:
    """What a load's line says of views that the warehouse refused; nothing where there are none."""
    if not views:
        return ""
    first = next(iter(views.values()))
    number = "1 view was" if len(views) == 1 else f"{len(views)} views were"
    return f". The tables are loaded; {number} refused: {first}"
