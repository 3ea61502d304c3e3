"""Load: predictions from Delta into DuckDB, against DuckDB's own INSERT of the same rows from Parquet.

`seconds` is the whole stage: finding the version, the rows, the checks, the ledger, the commit and the record
of the run. `side_seconds` is the stage that also brings the small tables along (here: `runs`),
`exported_seconds` the stage on a table that must be exported first. Run: `python -m benchmarks.load [ROWS]`.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from benchmarks.common import clock, emit, peak_memory, scratch
from manymodels_spark.lake.tables import PREDICTIONS
from manymodels_spark.spark.session import get_session
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.load.stage import SIDE_TABLES, load
from manymodels_spark.stages.runs.job import Job

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

HORIZON = 28
REPEATS = 3


def main(rows: int = 5_000_000) -> None:
    """Generate the predictions, load them `REPEATS` times each way in turn, and print the figures."""
    with scratch() as folder:
        spark = get_session("bench-load", "local[2]")
        job = job_of(spark, folder)
        with clock("predictions written to Delta"):
            job.lake.append(PREDICTIONS, predictions(spark, rows))
        files = [path.removeprefix("file://") for path in job.lake.read(PREDICTIONS).inputFiles()]
        load(job_of(spark, folder, "warm-up"))
        ours, bare, side = [], [], []
        for turn in range(REPEATS):
            bare.append(_insert(folder / f"bare-{turn}.duckdb", files))
            ours.append(load_once(job_of(spark, folder, f"ours-{turn}"), rows))
            side.append(load_once(job_of(spark, folder, f"side-{turn}"), rows, SIDE_TABLES))
        _forbid_reading_in_place(job)
        exported = [load_once(job_of(spark, folder, f"exported-{turn}"), rows) for turn in range(REPEATS)]
        spark.stop()
    seconds, base = statistics.median(ours), statistics.median(bare)
    emit(
        "load",
        workload={"rows": rows, "columns": 17, "partitions": rows // HORIZON, "repeats": REPEATS},
        rows=rows,
        seconds=seconds,
        baseline_seconds=base,
        ratio=seconds / base,
        side_seconds=statistics.median(side),
        exported_seconds=statistics.median(exported),
        peak_driver_mib=peak_memory(),
    )


def predictions(spark: SparkSession, rows: int) -> DataFrame:
    """Rows as `score` writes them: `HORIZON` days of each partition, intervals at 80 and 95."""
    return spark.range(rows, numPartitions=4).selectExpr(
        f"substr(md5(cast(id div {HORIZON} as string)), 1, 20) AS partition_id",
        f"cast(id div {HORIZON * 500} as int) AS store",
        f"concat('item ', id div {HORIZON} % 500) AS item",
        "timestamp'2026-11-23 00:00:00' AS cutoff",
        f"timestamp'2026-11-24 00:00:00' + make_dt_interval(cast(id % {HORIZON} as int)) AS date",
        "rand(1) * 100 AS prediction",
        "rand(2) * 90 AS lower_80",
        "rand(3) * 110 AS upper_80",
        "rand(4) * 80 AS lower_95",
        "rand(5) * 120 AS upper_95",
        "false AS fallback",
        "'prophet' AS family",
        f"concat('m-', md5(cast(id div {HORIZON} as string))) AS model_id",
        "'1' AS model_version",
        "3L AS data_version",
        "'20261124T031000-abc123' AS run_id",
        "timestamp'2026-11-24 03:10:00' AS scored_at",
    )


def job_of(spark: SparkSession, folder: Path, warehouse: str = "unused") -> Job:
    """A job whose lake is in the folder, and that loads into a DuckDB file of its own."""
    spec: dict[str, Any] = {
        "name": "bench",
        "partition_by": ["store", "item"],
        "source": {"csv": "none.csv"},
        "horizon": HORIZON,
        "columns": {"target": "units", "time": "date"},
        "lake": str(folder / "lake"),
        "warehouse": {"duckdb": str(folder / f"{warehouse}.duckdb")},
    }
    return Job.of(Spec.model_validate(spec), spark)


def _forbid_reading_in_place(job: Job) -> None:
    """Give the table a feature for which its files may not be read as they lie: its version is exported
    first.
    """
    properties = "'delta.feature.deletionVectors' = 'supported'"
    job.spark.sql(f"ALTER TABLE {job.lake.ref(PREDICTIONS)} SET TBLPROPERTIES ({properties})")


def load_once(job: Job, rows: int, tables: tuple[str, ...] = ()) -> float:
    """Seconds of the stage. Raises SystemExit where it loaded another number of rows."""
    with clock(f"load into {Path(job.spec.warehouse.path).name}") as measured:  # type: ignore[union-attr]
        report = load(job, tables=tables)
    if report.counts["rows"] != rows:
        raise SystemExit(f"{report.counts['rows']} rows were loaded, {rows} expected")
    return measured.seconds


def _insert(path: Path, files: list[str]) -> float:
    """DuckDB alone: INSERT ... SELECT FROM read_parquet into an empty table, committed and closed."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE predictions AS SELECT * FROM read_parquet(?) LIMIT 0", [files])
    with clock("DuckDB's own INSERT") as measured, duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO predictions SELECT * FROM read_parquet(?)", [files])
    return measured.seconds


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:2]))
