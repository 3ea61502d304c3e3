"""The simplest families, for reference and as fallbacks: last value, last season, mean, majority."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from manymodels_spark.families.base import Family, Json, Problem
from manymodels_spark.families.options import Options, SeasonOptions


class SeasonalNaive(Family[list[float]]):
    """Repeats the last season; with less than a season of rows, repeats those."""

    name = "seasonal_naive"
    tasks = frozenset({"forecast"})
    Options = SeasonOptions
    options: SeasonOptions

    def min_rows(self, problem: Problem) -> int:
        """One row is enough to repeat."""
        return 1

    def cost(self, rows: int) -> float:
        """Next to nothing."""
        return 1e-5

    def fit(self, rows: pd.DataFrame, problem: Problem) -> list[float]:
        """The last season's values."""
        season = self._season(problem)
        return [float(value) for value in rows[problem.target].to_numpy()[-season:]]

    def predict(self, model: list[float], future: pd.DataFrame, problem: Problem) -> NDArray[np.float64]:
        """The season again and again."""
        return np.resize(np.asarray(model, dtype=float), len(future))

    def update(self, model: list[float], rows: pd.DataFrame, problem: Problem) -> list[float]:
        """The last season's values of those and of the rows."""
        newer = [float(value) for value in rows[problem.target]]
        return [*model, *newer][-self._season(problem) :]

    def dump(self, model: list[float]) -> Json:
        """The values."""
        return model

    def load(self, state: Json) -> list[float]:
        """The values."""
        return [float(value) for value in state]

    def _season(self, problem: Problem) -> int:
        return self.options.season or problem.season


class Naive(SeasonalNaive):
    """Repeats the last value."""

    name = "naive"
    every_step = False
    Options: ClassVar[type[Options]] = Options  # type: ignore[assignment]

    def _season(self, problem: Problem) -> int:
        return 1


class Mean(Family[float]):
    """Predicts the mean of the training rows."""

    name = "mean"
    every_step = False
    tasks = frozenset({"forecast", "regression"})

    def cost(self, rows: int) -> float:
        """Next to nothing."""
        return 1e-5

    def fit(self, rows: pd.DataFrame, problem: Problem) -> float:
        """The mean."""
        return float(rows[problem.target].mean())

    def predict(self, model: float, future: pd.DataFrame, problem: Problem) -> NDArray[np.float64]:
        """The mean for every row."""
        return np.full(len(future), model)

    def dump(self, model: float) -> Json:
        """The mean."""
        return model

    def load(self, state: Json) -> float:
        """The mean."""
        return float(state)


class Majority(Family[dict[str, float]]):
    """Predicts the classes' shares in the training rows."""

    name = "majority"
    tasks = frozenset({"classification"})

    def min_rows(self, problem: Problem) -> int:
        """One row has a majority."""
        return 1

    def cost(self, rows: int) -> float:
        """Next to nothing."""
        return 1e-5

    def fit(self, rows: pd.DataFrame, problem: Problem) -> dict[str, float]:
        """Class to share, in the classes' order."""
        counts = Counter(rows[problem.target])
        return {label: counts[label] / len(rows) for label in sorted(counts)}

    def classes(self, model: dict[str, float]) -> list[str]:
        """The classes seen."""
        return list(model)

    def predict(self, model: dict[str, float], future: pd.DataFrame, problem: Problem) -> NDArray[np.float64]:
        """The shares for every row."""
        return np.tile(np.fromiter(model.values(), float), (len(future), 1))

    def dump(self, model: dict[str, float]) -> Json:
        """The shares."""
        return model

    def load(self, state: Json) -> dict[str, float]:
        """The shares."""
        return {label: float(share) for label, share in state.items()}
