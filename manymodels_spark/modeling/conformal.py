"""Prediction intervals from backtest residuals, for any family: split conformal prediction with a scale per
step.

Residuals grow with the step ahead, and few folds give few residuals per step. So a smooth scale is fitted
over the steps, residuals are divided by it and pooled, and the quantile with the finite-sample correction
(Vovk et al. 2005; Lei et al. 2018) is multiplied by the scale again.

Two things would make such intervals too narrow, and both are answered with Student's t: residuals of one fold
that follow each other (a random walk's) hold less information than their number says, and a handful of
residuals has no 95 % quantile at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# A scale that residuals can be divided by, whatever their unit.
_SMALLEST = 1e-290


@dataclass(frozen=True)
class Intervals:
    """Half-widths: `intercept + slope * sqrt(step)` times the level's quantile; step 1 is the first one
    ahead.
    """

    intercept: float
    slope: float
    quantiles: dict[int, float]

    def half_width(self, steps: Floats, level: int) -> Floats:
        """Half-widths at the steps, shape (len(steps),).

        Levels between those known are interpolated, level 0 having no width. Above the highest nothing is
        known: NaN.
        """
        known = sorted(self.quantiles)
        quantile = np.interp(level, [0, *known], [0.0, *(self.quantiles[k] for k in known)], right=math.nan)
        return np.asarray(self._scale(steps) * quantile, dtype=np.float64)

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON holds them."""
        levels = {str(level): value for level, value in self.quantiles.items()}
        return {"intercept": self.intercept, "slope": self.slope, "quantiles": levels}

    @classmethod
    def of_dict(cls, values: dict[str, Any]) -> Intervals:
        """The inverse of `as_dict`."""
        levels = {int(level): float(value) for level, value in values["quantiles"].items()}
        return cls(float(values["intercept"]), float(values["slope"]), levels)

    def _scale(self, steps: Floats) -> Floats:
        return np.asarray(self.intercept + self.slope * np.sqrt(steps), dtype=np.float64)


def calibrate(residuals: Sequence[Floats], levels: Sequence[int], *, stepwise: bool) -> Intervals:
    """Intervals from residuals (actual minus predicted), one array per fold.

    `stepwise` says that position i of a fold is step i + 1 ahead; else all residuals are of one kind. Beside
    `levels` those are kept that let `half_width` answer any from 1 to 99.
    """
    errors = np.abs(np.concatenate(residuals))
    steps = np.concatenate([np.arange(1, len(fold) + 1, dtype=np.float64) for fold in residuals])
    intercept, slope = _growth(steps, errors) if stepwise else (1.0, 0.0)
    scale = intercept + slope * np.sqrt(steps)
    ordered = np.sort(errors / scale)
    ends = np.cumsum([len(fold) for fold in residuals])[:-1]
    count = (
        _independent(np.split(np.concatenate(residuals) / scale, ends)) if stepwise else float(len(ordered))
    )
    wanted = sorted({*levels, 50, 80, 90, 95, 99})
    # Student's part may rise less steeply than the residuals' own: a higher level is never narrower.
    values = np.maximum.accumulate([_quantile(ordered, level / 100, count) for level in wanted])
    return Intervals(
        intercept, slope, {level: float(value) for level, value in zip(wanted, values, strict=True)}
    )


def _growth(steps: Floats, errors: Floats) -> tuple[float, float]:
    """Least squares of |error| on sqrt(step), held to a scale that is positive and does not shrink."""
    mean = float(errors.mean())
    if mean < _SMALLEST or steps.max() < 3:
        return max(mean, _SMALLEST), 0.0
    root = np.sqrt(steps)
    spread = root - root.mean()
    slope = float((spread * errors).sum() / np.square(spread).sum())
    # A steep line through few points says more about luck than about the series.
    slope = min(max(slope, 0.0), mean / float(root.mean()) * 0.9)
    return mean - slope * float(root.mean()), slope


def _independent(folds: Sequence[Floats]) -> float:
    """How many independent residuals the folds are worth, by their first autocorrelation; at least one a
    fold.
    """
    total = sum(float(np.square(fold).sum()) for fold in folds)
    count = sum(len(fold) for fold in folds)
    pairs = count - len(folds)
    if total == 0 or pairs < 2:
        return float(count)
    found = sum(float((fold[1:] * fold[:-1]).sum()) for fold in folds) / total
    # Independent residuals show this much by chance.
    chance = 1 / math.sqrt(pairs)
    correlation = min(max((found - chance) / (1 - chance), 0.0), 1.0)
    return max(count * (1 - correlation) / (1 + correlation), float(len(folds)))


def _quantile(ordered: Floats, level: float, independent: float) -> float:
    count = len(ordered)
    rank = math.ceil((count + 1) * level)
    widened = _student(level, independent) / _student(level, count)
    if rank <= count:
        return float(ordered[rank - 1]) * widened
    spread = math.sqrt(float(np.square(ordered).mean()) * (1 + 1 / count))
    return max(float(ordered[-1]), spread * _student(level, count)) * widened


def _student(level: float, freedom: float) -> float:
    """Half-width of Student's central interval in units of its scale."""
    # Here, since predictions do not need it.
    from scipy.special import stdtrit

    return float(stdtrit(max(freedom, 1.0), (1 + level) / 2))


def coverage(residuals: Sequence[Floats], level: int, *, stepwise: bool) -> float:
    """Share of each fold's residuals inside intervals made from the other folds; NaN with one fold."""
    if len(residuals) < 2:
        return math.nan
    shares = []
    for left_out, fold in enumerate(residuals):
        others = [other for index, other in enumerate(residuals) if index != left_out]
        made = calibrate(others, [level], stepwise=stepwise)
        steps = np.arange(1, len(fold) + 1, dtype=np.float64)
        shares.append(float((np.abs(fold) <= made.half_width(steps, level)).mean()))
    return float(np.mean(shares))
