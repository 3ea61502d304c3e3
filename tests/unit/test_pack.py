"""Partitions into waves and tasks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from manymodels_spark.stages.prepare.census import buckets
from manymodels_spark.stages.train.packing import pack, waves


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


def todo(n: int, buckets: int) -> pd.DataFrame:
    return pd.DataFrame(
        {"partition_id": [f"p{i}" for i in range(n)], "bucket": np.arange(n) * buckets // n, "cost": 1.0}
    )


def test_every_partition_is_in_one_wave_of_at_most_the_given_size() -> None:
    planned = waves(todo(20_000, 20), largest=1000, cores=2)
    members = pd.concat([wave.members for wave in planned])
    assert sorted(members["partition_id"]) == sorted(todo(20_000, 20)["partition_id"])
    assert max(len(wave.members) for wave in planned) == 1000
    assert [wave.number for wave in planned] == list(range(1, 21))
    assert all(len(wave.buckets) == 1 for wave in planned)


def sizes(n: int, cost: float, cores: int = 2) -> list[int]:
    return [len(wave.members) for wave in waves(todo(n, 1).assign(cost=cost), largest=1000, cores=cores)]


def test_waves_get_smaller_towards_the_end_of_a_run() -> None:
    assert sizes(200, cost=1.0) == [67, 45, 30, 29, 29]
    assert sizes(4000, cost=1.0) == [1000, 1000, 667, 445, 296, 296, 296]
    assert len(sizes(100_000, cost=1.0)) == 100, "of a long run each is small enough"
    assert sizes(5, cost=1.0) == [5]
    assert sizes(0, cost=1.0) == []


def test_a_wave_is_worth_its_jobs_ten_seconds_of_all_cores() -> None:
    assert sizes(500, cost=0.14) == [167, 167, 166], "143 x 0.14 s are 10 s of two cores"
    assert sizes(500, cost=0.14, cores=8) == [500]
    assert sizes(3000, cost=0.001) == [1000, 1000, 1000], "never above the limit of the spec"
    assert sizes(48, cost=100.0) == [24, 24], "a few partitions, however long they take"
