"""Partitions into waves: by time, whatever the families cost."""

from __future__ import annotations

import numpy as np
import pandas as pd

from manymodels_spark.stages.train.waves import FIRST, LONGEST, SHORTEST, Waves


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def todo(n: int, buckets: int = 1, cost: float = 1.0) -> pd.DataFrame:
    ids = [f"p{i}" for i in range(n)]
    return pd.DataFrame({"partition_id": ids, "bucket": np.arange(n) * buckets // n, "cost": cost})


def seconds(n: int, cost: float, cores: int = 2, largest: int = 100_000) -> list[float]:
    """Of all cores, a wave."""
    made = Waves(todo(n, cost=cost), largest, cores)
    return [round(float(wave.members["cost"].sum()) / cores, 1) for wave in made]


def test_every_partition_is_in_one_wave_of_at_most_the_given_size() -> None:
    planned = list(Waves(todo(20_000, 20, cost=0.01), largest=1000, cores=2))
    members = pd.concat([wave.members for wave in planned])
    assert sorted(members["partition_id"]) == sorted(todo(20_000, 20)["partition_id"])
    assert max(len(wave.members) for wave in planned) == 1000
    assert [wave.number for wave in planned] == list(range(1, len(planned) + 1))
    assert max(len(wave.buckets) for wave in planned) <= 2


def test_the_first_wave_ends_soon_later_ones_are_longer_and_the_last_ones_short_again() -> None:
    for cost in (0.02, 0.5, 2.0):
        waves = seconds(round(600 / cost), cost)
        assert abs(waves[0] - FIRST) <= cost
        assert abs(max(waves) - LONGEST) <= cost
        assert SHORTEST - cost <= waves[-1] <= LONGEST / 2
        assert abs(sum(waves) - 300) < 1


def test_a_short_run_is_one_wave() -> None:
    assert seconds(500, cost=0.04) == [10.0]
    assert seconds(5, cost=1.0) == [2.5]
    assert seconds(0, cost=1.0) == []


def test_every_core_has_work_however_long_a_fit_takes() -> None:
    assert [len(wave.members) for wave in Waves(todo(20, cost=300.0), 1000, cores=2)] == [8, 8, 4]


def test_waves_of_families_that_cost_more_than_they_say_get_smaller() -> None:
    clock = Clock()
    made = Waves(todo(10_000, cost=0.1), 100_000, cores=2, clock=clock)
    first = next(made)
    assert len(first.members) == 2 * FIRST / 0.1
    clock.now = 5 * FIRST
    made.fitted(first)
    assert len(next(made).members) == 2 * LONGEST / 0.5
