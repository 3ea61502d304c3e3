"""What was predicted of each fold beside what came, and the metrics of all folds together.

Errors and actuals are pooled over the folds before a ratio is taken, so that a fold whose actuals are all
zero counts with its errors. NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from manymodels_spark.modeling import metrics
from manymodels_spark.modeling.metrics import Floats


@dataclass(frozen=True)
class Numbers:
    """One fold of a forecast or a regression: only the steps that are known.

    `scale` and `square` are the mean absolute and mean squared seasonal difference inside the fold's training
    rows, NaN where they have none.
    """

    actual: Floats
    predicted: Floats
    scale: float = math.nan
    square: float = math.nan

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Every metric of this fold by itself."""
        return _known(_of_numbers([self]))

    @classmethod
    def of(cls, actual: Floats, predicted: Floats, past: Floats, season: int) -> Numbers:
        """Of actuals and predictions, and the training targets (NaN where unknown; none for regressions)."""
        if len(past) < 2:
            return cls(actual, predicted)
        return cls(actual, predicted, *metrics.scales(past, season if len(past) > season else 1))


@dataclass(frozen=True)
class Classes:
    """One fold of a classification: the labels, and probabilities of shape (rows, len(classes))."""

    actual: Sequence[str]
    predicted: Floats
    classes: Sequence[str]

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Every metric of this fold by itself."""
        return _known(_of_classes([self]))


Judged = Numbers | Classes


def pooled(folds: Sequence[Judged]) -> dict[str, float]:
    """Every metric over all folds together; those that cannot be computed are left out.

    The area under the ROC curve is a mean over the folds, since scores of different models are not ordered
    among each other; all others are of the pooled rows (Forman, Scholz 2010).
    """
    if len(folds) == 1:
        return dict(folds[0].metrics)
    numbers = [fold for fold in folds if isinstance(fold, Numbers)]
    classes = [fold for fold in folds if isinstance(fold, Classes)]
    found = _of_numbers(numbers) if numbers else _of_classes(classes) if classes else {}
    return _known(found)


def _known(found: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in found.items() if not math.isnan(value)}


def mean_size_of_bias(folds: Sequence[Judged]) -> float:
    """The mean size of the folds' biases, by which candidates are ranked: folds that miss on both sides are
    not perfect.
    """
    numbers = [fold for fold in folds if isinstance(fold, Numbers)]
    sizes = [abs(metrics.bias(fold.actual, fold.predicted)) for fold in numbers]
    return float(np.average(sizes, weights=[len(fold.actual) for fold in numbers])) if sizes else math.nan


def _of_numbers(folds: Sequence[Numbers]) -> dict[str, float]:
    found = _of_all(folds)
    scaled = [fold for fold in folds if not math.isnan(fold.scale)]
    if not scaled:
        return found
    errors = found if len(scaled) == len(folds) else _of_all(scaled)
    table = np.array([(fold.scale, fold.square, len(fold.actual)) for fold in scaled])
    scale, square = (table[:, :2] * table[:, 2:]).sum(axis=0) / table[:, 2].sum()
    found["mase"] = metrics.ratio(errors["mae"], float(scale))
    found["rmsse"] = metrics.ratio(errors["rmse"], math.sqrt(square))
    return found


def _of_all(folds: Sequence[Numbers]) -> dict[str, float]:
    if len(folds) == 1:
        return metrics.of_numbers(folds[0].actual, folds[0].predicted)
    actual = np.concatenate([fold.actual for fold in folds])
    return metrics.of_numbers(actual, np.concatenate([fold.predicted for fold in folds]))


def _of_classes(folds: Sequence[Classes]) -> dict[str, float]:
    guesses = [[fold.classes[index] for index in fold.predicted.argmax(axis=1)] for fold in folds]
    actual = [label for fold in folds for label in fold.actual]
    guess = [label for labels in guesses for label in labels]
    losses = [metrics.logloss(fold.actual, fold.predicted, fold.classes) for fold in folds]
    areas = [metrics.auc(fold.actual, fold.predicted, fold.classes) for fold in folds]
    known = [area for area in areas if not math.isnan(area)]
    return {
        "logloss": float(np.average(losses, weights=[len(fold.actual) for fold in folds])),
        "accuracy": metrics.accuracy(actual, guess),
        "f1": metrics.f1(actual, guess),
        "auc": float(np.mean(known)) if known else math.nan,
    }
