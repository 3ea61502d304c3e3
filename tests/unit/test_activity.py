"""Until when partitions are complete, and which are inactive: from the census's facts alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from builders import make_spec

from manymodels_spark.stages.prepare.activity import Activity, newest_time, steps_between
from manymodels_spark.stages.prepare.census import fences


def facts(last: str | None, demand: str | None = None, copied_at: str = "2026-06-01") -> dict[str, Any]:
    return {"first": "2026-01-01", "last": last, "last_demand": demand, "copied_at": copied_at}


def test_one_row_with_a_date_in_the_future_does_not_move_the_end_of_all() -> None:
    assert newest_time([facts("2026-05-30"), facts("2199-01-01")]) == pd.Timestamp("2026-05-30")
    assert newest_time([facts("2027-05-30"), facts("2027-01-01")]) == pd.Timestamp("2027-05-30"), (
        "a simulation of days to come has an end, too"
    )
    assert newest_time([facts(None)]) is None


@pytest.mark.parametrize(
    ("demand", "inactive"), [("2026-05-21", False), ("2026-05-20", True), (None, True), ("2026-05-30", False)]
)
def test_a_partition_without_demand_for_the_given_steps_is_inactive(
    tmp_path: Path, demand: str | None, inactive: bool
) -> None:
    spec = make_spec(tmp_path, prepare={"gaps": "zero", "inactive_after": 10})
    one = facts("2026-05-30", demand)
    assert Activity.of([one], spec).is_inactive(one) is inactive


def test_nothing_is_inactive_unless_the_spec_says_after_when(tmp_path: Path) -> None:
    one = facts("2026-05-30", "2020-01-01")
    activity = Activity.of([one], make_spec(tmp_path))
    assert not activity.is_inactive(one)
    assert activity.until is None, "without gaps to fill, a partition ends with its last row"


@pytest.mark.parametrize(
    ("frequency", "first", "last", "steps"),
    [
        ("D", "2026-01-01", "2026-01-11", 10),
        ("h", "2026-01-01 10:30", "2026-01-01 13:00", 2),
        ("W-SUN", "2026-01-04", "2026-01-18", 2),
        ("MS", "2025-11-01", "2026-02-01", 3),
        ("QE", "2025-12-31", "2026-06-30", 2),
    ],
)
def test_steps_are_counted_on_the_frequency(frequency: str, first: str, last: str, steps: int) -> None:
    assert steps_between(pd.Timestamp(first), pd.Timestamp(last), frequency) == steps


def test_fences_stand_a_number_of_spreads_from_the_quartiles_and_not_at_all_without_a_spread() -> None:
    assert fences([2.0, 6.0], 2) == (-6.0, 14.0)
    assert fences([0.0, 0.0], 3) == (None, None)
    assert fences(None, 3) == fences([2.0, 6.0], None) == (None, None)
