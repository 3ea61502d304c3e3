"""A stream of Arrow batches falls apart into the frames of its partitions, whatever the batches' size."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manymodels_spark.stages.train.groups import groups


@given(st.lists(st.integers(0, 5), max_size=40).map(sorted), st.integers(1, 50))
def test_every_partition_comes_once_with_its_rows_in_order(numbers: list[int], size: int) -> None:
    table = pa.table(
        {"_number": pa.array(numbers, pa.int32()), "row": pa.array(range(len(numbers)), pa.int64())}
    )
    found = [
        (number, list(rows["row"]))
        for number, rows in groups(table.to_batches(max_chunksize=size), "_number")
    ]
    expected: dict[int, list[int]] = {}
    for row, number in enumerate(numbers):
        expected.setdefault(number, []).append(row)
    assert found == list(expected.items())


def test_instants_come_on_the_clock_of_the_session_in_nanoseconds() -> None:
    times = [datetime(2026, 3, 29, 0, 30, tzinfo=UTC) + timedelta(hours=n) for n in range(2)]
    batch = pa.record_batch(
        {
            "_number": pa.array([0, 0], pa.int32()),
            "time": pa.array(times, pa.timestamp("us", "Europe/Madrid")),
        }
    )
    ((_, rows),) = groups([batch], "_number")
    assert list(rows.columns) == ["time"]
    assert rows["time"].dtype == "datetime64[ns]"
    assert list(rows["time"]) == [pd.Timestamp("2026-03-29 01:30"), pd.Timestamp("2026-03-29 03:30")], (
        "the clock jumps at two"
    )


def test_a_time_that_nanoseconds_cannot_hold_is_missing_and_its_neighbours_are_there() -> None:
    times = [datetime(2026, 1, 1), datetime(9999, 12, 31), datetime(1, 1, 1), None]
    for zone in (None, "UTC"):
        cells = {
            "_number": pa.array([0] * 4, pa.int32()),
            "until": pa.array(times, pa.timestamp("us", zone)),
            "units": pa.array(range(4)),
        }
        ((_, rows),) = groups([pa.record_batch(cells)], "_number")
        assert list(rows["until"].isna()) == [False, True, True, True]
        assert rows["until"].dtype == "datetime64[ns]"
        assert rows["until"][0] == pd.Timestamp("2026-01-01")
        assert list(rows["units"]) == [0, 1, 2, 3]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_neighbour_without_a_value_does_not_turn_whole_numbers_into_others(size: int) -> None:
    table = pa.table(
        {"_number": pa.array([0, 0, 1, 1], pa.int32()), "grade": pa.array([1, 2, None, 4], pa.int64())}
    )
    kinds = {
        number: str(rows["grade"].dtype)
        for number, rows in groups(table.to_batches(max_chunksize=size), "_number")
    }
    assert kinds == {0: "int64", 1: "float64"}


def test_a_task_without_rows_has_no_partitions() -> None:
    empty = pa.record_batch({"_number": pa.array([], pa.int32()), "units": pa.array([], pa.float64())})
    assert list(groups([empty], "_number")) == []
    assert list(groups([], "_number")) == []
