"""The arithmetic of a plan against cases that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manymodels_spark.stages.train import estimate as e

SECONDS = st.lists(st.floats(0, 1e4), min_size=1, max_size=12)


def test_one_wave_is_fits_over_cores_then_logging() -> None:
    timed = e.Timed([1.0, 1.0], [0.5, 0.5], cold=3.0, overhead=2.0, step=1.0)
    found = e.estimate([np.ones(8)], timed, 2, log_one=0.25, steps=4, steps_of_a_wave=1)
    # 4 steps, 3 cold, 2 overhead, 8 fits of half a second on 2 cores, 8 models of a quarter second and one
    # step
    assert found.seconds == pytest.approx(4 + 3 + 2 + 2 + 2 + 1)
    assert found.fit_seconds == pytest.approx(4.0)
    assert found.core_hours == pytest.approx(14 * 2 / 3600)


def test_logging_hides_behind_the_next_waves_fits_but_for_the_last_one() -> None:
    timed = e.Timed([1.0], [1.0])
    found = e.estimate([np.ones(10)] * 3, timed, 1, log_one=0.1, steps=0, steps_of_a_wave=0)
    assert found.seconds == pytest.approx(3 * 10 + 1)


def test_the_overhead_of_all_but_the_first_wave_is_shared_by_those_at_the_cores_together() -> None:
    timed = e.Timed([1.0], [1.0], overhead=4.0)
    found = e.estimate([np.ones(1)] * 3, timed, 1, log_one=0, steps=0, steps_of_a_wave=0, together=2)
    assert found.seconds == pytest.approx(3 * 1 + 4 + 2 + 2)


def test_slow_logging_decides_where_it_takes_longer_than_fits() -> None:
    found = e.estimate([np.ones(10)] * 3, e.Timed([1.0], [0.1]), 1, log_one=1.0, steps=0, steps_of_a_wave=0)
    assert found.seconds == pytest.approx(1 + 3 * 10)


def test_more_cores_never_make_a_wave_quicker_than_its_longest_fit() -> None:
    assert e.spread(np.array([9.0, 1.0, 1.0]), 64) == 9.0


def test_one_wild_fit_of_the_sample_does_not_decide() -> None:
    assert e.Timed([1, 1, 1, 1, 1], [2, 2, 2, 2, 500]).scale == 2.0
    assert e.Timed([], []).median == 0.0


@given(SECONDS, st.data())
def test_a_flow_is_at_least_each_machine_and_at_most_both(first: list[float], data: st.DataObject) -> None:
    second = data.draw(st.lists(st.floats(0, 1e4), min_size=len(first), max_size=len(first)))
    took = e.flow(first, second)
    assert took >= max(sum(first), sum(second)) - 1e-6
    assert took <= sum(first) + sum(second) + 1e-6


def test_the_slowest_class_of_calls_decides_under_limits() -> None:
    limits = {"default": 100.0, "batch": 10.0}
    assert e.quickest({"default": 20_000, "batch": 500}, limits) == 200.0
    assert e.quickest({"default": 10, "batch": 500}, limits) == 50.0
    assert e.quickest({"default": 10}, {"default": None}) == 0.0


def test_bins_hold_every_partition_and_turn_to_ratios_where_rows_differ_much() -> None:
    even = e.bins([10, 20, 30, 40, 50])
    assert sum(count for *_, count in even) == 5
    assert (even[0][0], even[-1][1]) == (10, 50)
    wide = e.bins([1, 10, 100, 1000, 10_000])
    assert sum(count for *_, count in wide) == 5
    assert wide[1][0] / wide[0][0] > 2
    assert e.bins([7, 7, 7]) == [(7, 7, 3)]
    assert e.bins([]) == []


def test_bars_are_drawn_to_the_largest_and_one_partition_shows() -> None:
    lines = e.bars([(1, 10, 1000), (10, 100, 1), (100, 1000, 0)], width=10)
    assert lines[0].endswith("██████████ 1,000")
    assert "▏" in lines[1]
    assert lines[2].split()[-1] == "0"
