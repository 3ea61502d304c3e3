"""How good a prediction was: every metric that a spec may name, with its formula. NumPy only.

Arrays are one-dimensional floats of equal length without NaN. A metric that cannot be computed (a scale of
zero with an error that is not) is NaN; where there is no error at all it is 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mae(actual: Floats, predicted: Floats) -> float:
    """Mean absolute error."""
    return float(np.abs(actual - predicted).mean())


def rmse(actual: Floats, predicted: Floats) -> float:
    """Root of the mean squared error."""
    return float(math.sqrt(np.square(actual - predicted).mean()))


def bias(actual: Floats, predicted: Floats) -> float:
    """Mean error, predicted minus actual: positive where too much was predicted."""
    return float((predicted - actual).mean())


def wape(actual: Floats, predicted: Floats) -> float:
    """Weighted absolute percentage error: sum of |error| over sum of |actual|, as a fraction (Kolassa, Schütz
    2007).
    """
    return ratio(float(np.abs(actual - predicted).sum()), float(np.abs(actual).sum()))


def smape(actual: Floats, predicted: Floats) -> float:
    """Symmetric MAPE of the M4 competition: mean of 2 |error| / (|actual| + |predicted|), as a fraction from
    0 to 2.
    """
    scale = np.abs(actual) + np.abs(predicted)
    errors = 2 * np.abs(actual - predicted)
    return float(np.divide(errors, scale, out=np.zeros_like(errors), where=scale > 0).mean())


def mase(actual: Floats, predicted: Floats, train: Floats, season: int = 1) -> float:
    """Mean absolute error over that of the seasonal naive forecast inside `train` (Hyndman, Koehler 2006).

    `train` may have NaN where a step is not known.
    """
    return ratio(mae(actual, predicted), scales(train, season)[0])


def rmsse(actual: Floats, predicted: Floats, train: Floats, season: int = 1) -> float:
    """Root of the squared error over that of the seasonal naive forecast inside `train` (M5, 2020)."""
    return ratio(rmse(actual, predicted), math.sqrt(scales(train, season)[1]))


def scales(train: Floats, season: int) -> tuple[float, float]:
    """Mean absolute and mean squared difference of values one season apart; 0 where no two are known."""
    apart = train[season:] - train[:-season]
    known = apart[~np.isnan(apart)]
    if not len(known):
        return 0.0, 0.0
    return _sum(np.abs(known)) / len(known), _sum(known * known) / len(known)


def pinball(actual: Floats, predicted: Floats, quantile: float = 0.5) -> float:
    """Mean quantile loss (Koenker, Bassett 1978)."""
    error = actual - predicted
    return float(np.maximum(quantile * error, (quantile - 1) * error).mean())


def coverage(actual: Floats, lower: Floats, upper: Floats) -> float:
    """Share of actuals within the closed interval."""
    return float(((actual >= lower) & (actual <= upper)).mean())


def r2(actual: Floats, predicted: Floats) -> float:
    """One minus the share of variance that is left; NaN for constant actuals."""
    total = float(np.square(actual - actual.mean()).sum())
    return 1 - float(np.square(actual - predicted).sum()) / total if total > 0 else math.nan


def accuracy(actual: Sequence[str], predicted: Sequence[str]) -> float:
    """Share of labels that are right."""
    return float((np.asarray(actual) == np.asarray(predicted)).mean())


def f1(actual: Sequence[str], predicted: Sequence[str]) -> float:
    """F1 of every class that occurs, unweighted mean (macro)."""
    truth, guess = np.asarray(actual), np.asarray(predicted)
    scores = []
    for label in np.union1d(truth, guess):
        hits = float(((truth == label) & (guess == label)).sum())
        scores.append(2 * hits / float((truth == label).sum() + (guess == label).sum()))
    return float(np.mean(scores))


def logloss(actual: Sequence[str], probabilities: Floats, classes: Sequence[str]) -> float:
    """Mean of -log of the probability given to the true class; probabilities (n, classes) are clipped at
    1e-15.
    """
    position = {label: index for index, label in enumerate(classes)}
    given = [
        row[position[label]] if label in position else 0.0
        for label, row in zip(actual, probabilities, strict=True)
    ]
    return float(-np.log(np.clip(given, 1e-15, 1.0)).mean())


def auc(actual: Sequence[str], probabilities: Floats, classes: Sequence[str]) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney); more than two classes: mean of one against the
    rest.
    """
    truth = np.asarray(actual)
    columns = [1] if len(classes) == 2 else range(len(classes))
    areas = [_auc_of(truth == classes[index], probabilities[:, index]) for index in columns]
    known = [area for area in areas if not math.isnan(area)]
    return float(np.mean(known)) if known else math.nan


def of_numbers(
    actual: Floats, predicted: Floats, train: Floats | None = None, season: int = 1
) -> dict[str, float]:
    """All metrics of a forecast or a regression at once; `mase` and `rmsse` where `train` has two values.

    The same values as those of the functions above, from errors that are taken once; none without actuals.
    """
    if len(actual) == 0:
        return {}
    error, count = actual - predicted, len(actual)
    size, square, actual_size = np.abs(error), error * error, np.abs(actual)
    total, both = _sum(size), actual_size + np.abs(predicted)
    shares = np.divide(2 * size, both, out=np.zeros(count), where=both > 0)
    spread = actual - _sum(actual) / count
    left, variation = _sum(square), _sum(spread * spread)
    values = {
        "wape": ratio(total, _sum(actual_size)),
        "smape": _sum(shares) / count,
        "mae": total / count,
        "rmse": math.sqrt(left / count),
        "bias": -_sum(error) / count,
        "pinball": _sum(np.maximum(0.5 * error, -0.5 * error)) / count,
        "r2": 1 - left / variation if variation > 0 else math.nan,
    }
    if train is not None and len(train) > 1:
        scale, squared = scales(train, season if len(train) > season else 1)
        values["mase"] = ratio(values["mae"], scale)
        values["rmsse"] = ratio(values["rmse"], math.sqrt(squared))
    return values


def ratio(error: float, scale: float) -> float:
    """Error over scale; 0 where there is no error, NaN where only the scale is 0."""
    if scale > 0:
        return error / scale
    return 0.0 if error == 0 else math.nan


def _sum(values: Floats) -> float:
    return float(np.add.reduce(values))


def _auc_of(positive: NDArray[np.bool_], score: Floats) -> float:
    hits = int(positive.sum())
    misses = len(positive) - hits
    if hits == 0 or misses == 0:
        return math.nan
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return (float(ranks[positive].sum()) - hits * (hits + 1) / 2) / (hits * misses)
