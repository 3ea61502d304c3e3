"""Arrow tables as DataFrames."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa

from manymodels_spark.spark.arrow_frames import frame_of


def test_instants_come_on_the_clock_of_the_session_in_nanoseconds() -> None:
    times = [datetime(2026, 3, 29, 0, 30, tzinfo=UTC) + timedelta(hours=n) for n in range(2)]
    rows = frame_of(pa.table({"time": pa.array(times, pa.timestamp("us", "Europe/Madrid"))}))
    assert list(rows.columns) == ["time"]
    assert rows["time"].dtype == "datetime64[ns]"
    assert list(rows["time"]) == [pd.Timestamp("2026-03-29 01:30"), pd.Timestamp("2026-03-29 03:30")], (
        "the clock jumps at two"
    )


def test_a_time_that_nanoseconds_cannot_hold_is_missing_and_its_neighbours_are_there() -> None:
    times = [datetime(2026, 1, 1), datetime(9999, 12, 31), datetime(1, 1, 1), None]
    for zone in (None, "UTC"):
        cells = {
            "until": pa.array(times, pa.timestamp("us", zone)),
            "units": pa.array(range(4)),
        }
        rows = frame_of(pa.table(cells))
        assert list(rows["until"].isna()) == [False, True, True, True]
        assert rows["until"].dtype == "datetime64[ns]"
        assert rows["until"][0] == pd.Timestamp("2026-01-01")
        assert list(rows["units"]) == [0, 1, 2, 3]
