"""One wave of fits as one Spark job: the wave's rows, by partition, through `fit_partition` in executors."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from threading import Thread
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from manymodels_spark import observe
from manymodels_spark.families import registry
from manymodels_spark.frames import records
from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.tables import FITS, SILVER, Lake
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.results import FitResult
from manymodels_spark.spark.names import quote
from manymodels_spark.spark.session import cores
from manymodels_spark.spark.workers import mapped
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.train.groups import groups
from manymodels_spark.stages.train.packing import Wave, slots
from manymodels_spark.stages.train.sandbox import Sandbox, tidy_imports
from manymodels_spark.stages.train.warm_start import warm_starts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FITS_SCHEMA = (
    "run_id string, wave int, partition_id string, key string, status string, family string, rows bigint, "
    "seconds double, family_seconds double, fingerprint string, reason string, message string, exception "
    "string, "
    "advice string, sha256 string, metrics map<string,double>, start string, cutoff string, fitted_at "
    "timestamp, "
    "task int, host string, families array<string>, options string, scores string, folds string, "
    "started_from string, payload binary"
)
COLUMNS = [column.split()[0] for column in FITS_SCHEMA.split(", ")]
ASSIGNED = ["partition_id", "key", "fingerprint"]
NUMBER = "_number"
_ARROW = {
    "string": pa.string(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "binary": pa.binary(),
    "map<string,double>": pa.map_(pa.string(), pa.float64()),
    "array<string>": pa.list_(pa.string()),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
_OUTCOMES_IN_A_BATCH = 64

_sandboxes: dict[str, Sandbox] = {}


def _told(
    lake: Lake, spec: Spec, run_id: str, wave: Wave, version: int | None = None, table: str = FITS
) -> dict[str, int]:
    return {"wave": wave.number, "partitions": len(wave.members)}


@observe.traced("fit", _told)
def fit_wave(
    lake: Lake, spec: Spec, run_id: str, wave: Wave, version: int | None = None, table: str = FITS
) -> None:
    """Fit the partitions of a wave and commit their outcomes to `table`; a repeated call adds nothing.

    The rows are those of silver's `version` (by default the newest), whoever prepares new ones meanwhile.
    """
    started = warm_starts(lake, spec, wave.members["partition_id"])
    members = [{**row, "start": started.get(row["partition_id"])} for row in records(wave.members[ASSIGNED])]
    fitted = mapped(_rows(lake, spec, wave, version), fitter(spec, run_id, wave.number, members), FITS_SCHEMA)
    lake.append(table, fitted, once=f"{run_id}-fits-{wave.number}")


def warm(spark: SparkSession, spec: Spec, partitions: int | None = None) -> None:
    """Have the executors import the spec's families while the driver gets ready: seconds for each of their
    processes.

    No more of them than `partitions` to fit, where that is known.
    """
    workers = cores(spark) if partitions is None else min(cores(spark), partitions)

    def load(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        _import(spec)
        yield from batches

    def run() -> None:
        with suppress(Exception):  # no more than a head start
            spark.range(workers, numPartitions=workers).mapInArrow(load, "id bigint").count()

    if workers:
        Thread(target=run, name="warm", daemon=True).start()


def fitter(
    spec: Spec, run_id: str, wave: int, members: list[dict[str, Any]]
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function that Spark calls with the rows of one task; gives a row of `FITS_SCHEMA` per partition.

    The rows come sorted by `NUMBER`, a partition's place in `members`: what is equal in all rows of a
    partition does not travel with each of them.
    """
    identity = spec.model_dump_json()

    def fit_task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        done, task = list[dict[str, Any]](), _this_task()
        for number, rows in groups(batches, NUMBER):
            member = members[number]
            result = _sandbox(identity, spec).run(rows, PartitionKey.parse(member["key"]), member["start"])
            done.append(outcome(result, run_id, wave, {**member, "task": task}))
            if len(done) == _OUTCOMES_IN_A_BATCH:
                yield _batch(done)
                done = []
        yield _batch(done)

    return fit_task


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
        "fitted_at": datetime.now(UTC),
        "task": int(assigned["task"]),
        "host": socket.gethostname(),
        "families": list(result.families),
        "options": orjson.dumps(result.options, option=orjson.OPT_SERIALIZE_NUMPY).decode(),
        "scores": orjson.dumps(
            [asdict(s) for s in result.scores], option=orjson.OPT_SERIALIZE_NUMPY
        ).decode(),
        "folds": orjson.dumps(result.folds).decode() if result.folds else None,
        "started_from": result.started_from,
        "payload": result.payload,
    }


def _this_task() -> int:
    """The number of the Spark task at work: the one that the partition was packed into, unless something
    moved it.
    """
    from pyspark import TaskContext

    context = TaskContext.get()
    return -1 if context is None else context.partitionId()


def _batch(outcomes: list[dict[str, Any]]) -> pa.RecordBatch:
    columns = {name: [one[name] for one in outcomes] for name in COLUMNS}
    columns["metrics"] = [
        None if metrics is None else list(metrics.items()) for metrics in columns["metrics"]
    ]
    schema = pa.schema([(column.split()[0], _ARROW[column.split()[1]]) for column in FITS_SCHEMA.split(", ")])
    return pa.RecordBatch.from_pydict(columns, schema=schema)


def _rows(lake: Lake, spec: Spec, wave: Wave, version: int | None) -> DataFrame:
    """The columns of silver that fits may see, for the wave's rows, laid out so that one Spark task holds one
    pack.
    """
    from pyspark.sql import functions as F

    columns = spec.columns
    seen = dict.fromkeys([*([columns.time] if columns.time else []), columns.target, *columns.inputs])
    silver = lake.read(SILVER, version).filter(F.col("bucket").isin(wave.buckets))
    rows = silver.join(F.broadcast(_assignment(lake.spark, wave)), "partition_id").repartition(
        wave.tasks, "_slot"
    )
    return rows.select(NUMBER, *(quote(name) for name in seen)).sortWithinPartitions(NUMBER)


def _assignment(spark: SparkSession, wave: Wave) -> DataFrame:
    """Each partition's place in the wave, and the number that sends its rows to its task."""
    numbers = slots(spark, wave.tasks)
    slot = [numbers[task] for task in wave.members["task"]]
    rows = list(zip(wave.members["partition_id"], range(len(slot)), slot, strict=True))
    return spark.createDataFrame(rows, f"partition_id string, {NUMBER} int, _slot int")


def _import(spec: Spec) -> None:
    """Import what fits need: a child that is forked later has it, also one that takes a dead child's place.

    A family that cannot be imported is told of by the fits.
    """
    with tidy_imports(), suppress(Exception):
        import scipy.special  # noqa: F401

        for candidate in [*spec.candidates, *([spec.fallback] if spec.fallback else [])]:
            registry.build(candidate)


def _sandbox(identity: str, spec: Spec) -> Sandbox:
    """This worker's child process for the spec, started with the first partition and kept for the next
    ones.
    """
    if identity not in _sandboxes:
        for other in _sandboxes.values():
            other.close()
        _sandboxes.clear()
        _import(spec)
        limits = spec.limits
        fit = lambda rows, key, start: fit_partition(rows, spec, key, start)  # noqa: E731
        _sandboxes[identity] = Sandbox(fit, limits.seconds_per_fit, limits.memory_per_fit)
    return _sandboxes[identity]
