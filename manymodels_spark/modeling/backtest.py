"""How well a family predicts rows that it has not seen: rolling-origin folds of a series, shuffled folds of a
table.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from manymodels_spark.errors import FitError, Reason
from manymodels_spark.families.base import Family, Problem
from manymodels_spark.modeling import metrics
from manymodels_spark.modeling.results import FoldPrediction
from manymodels_spark.spec.model import Spec

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fold:
    """Positions of the rows to train on and of those to test on; `gap` rows lie between them."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    gap: int = 0


@dataclass
class Trial:
    """One candidate through all folds: its predictions, the metrics, the models of the latest and of the
    earliest fold, and what it took.

    `predictions[k]` belongs to fold k, shape (rows,) or (rows, classes[k]); fold 0 is the latest. `size` is
    the mean size of the targets, for metrics in their unit.
    """

    name: str
    family: Family[Any]
    predictions: list[Floats]
    metrics: list[dict[str, float]]
    classes: list[list[str]] = field(default_factory=list)
    model: Any = None
    earliest: Any = None
    seconds: float = 0.0
    error: Exception | None = None
    size: float = 1.0


def folds_of(rows: pd.DataFrame, spec: Spec, seed: int) -> list[Fold]:
    """The folds that clean rows allow, latest first. Raises FitError(TOO_SHORT) where not even one fits."""
    if spec.task == "forecast":
        return _rolling(len(rows), spec)
    labels = rows[spec.columns.target].to_numpy(dtype=str) if spec.task == "classification" else None
    return _shuffled(len(rows), spec.backtest.folds, seed, labels)


def try_family(
    name: str, family: Family[Any], rows: pd.DataFrame, folds: Sequence[Fold], problem: Problem
) -> Trial:
    """Fit and predict every fold, the earliest first: the later ones take its model's form (`refit`).

    An exception of the family ends the trial and stays in it.
    """
    trial = Trial(name, family, [], [], size=_size(rows, problem))
    for fold in reversed(folds):
        train = rows_at(rows, fold.train)
        try:
            model, predicted, seconds = _fit_and_predict(
                family, train, _span(rows, fold), problem, trial.earliest
            )
        except Exception as error:
            trial.error = error
            return trial
        trial.seconds += seconds
        trial.model, trial.earliest = model, model if trial.earliest is None else trial.earliest
        trial.predictions.insert(0, _tested(predicted, fold))
        trial.classes.insert(0, family.classes(model))
        trial.metrics.insert(
            0, judge(train, rows_at(rows, fold.test), trial.predictions[0], trial.classes[0], problem)
        )
    return trial


def rows_at(rows: pd.DataFrame, positions: NDArray[np.int64]) -> pd.DataFrame:
    """A copy of the rows at these positions, as one piece where they follow each other: ten times as fast as
    one by one.
    """
    first, last = int(positions[0]), int(positions[-1]) + 1
    if np.array_equal(positions, np.arange(first, last)):
        return rows.iloc[first:last].copy()
    return rows.iloc[positions]


def judge(
    train: pd.DataFrame, test: pd.DataFrame, predicted: Floats, classes: Sequence[str], problem: Problem
) -> dict[str, float]:
    """All metrics of one fold. `classes` name the columns of a classification's `predicted`."""
    if problem.task == "classification":
        return metrics.of_classes(list(test[problem.target]), predicted, classes)
    past = train[problem.target].to_numpy() if problem.task == "forecast" else np.empty(0)
    return metrics.of_numbers(test[problem.target].to_numpy(), predicted, past, problem.season)


def mean_metrics(folds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Each metric's mean over the folds that have it."""
    names = dict.fromkeys(name for fold in folds for name in fold)
    found = {
        name: [fold[name] for fold in folds if not math.isnan(fold.get(name, math.nan))] for name in names
    }
    return {name: float(np.mean(values)) for name, values in found.items() if values}


def predicted(
    trial: Trial, folds: Sequence[Fold], rows: pd.DataFrame, problem: Problem
) -> tuple[FoldPrediction, ...]:
    """The trial's predictions of a forecast's folds, to be kept and drawn: five significant digits are finer
    than a screen.
    """
    if problem.task != "forecast" or problem.time is None:
        return ()
    times = pd.DatetimeIndex(rows[problem.time])
    return tuple(
        FoldPrediction(times[fold.test[0]].isoformat(), [float(f"{value:.5g}") for value in values])
        for fold, values in zip(folds, trial.predictions, strict=True)
    )


def _size(rows: pd.DataFrame, problem: Problem) -> float:
    """The mean size of the targets; 1 for classes, and where all are zero."""
    if problem.task == "classification":
        return 1.0
    values = rows[problem.target].to_numpy(dtype=np.float64)
    # Divided first, so that the sum cannot overflow.
    return float(np.abs(values / len(values)).sum()) or 1.0


def _fit_and_predict(
    family: Family[Any], train: pd.DataFrame, span: pd.DataFrame, problem: Problem, earliest: Any = None
) -> tuple[Any, Floats, float]:
    if len(train) < family.min_rows(problem):
        raise FitError(
            Reason.TOO_SHORT, f"{family.name} wants {family.min_rows(problem)} rows, a fold has {len(train)}"
        )
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


def _span(rows: pd.DataFrame, fold: Fold) -> pd.DataFrame:
    """The rows to predict: the test rows with the gap before them."""
    return rows_at(rows, np.arange(fold.test[0] - fold.gap, fold.test[-1] + 1) if fold.gap else fold.test)


def _tested(predicted: Floats, fold: Fold) -> Floats:
    return predicted[fold.gap :]


def _rolling(rows: int, spec: Spec) -> list[Fold]:
    horizon, gap = spec.horizon, spec.backtest.gap
    step = spec.backtest.step or horizon
    least = horizon + 1
    ends = [rows - k * step for k in range(spec.backtest.folds)]
    folds = [
        Fold(np.arange(end - horizon - gap), np.arange(end - horizon, end), gap)
        for end in ends
        if end - horizon - gap >= least
    ]
    if not folds:
        needed = 2 * horizon + gap + 1
        raise FitError(Reason.TOO_SHORT, f"{rows} rows, {needed} needed for 1 fold of {horizon}")
    return folds


def _shuffled(rows: int, wanted: int, seed: int, labels: NDArray[np.str_] | None) -> list[Fold]:
    """K folds of a seeded shuffle, at most one per two rows; with one fold, a fifth of the rows is held out.

    Classes are spread evenly over the folds, and the only row of a class is never held out: nothing could
    know it.
    """
    if rows < 10:
        raise FitError(Reason.TOO_SHORT, f"{rows} rows, 10 needed for a fold")
    everyone = order = np.random.default_rng(seed).permutation(rows)
    if labels is not None:
        _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
        order = order[np.argsort(inverse[order], kind="stable")]
        order = order[counts[inverse[order]] > 1]
    if len(order) == 0:
        raise FitError(
            Reason.TOO_SHORT, f"{rows} rows of {rows} classes, a class of two rows is needed for a fold"
        )
    count = min(wanted, max(len(order) // 2, 1)) if wanted > 1 else 5
    tests = [np.sort(order[number::count]) for number in range(count)][:wanted]
    return [Fold(np.setdiff1d(everyone, test), test) for test in tests if len(test)]
