"""Partitions into tasks and buckets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from manymodels_spark.stages.prepare.census import buckets
from manymodels_spark.stages.train.packing import pack


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=200), st.integers(1, 16))
def test_no_task_is_longer_than_the_bound_of_longest_first(costs: list[float], tasks: int) -> None:
    array = np.array(costs)
    loads = np.bincount(pack(array, tasks), weights=array, minlength=tasks)
    assert np.isclose(loads.sum(), array.sum())
    assert loads.max() <= array.sum() / tasks + array.max() * (1 - 1 / tasks) + 1e-9


def test_silver_has_a_bucket_for_each_wave_and_a_small_run_a_few_for_its_waves() -> None:
    assert [buckets(n, 1000) for n in (1, 30, 500, 5_000, 100_000)] == [1, 2, 16, 16, 100]
    assert buckets(40, 8) == 5


def test_the_heaviest_task_comes_first() -> None:
    loads = np.bincount(pack(np.array([1.0, 200.0, 1.0, 1.0, 2.0]), 3), weights=[1.0, 200.0, 1.0, 1.0, 2.0])
    assert list(loads) == sorted(loads, reverse=True)
    assert loads[0] == 200.0
