"""From a file that is not ours to a forecast: `init`, `try`, `run`, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pandas as pd
import pytest
from builders import days, make_spec, outside, write_csv
from statsforecast.utils import AirPassengersDF

from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.sources import read
from manymodels_spark.notebook.trial import Tried
from manymodels_spark.spec.source import Files
from manymodels_spark.stages.trial import spread, try_spec

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


# Three processes that each start Java; every command has tests in this session.
@pytest.mark.slow
def test_three_commands_lead_from_a_german_file_to_a_forecast(tmp_path: Path) -> None:
    airline = AirPassengersDF.assign(month=lambda rows: rows["ds"].dt.strftime("01.%m.%Y"))
    rows = pd.DataFrame(
        {
            "Monat": [*airline["month"], *airline["month"]],
            "Flughafen": ["Köln"] * len(airline) + ["Graz"] * len(airline),
            "Gäste": [f"1.{value:03.0f},5" for value in [*airline["y"], *(airline["y"] * 1.5)]],
        }
    )
    (tmp_path / "flug.csv").write_bytes(rows.to_csv(sep=";", index=False).encode("latin-1"))
    first = manymodels(tmp_path, "init", "flug.csv", "--horizon", "6")
    assert "Next: manymodels try flug.yaml" in first
    tried = manymodels(tmp_path, "try", "flug.yaml")
    assert "2 of 2 partitions" in tried
    assert "manymodels run flug.yaml" in tried
    assert not (tmp_path / ".manymodels" / "lake").exists()
    manymodels(tmp_path, "run", "flug.yaml")
    with duckdb.connect(str(tmp_path / ".manymodels" / "warehouse.duckdb"), read_only=True) as db:
        graz, cologne = db.execute(
            'SELECT "Flughafen", count(*), min("Monat"), avg(prediction) FROM flug_predictions '
            "GROUP BY 1 ORDER BY 1"
        ).fetchall()
    assert (graz[0], cologne[0], graz[1], cologne[1]) == ("Graz", "Köln", 6, 6)
    assert str(cologne[2]).startswith("1961-01-01")
    assert (
        1300 < cologne[3] < 1600
    )  # 1.432,5 is the last value: a lost decimal comma makes 1.4 or 14,325 of it


def manymodels(folder: Path, *arguments: str) -> str:
    """What a command prints in a folder, as a user's own process."""
    command = [sys.executable, "-m", "manymodels_spark.cli", *arguments]
    done = subprocess.run(command, cwd=folder, env=outside(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_trial_takes_partitions_of_all_lengths_and_shows_the_best_the_median_and_the_worst(
    spark: SparkSession, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    write_csv(
        tmp_path / "sales.csv",
        (
            {"store": store, "item": 1, "date": day, "units": 10 + number % 7 + rng.normal() * store / 5}
            for store in range(1, 31)
            for number, day in enumerate(days(20 + 2 * store))
        ),
    )
    found = try_spec(make_spec(tmp_path), spark)
    assert (found.total, found.fitted, found.quarantined) == (30, 20, [])
    lengths = [len(one.history) for one in found.shown]
    assert len(lengths) == 3 and [len(one.forecast) for one in found.shown] == [7, 7, 7]
    best, median, worst = (one.metric for one in found.shown)
    assert best is not None and median is not None and worst is not None
    assert best < median < worst
    assert not (tmp_path / "lake").exists() and not (tmp_path / "dev.db").exists()
    assert not (tmp_path / "warehouse.duckdb").exists()
    shown = Tried(found)._repr_html_()
    assert str(found.shown[0].key) in shown and "mm.run()" in shown
    assert "20 of 30 partitions" in shown


@pytest.mark.slow  # a second form of the trial above
def test_a_partition_that_cannot_be_tried_is_named_and_ends_nothing(
    spark: SparkSession, tmp_path: Path
) -> None:
    good = [{"store": 1, "item": 1, "date": day, "units": number % 7} for number, day in enumerate(days(60))]
    write_csv(tmp_path / "sales.csv", [*good, {"store": 2, "item": 1, "date": "2026-01-01", "units": 3}])
    found = try_spec(make_spec(tmp_path, limits={"failures": 0.0}), spark)
    assert found.fitted == 1
    assert [(key, reason) for key, reason, _ in found.quarantined] == [
        (PartitionKey.of({"store": 2, "item": 1}), "too_short")
    ]


@pytest.mark.slow
def test_where_no_partition_can_be_fitted_the_trial_says_why(spark: SparkSession, tmp_path: Path) -> None:
    write_csv(tmp_path / "sales.csv", [{"store": 1, "item": 1, "date": "2026-01-01", "units": 3}])
    found = try_spec(make_spec(tmp_path), spark)
    assert (found.fitted, found.shown, [reason for _, reason, _ in found.quarantined]) == (
        0,
        (),
        ["too_short"],
    )
    assert "too_short" in Tried(found)._repr_html_()


def test_columns_to_rows_times_and_decimal_commas_are_read_as_the_source_says(
    spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / "w.csv").write_text("t;a;b\n3.9.2022;1.234,5;2\n4.9.2022;;x\n")
    source = Files.model_validate(
        {
            "kind": "csv",
            "path": str(tmp_path / "w.csv"),
            "options": {"sep": ";"},
            "melt": {"keep": ["t"]},
            "time_format": "d.M.yyyy",
            "decimal_comma": ["value"],
        }
    )
    rows = read(spark, source, ("t",)).select("t", "series", "value").orderBy("t", "series").collect()
    assert [tuple(row) for row in rows] == [
        ("2022-09-03 00:00:00", "a", "1234.5"),
        ("2022-09-03 00:00:00", "b", "2"),
        ("2022-09-04 00:00:00", "b", "x"),
    ]


@pytest.mark.parametrize(
    ("form", "written", "kept"),
    [
        ("epoch_seconds", "1700000000", "2023-11-14T22:13:20.000Z"),
        ("epoch_milliseconds", "1700000000500", "2023-11-14T22:13:20.500Z"),
        ("quarter", "2024Q3", "2024-07-01"),
        ("week", "2024-W05", "2024-01-29"),
        ("yyyyMMdd", "20240131", "2024-01-31 00:00:00"),
        ("M/d/yyyy h:mm a", "1/2/2024 3:04 PM", "2024-01-02 15:04:00"),
        ("d.M.yyyy", "no day", "no day"),
    ],
)
def test_each_form_of_a_time_is_kept_as_iso_text(
    spark: SparkSession, tmp_path: Path, form: str, written: str, kept: str
) -> None:
    (tmp_path / "t.csv").write_text(f"t,y\n{written},1\n")
    source = Files(kind="csv", path=str(tmp_path / "t.csv"), time_format=form)
    assert read(spark, source, ("t",)).first()["t"] == kept  # type: ignore[index]


def test_the_nanoseconds_that_pandas_writes_are_read(spark: SparkSession, tmp_path: Path) -> None:
    times = pd.to_datetime(["2024-03-01 10:00:00", "2024-03-02 00:00:00"]).astype("datetime64[ns]")
    pd.DataFrame({"t": times, "y": [1.0, 2.0]}).to_parquet(tmp_path / "t.parquet")
    source = Files(kind="parquet", path=str(tmp_path / "t.parquet"), time_format="nanoseconds")
    rows = read(spark, source, ("t",)).orderBy("y").collect()
    assert [row["t"] for row in rows] == ["2024-03-01 10:00:00.000000", "2024-03-02 00:00:00.000000"]


def test_places_are_spread_from_the_first_to_the_last() -> None:
    assert spread(5, 20) == [0, 1, 2, 3, 4]
    assert spread(100, 3) == [0, 50, 99]
    assert len(spread(1_000_000, 20)) == 20
