"""One wave of fits as one Spark job: the wave's rows, grouped by partition, through `fit_partition` in executors."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import pandas as pd

from manymodels_spark.fit import fit_partition
from manymodels_spark.isolate import Sandbox
from manymodels_spark.keys import PartitionKey
from manymodels_spark.results import FitResult
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.pack import Wave, slots
from manymodels_spark.tables import FITS, PARTITIONS, SILVER, Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FITS_SCHEMA = (
    "run_id string, wave int, partition_id string, key string, status string, family string, rows bigint, "
    "seconds double, family_seconds double, fingerprint string, reason string, message string, exception string, "
    "advice string, sha256 string, metrics map<string,double>, start string, cutoff string, fitted_at timestamp, "
    "task int, host string, families array<string>, options string, scores string, payload binary"
)
COLUMNS = [column.split()[0] for column in FITS_SCHEMA.split(", ")]
_ASSIGNED = ["slot", "task", "key", "fingerprint"]

_sandboxes: dict[str, Sandbox] = {}


def fit_wave(lake: Lake, spec: Spec, run_id: str, wave: Wave) -> None:
    """Fit the partitions of a wave and commit their outcomes to the `fits` table; a repeated call adds nothing."""
    rows = _rows(lake, wave)
    fitted = rows.groupBy("slot", "partition_id").applyInPandas(fitter(spec, run_id, wave.number), FITS_SCHEMA)
    lake.append(FITS, fitted, once=f"{run_id}-fits-{wave.number}")


def fitter(spec: Spec, run_id: str, wave: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """The function that Spark calls with the rows of one partition; gives one row of `FITS_SCHEMA`."""
    identity = spec.model_dump_json()

    def fit_group(rows: pd.DataFrame) -> pd.DataFrame:
        first: dict[str, Any] = {name: rows[name].iat[0] for name in [*_ASSIGNED, "partition_id"]}
        key = PartitionKey.parse(first["key"])
        result = _sandbox(identity, spec).run(rows.drop(columns=[*_ASSIGNED, "bucket", "partition_id"]), key)
        return pd.DataFrame([outcome(result, run_id, wave, first)], columns=COLUMNS)

    return fit_group


def outcome(result: FitResult, run_id: str, wave: int, assigned: dict[str, Any]) -> dict[str, Any]:
    """A fit's result as one row of the `fits` table."""
    failure = result.failure
    return {
        "run_id": run_id,
        "wave": wave,
        "partition_id": assigned["partition_id"],
        "key": assigned["key"],
        "status": str(result.status),
        "family": result.family,
        "rows": result.rows,
        "seconds": result.seconds,
        "family_seconds": result.family_seconds,
        "fingerprint": assigned["fingerprint"],
        "reason": None if failure is None else str(failure.reason),
        "message": None if failure is None else failure.message,
        "exception": None if failure is None else failure.exception,
        "advice": None if failure is None else failure.advice,
        "sha256": result.sha256,
        "metrics": result.metrics,
        "start": result.start,
        "cutoff": result.cutoff,
        "fitted_at": datetime.now(UTC).replace(tzinfo=None),
        "task": int(assigned["task"]),
        "host": socket.gethostname(),
        "families": list(result.families),
        "options": orjson.dumps(result.options, option=orjson.OPT_SERIALIZE_NUMPY).decode(),
        "scores": orjson.dumps([asdict(s) for s in result.scores], option=orjson.OPT_SERIALIZE_NUMPY).decode(),
        "payload": result.payload,
    }


def _rows(lake: Lake, wave: Wave) -> DataFrame:
    """Silver's rows of the wave, each with its task, laid out so that one Spark task holds one pack."""
    from pyspark.sql import functions as F

    assignment = _assignment(lake.spark, wave)
    keys = lake.read(PARTITIONS).filter(F.col("bucket").isin(wave.buckets)).select("partition_id", "key")
    silver = lake.read(SILVER).filter(F.col("bucket").isin(wave.buckets))
    assigned = F.broadcast(keys.join(F.broadcast(assignment), "partition_id"))
    return silver.join(assigned, "partition_id").repartition(wave.tasks, "slot")


def _assignment(spark: SparkSession, wave: Wave) -> DataFrame:
    numbers = slots(spark, wave.tasks)
    table = wave.members[["partition_id", "task", "fingerprint"]].astype({"task": "int32"})
    table = table.assign(slot=pd.array([numbers[task] for task in table["task"]], dtype="int32"))
    return spark.createDataFrame(table, "partition_id string, task int, fingerprint string, slot int")


def _sandbox(identity: str, spec: Spec) -> Sandbox:
    """This worker's child process for the spec, started with the first partition and kept for the next ones."""
    if identity not in _sandboxes:
        for other in _sandboxes.values():
            other.close()
        _sandboxes.clear()
        limits = spec.limits
        fit = lambda rows, key: fit_partition(rows, spec, key)  # noqa: E731
        _sandboxes[identity] = Sandbox(fit, limits.seconds_per_fit, limits.memory_per_fit)
    return _sandboxes[identity]
