"""A run's partitions cut into waves by time, not by number; earlier waves correct the expected times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Lock

import numpy as np
import pandas as pd

from manymodels_spark.stages.train.packing import TASKS_PER_CORE, Wave, pack

# Seconds of all cores. The first wave is short, so that something is seen and logged soon; later ones are
# long enough to be worth their jobs and commits, and short enough that a kill loses little.
FIRST, SHORTEST, LONGEST = 12.0, 10.0, 40.0
# While one wave is logged the next one fits, but the last log is waited for: waves get shorter to the end.
SHARE_OF_THE_REST = 3


class Waves(Iterator[Wave]):
    """The waves of a run, each cut when it is asked for. Threads may share it.

    Args:
        todo: partitions to fit, sorted by bucket, with `cost` in seconds of one core.
        largest: most partitions of a wave (`limits.partitions_per_wave`).
        cores: cores that fit at once.
        first: number of the first wave.

    """

    def __init__(
        self,
        todo: pd.DataFrame,
        largest: int,
        cores: int,
        first: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._todo, self._largest, self._cores = todo, largest, cores
        self._number, self._first, self._start = first, first, 0
        self._reached = np.cumsum(todo["cost"].to_numpy(float)) if len(todo) else np.zeros(0)
        self._fitted_cost, self._scale = 0.0, 1.0
        self._clock, self._began, self._lock = clock, clock(), Lock()

    def __next__(self) -> Wave:
        with self._lock:
            if self._start >= len(self._todo):
                raise StopIteration
            end = self._start + self._size()
            wave = _wave(self._number, self._todo.iloc[self._start : end], self._cores)
            self._start, self._number = end, self._number + 1
            return wave

    def fitted(self, wave: Wave) -> None:
        """A wave is fitted: from now on costs are scaled by what all of them took so far."""
        with self._lock:
            self._fitted_cost += float(wave.members["cost"].sum())
            if self._fitted_cost > 0:
                spent = (self._clock() - self._began) * self._cores
                self._scale = min(max(spent / self._fitted_cost, 0.1), 10.0)

    def _size(self) -> int:
        """Partitions of the next wave."""
        before = self._reached[self._start - 1] if self._start else 0.0
        seconds = (self._reached[self._start :] - before) * self._scale / self._cores
        rest = float(seconds[-1])
        target = min(rest / max(1.0, min(SHARE_OF_THE_REST, rest // SHORTEST)), LONGEST)
        if self._number == self._first and rest > FIRST + SHORTEST:
            target = FIRST
        size = int(np.searchsorted(seconds, target * (1 + 1e-9), side="right"))
        return min(max(size, self._cores * TASKS_PER_CORE), self._largest, len(seconds))


def _wave(number: int, members: pd.DataFrame, cores: int) -> Wave:
    tasks = min(len(members), cores * TASKS_PER_CORE)
    packed = members.assign(task=pack(members["cost"].to_numpy(float), tasks))
    return Wave(number, packed, tasks)
