"""Prediction intervals from backtest residuals, for any family: split conformal prediction with a scale per step.

Residuals grow with the step ahead, and few folds give few residuals per step. So a smooth scale is fitted over the
steps, residuals are divided by it and pooled, and the quantile with the finite-sample correction (Vovk et al. 2005;
Lei et al. 2018) is multiplied by the scale again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Intervals:
    """Half-widths: `intercept + slope * sqrt(step)` times the level's quantile; step 1 is the first one ahead."""

    intercept: float
    slope: float
    quantiles: dict[int, float]

    def half_width(self, steps: Floats, level: int) -> Floats:
        """Half-widths at the steps, shape (len(steps),). Levels between those known are interpolated."""
        known = sorted(self.quantiles)
        quantile = np.interp(level, known, [self.quantiles[k] for k in known])
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

    `stepwise` says that position i of a fold is step i + 1 ahead; else all residuals are of one kind.
    """
    errors = np.abs(np.concatenate(residuals))
    steps = np.concatenate([np.arange(1, len(fold) + 1, dtype=np.float64) for fold in residuals])
    intercept, slope = _growth(steps, errors) if stepwise else (1.0, 0.0)
    scaled = np.sort(errors / (intercept + slope * np.sqrt(steps)))
    wanted = sorted({*levels, 50, 80, 90, 95})
    return Intervals(intercept, slope, {level: _quantile(scaled, level / 100) for level in wanted})


def _growth(steps: Floats, errors: Floats) -> tuple[float, float]:
    """Least squares of |error| on sqrt(step), held to a scale that is positive and does not shrink."""
    mean = float(errors.mean())
    if mean == 0 or steps.max() < 3:
        return max(mean, 1e-12), 0.0
    root = np.sqrt(steps)
    spread = root - root.mean()
    slope = float((spread * errors).sum() / np.square(spread).sum())
    # A steep line through few points says more about luck than about the series.
    slope = min(max(slope, 0.0), mean / float(root.mean()) * 0.9)
    return max(mean - slope * float(root.mean()), 1e-12), slope


def _quantile(ordered: Floats, level: float) -> float:
    rank = math.ceil((len(ordered) + 1) * level)
    return float(ordered[min(rank, len(ordered)) - 1])


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
