"""Partitions into waves, and each wave's partitions into tasks of equal expected cost, the heaviest first."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TASKS_PER_CORE = 4
MOST_BUCKETS_OF_A_WAVE = 16
SMALLEST_WAVE = 24
SHARE_OF_THE_REST = 3
MOST_WAVES_BEYOND = 20


@dataclass(frozen=True)
class Wave:
    """One committed portion of a run: its number and, per partition, bucket, cost, fingerprint and task."""

    number: int
    members: pd.DataFrame
    tasks: int

    @property
    def buckets(self) -> list[int]:
        """The buckets of silver that hold this wave's rows."""
        return sorted(int(bucket) for bucket in self.members["bucket"].unique())


def waves(todo: pd.DataFrame, largest: int, cores: int, first: int = 1) -> list[Wave]:
    """Cut `todo` (sorted by bucket) into waves of at most `largest` partitions, so that each reads few buckets.

    They get smaller towards the end: while one wave is logged the next one fits, but the last one is waited for.
    """
    pieces, start = list[pd.DataFrame](), 0
    smallest = max(SMALLEST_WAVE, len(todo) // MOST_WAVES_BEYOND)
    while start < len(todo):
        size = min(largest, max(smallest, -(-(len(todo) - start) // SHARE_OF_THE_REST)))
        pieces.append(todo.iloc[start : start + size])
        start += size
    return [_wave(first + index, piece, cores) for index, piece in enumerate(pieces)]


def buckets(partitions: int, largest: int) -> int:
    """Into how many buckets silver is cut, so that a wave reads little more than its own rows."""
    return max(1, -(-partitions // largest), min(MOST_BUCKETS_OF_A_WAVE, -(-partitions // SMALLEST_WAVE)))


def pack(costs: np.ndarray, tasks: int) -> np.ndarray:
    """The task of each partition: longest first onto the least loaded task (Graham 1969); task 0 is heaviest.

    `costs` has shape (n,), in seconds; the result has shape (n,), values from 0 to tasks - 1.
    """
    loads = [(0.0, task) for task in range(tasks)]
    assigned = np.empty(len(costs), dtype=np.int64)
    for index in np.argsort(-costs, kind="stable"):
        load, task = heapq.heappop(loads)
        assigned[index] = task
        heapq.heappush(loads, (load + float(costs[index]), task))
    totals = np.bincount(assigned, weights=costs, minlength=tasks)
    rank = np.empty(tasks, dtype=np.int64)
    rank[np.argsort(-totals, kind="stable")] = np.arange(tasks)
    return rank[assigned]


def _wave(number: int, members: pd.DataFrame, cores: int) -> Wave:
    tasks = min(len(members), cores * TASKS_PER_CORE)
    packed = members.assign(task=pack(members["cost"].to_numpy(float), tasks))
    return Wave(number, packed, tasks)


@lru_cache(maxsize=64)
def slots(spark: SparkSession, tasks: int) -> tuple[int, ...]:
    """For each task 0..tasks-1 a number that Spark's `repartition(tasks, column)` sends to that very task.

    Hashing would put two heavy partitions into one task now and then; with these numbers it cannot.
    """
    from pyspark.sql import functions as F

    numbers = spark.range(tasks * 40).select(F.col("id").cast("int").alias("slot"))
    target = F.pmod(F.hash("slot"), F.lit(tasks))
    found = numbers.groupBy(target.alias("task")).agg(F.min("slot").alias("slot")).collect()
    by_task = {int(row["task"]): int(row["slot"]) for row in found}
    return tuple(by_task[task] for task in range(tasks))
