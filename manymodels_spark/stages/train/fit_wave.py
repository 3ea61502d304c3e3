"""One wave of fits as one Spark job: the wave's rows grouped by partition, through `fit_partition`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from manymodels_spark import observe
from manymodels_spark.frames import records
from manymodels_spark.lake.tables import FITS, SILVER, Lake
from manymodels_spark.modeling.cleaning import columns_of_fit
from manymodels_spark.spark.grouped_map import grouped_map
from manymodels_spark.spark.names import quote
from manymodels_spark.spark.session import cores
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.train.fit_task import FITS_SCHEMA, Member, fit_task, import_families
from manymodels_spark.stages.train.packing import Wave, slots
from manymodels_spark.stages.train.warm_start import warm_starts

if TYPE_CHECKING:
    import pyarrow as pa

SLOT, NUMBER = "_slot", "_number"
# From this many rows a partition on, Spark's own conversion to pandas costs no more than Arrow's.
ROWS_FOR_PANDAS = 2_000


def _attributes(
    lake: Lake, spec: Spec, run_id: str, wave: Wave, version: int | None = None, table: str = FITS
) -> dict[str, int]:
    return {"wave": wave.number, "partitions": len(wave.members)}


@observe.traced("fit", _attributes)
def fit_wave(
    lake: Lake, spec: Spec, run_id: str, wave: Wave, version: int | None = None, table: str = FITS
) -> None:
    """Fit the partitions of a wave and commit their outcomes to `table`; a repeated call adds nothing.

    The rows are those of silver's `version` (by default the newest), whoever prepares new ones meanwhile.
    """
    started = warm_starts(lake, spec, wave.members["partition_id"])
    known = records(wave.members[["partition_id", "key", "fingerprint"]])
    members = [Member(**row, start=started.get(row["partition_id"])) for row in known]
    fitted = grouped_map(
        _rows(lake, spec, wave, version),
        [SLOT, NUMBER],
        fit_task(spec, run_id, wave.number, members),
        FITS_SCHEMA,
        arrow=wave.members["rows"].mean() < ROWS_FOR_PANDAS,
    )
    lake.append(table, fitted, once=f"{run_id}-fits-{wave.number}")


def warm(spark: SparkSession, spec: Spec, partitions: int | None = None) -> None:
    """Have the executors import the spec's families while the driver gets ready: seconds for each process.

    No more of them than `partitions` to fit, where that is known.
    """
    workers = cores(spark) if partitions is None else min(cores(spark), partitions)

    def load(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import_families(spec)
        yield from batches

    def run() -> None:
        with suppress(Exception):  # no more than a head start
            spark.range(workers, numPartitions=workers).mapInArrow(load, "id bigint").count()

    if workers:
        Thread(target=run, name="warm", daemon=True).start()


def _rows(lake: Lake, spec: Spec, wave: Wave, version: int | None) -> DataFrame:
    """The columns of silver that fits may see, for the wave's rows, so that one Spark task holds one pack.

    Grouping by slot and number moves nothing more: rows spread by slot alone already lie together.
    """
    silver = lake.read(SILVER, version).filter(F.col("bucket").isin(wave.buckets))
    rows = silver.join(F.broadcast(_assignment(lake.spark, wave)), "partition_id").repartition(
        wave.tasks, SLOT
    )
    return rows.select(SLOT, NUMBER, *(quote(name) for name in columns_of_fit(spec)))


def _assignment(spark: SparkSession, wave: Wave) -> DataFrame:
    """Each partition's place in the wave, and the number that sends its rows to its task."""
    numbers = slots(spark, wave.tasks)
    slot = [numbers[task] for task in wave.members["task"]]
    rows = list(zip(wave.members["partition_id"], range(len(slot)), slot, strict=True))
    return spark.createDataFrame(rows, f"partition_id string, {NUMBER} int, {SLOT} int")
