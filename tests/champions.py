"""Partitions with champions, laid out in a lake as the stages before `score` leave them, in a few seconds.

`from champions import lay_out`: for tests of scoring that are not about training or promotion.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pandas as pd
from lakes import KEPT, digest

from manymodels_spark.keys import PartitionKey, Value
from manymodels_spark.lake.tables import CHAMPIONS, FITS, PARTITIONS, SILVER
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.results import FitResult
from manymodels_spark.stages.promote.champions_index import INDEX_SCHEMA
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.train.fit_task import FITS_SCHEMA


def lay_out(job: Job, histories: Mapping[tuple[Value, ...], pd.DataFrame]) -> dict[str, FitResult]:
    """Fit each partition (its values in the order of the spec, and its rows) and write `partitions`,
    `silver`, `fits` and `champions`. Gives the fits by partition id. What was laid out before is copied.
    """
    folder = Path(job.lake.root)
    if folder.exists():
        return _write(job, histories)

    def make(place: Path) -> dict[str, FitResult]:
        return _write(Job.of(job.spec.model_copy(update={"lake": str(place)}), job.spark), histories)

    spec = job.spec.model_dump_json(exclude={"source", "stream", "mlflow", "lake", "warehouse"})
    rows = [(values, rows.to_json(date_format="iso")) for values, rows in histories.items()]
    key = f"champions-{digest(spec, rows)}"
    return KEPT.copy(key, folder, KEPT.root / f"{key}-at-work", make)


def _write(job: Job, histories: Mapping[tuple[Value, ...], pd.DataFrame]) -> dict[str, FitResult]:
    spec, lake = job.spec, job.lake
    keys = {
        values: PartitionKey.of(dict(zip(spec.partition_by, values, strict=True))) for values in histories
    }
    fits = {keys[values].id: fit_partition(rows, spec, keys[values]) for values, rows in histories.items()}
    silver = pd.concat(
        [
            rows.assign(partition_id=keys[values].id, bucket=0, **keys[values].as_dict())
            for values, rows in histories.items()
        ]
    )
    lake.overwrite(
        SILVER,
        job.spark.createDataFrame(silver).withColumn("bucket", _int("bucket")),
        by=["bucket"],
        note="silver",
    )
    people = [
        {
            "partition_id": key.id,
            "bucket": 0,
            "key": key.canonical,
            **key.as_dict(),
            "end": _end(job, histories[values]),
        }
        for values, key in keys.items()
    ]
    table = job.spark.createDataFrame(pd.DataFrame(people)).withColumn("bucket", _int("bucket"))
    lake.overwrite(
        PARTITIONS,
        table.selectExpr("*", "cast(null as string) AS problem", "cast(null as string) AS problem_detail"),
    )
    facts = [
        {
            "partition_id": key.id,
            "key": key.canonical,
            "status": "fitted",
            "family": fits[key.id].family,
            "sha256": fits[key.id].sha256,
            "cutoff": fits[key.id].cutoff,
            "payload": fits[key.id].payload,
            "model_id": f"m-{key.id}",
            "promoted_at": datetime(2026, 1, 1),
        }
        for key in keys.values()
    ]
    lake.append(FITS, job.spark.createDataFrame(_rows(facts, FITS_SCHEMA), FITS_SCHEMA))
    lake.overwrite(
        CHAMPIONS, job.spark.createDataFrame(_rows(facts, INDEX_SCHEMA), INDEX_SCHEMA), note="champions"
    )
    return fits


def _rows(facts: list[dict[str, object]], schema: str) -> list[tuple[object, ...]]:
    names = [column.split()[0] for column in schema.split(", ")]
    return [tuple(fact.get(name) for name in names) for fact in facts]


def _end(job: Job, rows: pd.DataFrame) -> pd.Timestamp:
    return rows[job.spec.columns.time].max() if job.spec.columns.time else pd.Timestamp("NaT")


def _int(name: str):  # type: ignore[no-untyped-def]
    from pyspark.sql import functions as F

    return F.col(name).cast("int")
