"""A wave, and its partitions put into tasks of equal expected cost, the heaviest first."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from manymodels_spark.families import registry
from manymodels_spark.spec.model import Spec

if TYPE_CHECKING:
    from collections.abc import Sequence


TASKS_PER_CORE = 4


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


def expected(rows: Sequence[int] | pd.Series, spec: Spec) -> np.ndarray:
    """Seconds of one partition's fits by what the candidates' families say of that many rows. Shape (n,)."""
    families = [registry.build(candidate) for candidate in spec.candidates]
    fits = spec.backtest.folds + int(spec.refit)
    return np.array([fits * sum(family.cost(int(count)) for family in families) for count in rows], float)


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


@lru_cache(maxsize=64)
def slots(spark: SparkSession, tasks: int) -> tuple[int, ...]:
    """For each task 0..tasks-1 a number that Spark's `repartition(tasks, column)` sends to that very task.

    Hashing would put two heavy partitions into one task now and then; with these numbers it cannot.
    """
    numbers = spark.range(tasks * 40).select(F.col("id").cast("int").alias("slot"))
    target = F.pmod(F.hash("slot"), F.lit(tasks))
    found = numbers.groupBy(target.alias("task")).agg(F.min("slot").alias("slot")).collect()
    by_task = {int(row["task"]): int(row["slot"]) for row in found}
    return tuple(by_task[task] for task in range(tasks))
