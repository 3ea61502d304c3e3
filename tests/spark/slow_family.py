"""A family whose fits take as long as their rows are many, or their values large."""

from __future__ import annotations

import time

import pandas as pd

from manymodels_spark.families.base import Problem
from manymodels_spark.families.naive import SeasonalNaive

SECONDS_A_ROW = 0.0003
SLOW = 1.2


class SlowByRows(SeasonalNaive):
    """The seasonal naive after a pause."""

    name = "slow_by_rows"

    def cost(self, rows: int) -> float:
        """As it says; it does not know of slow values."""
        return SECONDS_A_ROW * rows

    def fit(self, rows: pd.DataFrame, problem: Problem) -> list[float]:
        """The last season's values."""
        time.sleep(SLOW if rows[problem.target].max() > 1e5 else SECONDS_A_ROW * len(rows))
        return super().fit(rows, problem)
