"""The command line on a session of another kind: Spark
Connect, or an older Spark. The e2e tests have the usual one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pyspark
import pytest
from builders import days, write_csv
from click.testing import CliRunner

from manymodels_spark.cli import main

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

USUAL = (
    "SPARK_REMOTE" not in os.environ
    and "MANYMODELS_TEST_REMOTE" not in os.environ
    and pyspark.__version__ >= "4"
)
SPEC = """
name: sales
partition_by: [store, item]
source: {csv: HERE/sales.csv}
columns: {time: date, target: units}
horizon: 7
candidates: [seasonal_naive]
backtest: {folds: 1}
mlflow:
  development: {tracking: "sqlite:///HERE/dev.db", artifacts: HERE/dev}
  production: {tracking: "sqlite:///HERE/prod.db", artifacts: HERE/prod}
lake: HERE/lake
warehouse: {duckdb: HERE/warehouse.duckdb}
"""
pytestmark = [
    pytest.mark.spark,
    pytest.mark.core,
    pytest.mark.skipif(USUAL, reason="tests/e2e runs the command line on this one"),
]


def test_the_whole_job_runs_by_one_command(spark: SparkSession, tmp_path: Path) -> None:
    rows = [
        {"store": 1, "item": item, "date": day, "units": 5.0 + n % 7}
        for item in "ab"
        for n, day in enumerate(days(40))
    ]
    write_csv(tmp_path / "sales.csv", rows)
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC.replace("HERE", str(tmp_path)))
    result = CliRunner().invoke(main, ["run", str(path)])
    assert result.exit_code == 0, result.output
    assert "2 in = 2 fitted + 0 unchanged + 0 quarantined" in " ".join(result.output.split())
    assert "predictions version 0 -> DuckDB" in result.output


def test_the_session_is_of_the_kind_that_was_asked_for(spark: SparkSession) -> None:
    remote = "SPARK_REMOTE" in os.environ
    assert type(spark).__module__ == ("pyspark.sql.connect.session" if remote else "pyspark.sql.session")
