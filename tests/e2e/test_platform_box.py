"""Platforms in a box: our workflow files from rows to warehouse, a failed task repaired, and the next day."""

from __future__ import annotations

import subprocess
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from box import platforms
from box.workflow import Night, Task, run
from deploy_files import ROOT, WORKFLOW

pytestmark = pytest.mark.spark
OLD_SPARK = ROOT / ".venv-3.5" / "bin" / "python"
FIRST, DAYS = date(2026, 1, 1), 60


def sell(folder: Path, days: int, name: str) -> None:
    """Rows of three partitions until a day, as a copy brings them into the lake."""
    rows = [
        {"store": store, "item": 1, "date": FIRST + timedelta(days=day), "units": float(10 * store + day % 7)}
        for store in (1, 2, 3)
        for day in range(days)
    ]
    landing = folder / "lake" / "landing" / "sales"
    landing.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(rows).assign(promotion=0.0, price=1.0)
    frame["date"] = pd.to_datetime(frame["date"])
    frame.to_parquet(landing / name, coerce_timestamps="us")


def broken(tasks: list[Task], name: str) -> list[Task]:
    """The tasks, of which one ends with an error, as on a machine that was lost."""
    return [
        Task(one.name, ["false"], one.environment, one.after, one.whatever_came_before)
        if one.name == name
        else one
        for one in tasks
    ]


def predictions(folder: Path) -> list[tuple[int, int, str]]:
    """(store, rows, first forecast day) in the warehouse."""
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as warehouse:
        (table,) = warehouse.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_name LIKE '%predictions'"
        ).fetchone() or ("",)
        return warehouse.execute(
            f"SELECT store, count(*), min(date)::date::varchar FROM {table} WHERE prediction IS NOT NULL "
            "GROUP BY store ORDER BY store"
        ).fetchall()


def two_nights(tasks: list[Task], folder: Path) -> Night:
    """A night in which `score` fails and is repaired, then the night after it with one day more."""
    sell(folder, DAYS, "first.parquet")
    night = run(broken(tasks, "score"), folder)
    assert night.outcomes["train"] == night.outcomes["promote"] == "succeeded", night.explain()
    assert night.outcomes["score"] == "failed" and night.outcomes["load"] == "skipped"
    assert night.outcomes["report"] == "succeeded", (
        "what happened is to be seen above all where something failed"
    )
    repaired = run(tasks, folder, night)
    assert set(repaired.outcomes.values()) == {"succeeded"}, repaired.explain()
    assert predictions(folder) == [(store, 7, "2026-03-02") for store in (1, 2, 3)]

    sell(folder, DAYS + 1, "second.parquet")
    second = run(tasks, folder)
    assert second.outcomes == dict.fromkeys(WORKFLOW, "succeeded"), second.explain()
    return second


# Every task is a process with a Spark of its own, nineteen in all: thirteen minutes on two free cores.
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_bundle_s_job_goes_from_rows_to_warehouse_on_two_nights(tmp_path: Path) -> None:
    two_nights(platforms.databricks("retail_sales", "dev", tmp_path), tmp_path)
    assert (tmp_path / "Volumes" / "forecasts_dev" / "retail" / "reports" / "1.html").exists()
    assert [(store, rows) for store, rows, _ in predictions(tmp_path)] == [(1, 14), (2, 14), (3, 14)]


def pool(folder: Path) -> dict[str, str]:
    """What a pool of Spark 3.5 brings: Delta, and the settings of a small machine."""
    asked = "from manymodels_spark.spark.jars import jar_paths; print(*jar_paths(), sep=',')"
    done = subprocess.run(
        [str(OLD_SPARK), "-c", asked],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "MANYMODELS_JARS": str(ROOT / ".jars"), "PATH": "/usr/bin:/bin"},
    )
    return {
        "spark.jars": done.stdout.splitlines()[-1],
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
    }


on_old_spark = pytest.mark.skipif(not OLD_SPARK.exists(), reason="no .venv-3.5: sh scripts/spark_env.sh 3.5")


@on_old_spark
def test_synapse_s_script_starts_on_spark_3_5_with_the_settings_of_its_job_definition(tmp_path: Path) -> None:
    sell(tmp_path, DAYS, "first.parquet")
    tasks = platforms.synapse("RetailSales", tmp_path, OLD_SPARK, pool(tmp_path))
    night = run(tasks[:1], tmp_path)
    assert night.outcomes == {"ingest": "succeeded"}, night.explain()
    assert f"{3 * DAYS} rows" in night.outputs["ingest"]


@on_old_spark
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_synapse_s_pipeline_goes_from_rows_to_warehouse_on_two_nights_on_spark_3_5(tmp_path: Path) -> None:
    two_nights(platforms.synapse("RetailSales", tmp_path, OLD_SPARK, pool(tmp_path)), tmp_path)
    assert [(store, rows) for store, rows, _ in predictions(tmp_path)] == [(1, 14), (2, 14), (3, 14)]
