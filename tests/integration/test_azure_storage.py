"""The whole main job in an Azure storage account: Hadoop's
ABFS driver against Azurite, and no path of this machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest
from builders import days, make_spec

from manymodels_spark.lake.tables import PREDICTIONS, RUNS
from manymodels_spark.stages.load.stage import load
from manymodels_spark.stages.pipeline import run
from manymodels_spark.stages.runs.job import Job

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def upload(spark: SparkSession, folder: str, items: str) -> None:
    """A CSV file of thirty days for each of the items, written to the account by Spark."""
    rows = [(1, item, day, float(number % 7)) for item in items for number, day in enumerate(days(30))]
    table = spark.createDataFrame(rows, "store int, item string, date string, units double")
    table.coalesce(1).write.csv(folder, header=True)


@pytest.mark.slow
def test_the_whole_job_runs_in_azure_storage_from_the_source_to_the_warehouse(
    spark: SparkSession, abfs: str, tmp_path: Path
) -> None:
    source = f"{abfs}/in"
    spec = make_spec(tmp_path, source={"csv": source}, lake=f"{abfs}/lake")
    job = Job.of(spec, spark)  # signs in, so that the source can be written
    upload(spark, source, "aé")

    report = run(job)

    assert {
        stage.stage: stage.counts.get("rows")
        for stage in report.stages
        if stage.stage in ("ingest", "score", "load")
    } == {
        "ingest": 60,
        "score": 14,
        "load": 14,
    }
    assert job.lake.location(PREDICTIONS).startswith(abfs)
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as warehouse:
        loaded = warehouse.execute(
            "SELECT item, count(*) FROM sales_predictions GROUP BY item ORDER BY item"
        ).fetchall()
    assert loaded == [("a", 7), ("é", 7)]

    assert load(job, tables=[RUNS]).counts["rows"] == 0, "the version that is there is not loaded again"
    left = (
        spark.read.format("binaryFile")
        .option("recursiveFileLookup", "true")
        .load(f"{abfs}/lake/sales/_export")
    )
    assert left.filter("length > 2000").count() == 0, "exports are taken away"
