"""A family whose fits do to their process what the level of their rows says."""

from __future__ import annotations

import faulthandler
import os
import signal
import time

import numpy as np
import pandas as pd

from manymodels_spark.families.base import Problem
from manymodels_spark.families.naive import SeasonalNaive

SEGFAULT, KILLED, MEMORY, SLEEP = 1e6, 2e6, 3e6, 4e6


class Killer(SeasonalNaive):
    """The seasonal naive, where nothing is to happen."""

    name = "killer"

    def fit(self, rows: pd.DataFrame, problem: Problem) -> list[float]:
        """The last season's values, if it comes to that."""
        level = float(rows[problem.target].iloc[0]) // 1e6 * 1e6
        if level == SEGFAULT:
            faulthandler.disable()
            os.kill(os.getpid(), signal.SIGSEGV)
        if level == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        if level == MEMORY:
            np.ones(10**9)
        if level == SLEEP:
            time.sleep(60)
        return super().fit(rows, problem)
