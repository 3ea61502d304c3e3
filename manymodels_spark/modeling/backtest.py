"""How well a family predicts rows that it has not seen: one candidate through all folds of a backtest."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from manymodels_spark.errors import FitError, Reason
from manymodels_spark.families.base import Family, Problem
from manymodels_spark.modeling.bounds import NO_BOUNDS, Bounds
from manymodels_spark.modeling.folds import Fold
from manymodels_spark.modeling.grid import Grid, rows_at
from manymodels_spark.modeling.judged import Classes, Judged, Numbers, pooled
from manymodels_spark.modeling.results import FoldPrediction

Floats = NDArray[np.float64]


@dataclass
class Trial:
    """One candidate through all folds: its predictions, what they were judged by, the models of the latest
    and of the earliest fold, and what it took.

    `predictions[k]` belongs to fold k, shape (rows,) or (rows, classes[k]), before bounds are applied; fold 0
    is the latest. `size` is the mean size of the targets, for metrics in their unit.
    """

    name: str
    family: Family[Any]
    predictions: list[Floats]
    judged: list[Judged]
    classes: list[list[str]] = field(default_factory=list)
    model: Any = None
    earliest: Any = None
    seconds: float = 0.0
    error: Exception | None = None
    size: float = 1.0
    _pooled: dict[frozenset[int], dict[str, float]] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, float]:
        """All metrics over all folds."""
        return self.metrics_over(frozenset(range(len(self.judged))))

    def metrics_over(self, folds: frozenset[int]) -> dict[str, float]:
        """All metrics over these folds together, computed once."""
        found = self._pooled.get(folds)
        if found is None:
            found = self._pooled[folds] = pooled([self.judged[fold] for fold in sorted(folds)])
        return found


@dataclass(frozen=True)
class Backtest:
    """What all candidates share: the partition's rows on their grid, the folds, the bounds of predictions."""

    grid: Grid
    folds: Sequence[Fold]
    problem: Problem
    bounds: Bounds = NO_BOUNDS

    def tried(self, name: str, family: Family[Any]) -> Trial:
        """Fit and predict every fold, the earliest first: the later ones take its model's form (`refit`).

        An exception of the family ends the trial and stays in it.
        """
        trial = Trial(name, family, [], [], size=_size(self.grid, self.problem))
        for fold in reversed(self.folds):
            try:
                model, predicted, seconds = self._fit_and_predict(family, fold, trial.earliest)
            except Exception as error:
                trial.error = error
                return trial
            trial.seconds += seconds
            trial.model, trial.earliest = model, model if trial.earliest is None else trial.earliest
            trial.predictions.insert(0, predicted[fold.gap :])
            trial.classes.insert(0, family.classes(model))
            trial.judged.insert(0, self.judge(fold, trial.predictions[0], trial.classes[0]))
        return trial

    def judge(self, fold: Fold, predicted: Floats, classes: Sequence[str] = ()) -> Judged:
        """A fold's predictions, within the bounds, beside its actuals: only where these are known.

        Args:
            fold: what was predicted.
            predicted: shape (len(fold.test),), or (len(fold.test), len(classes)) for a classification.
            classes: name the columns of a classification's `predicted`.

        """
        target = self.grid.rows[self.problem.target].to_numpy()
        if self.problem.task == "classification":
            return Classes([str(label) for label in target[fold.test]], predicted, classes)
        known = self.grid.known[fold.test]
        past = target[fold.train] if self.problem.task == "forecast" else np.empty(0)
        shaped = self.bounds.applied(predicted)
        return Numbers.of(target[fold.test][known], shaped[known], past, self.problem.season)

    def training(self, family: Family[Any], positions: NDArray[np.int64]) -> pd.DataFrame:
        """The rows at these positions as the family takes them. Raises FitError(TOO_SHORT)."""
        least, rows = family.min_rows(self.problem), int(self.grid.known[positions].sum())
        if rows < least:
            raise FitError(Reason.TOO_SHORT, f"{family.name} requires {least} rows, a fold has {rows}")
        return self.grid.training(positions, self.problem, every_step=family.every_step)

    def kept(self, predictions: Sequence[Floats]) -> tuple[FoldPrediction, ...]:
        """A forecast's predictions of its folds, to be stored and drawn: one for each step that has a row.

        Five significant digits are finer than a screen.
        """
        if self.problem.task != "forecast" or self.problem.time is None:
            return ()
        times = pd.DatetimeIndex(self.grid.rows[self.problem.time])
        found = []
        for fold, predicted in zip(self.folds, predictions, strict=True):
            seen = self.grid.observed[fold.test]
            shaped = np.where(self.grid.closed[fold.test], 0.0, self.bounds.applied(predicted))[seen]
            start = times[fold.test[seen][0]]
            found.append(FoldPrediction(start.isoformat(), [float(f"{value:.5g}") for value in shaped]))
        return tuple(found)

    def _fit_and_predict(self, family: Family[Any], fold: Fold, earliest: Any) -> tuple[Any, Floats, float]:
        train, problem = self.training(family, fold.train), self.problem
        first = fold.test[0] - fold.gap
        steps = np.arange(first, fold.test[-1] + 1) if fold.gap else fold.test
        span = rows_at(self.grid.rows, steps).copy()
        began = time.perf_counter()
        model = family.fit(train, problem) if earliest is None else family.refit(earliest, train, problem)
        predicted = np.asarray(family.predict(model, span, problem), dtype=np.float64)
        seconds = time.perf_counter() - began
        if len(predicted) != len(span) or not np.isfinite(predicted).all():
            raise FitError(
                Reason.FIT_FAILED,
                f"{family.name} predicted {len(predicted)} values for {len(span)} rows, or no numbers",
            )
        return model, predicted, seconds


def _size(grid: Grid, problem: Problem) -> float:
    """The mean size of the known targets; 1 for classes, and where all are zero."""
    if problem.task == "classification":
        return 1.0
    values = grid.rows[problem.target].to_numpy(dtype=np.float64)[grid.known]
    # Divided first, so that the sum cannot overflow.
    return float(np.abs(values / len(values)).sum()) or 1.0
