"""Prediction intervals from backtest residuals, for any family: split conformal prediction with a scale per
step.

Residuals grow with the step ahead, and few folds give few residuals per step. So a smooth scale is fitted
over the steps, residuals are divided by it and pooled, and quantiles with the finite-sample correction
(Vovk et al. 2005; Lei et al. 2018) are multiplied by the scale again.

Intervals are symmetric quantiles of the residuals' size, or quantiles of the signed residuals (equal tails,
as in Romano et al. 2019), weighted by how sure it is that the residuals are skewed or biased at all.

Three things would make such intervals too narrow. Residuals of one fold that follow each other (a random
walk's), and folds that overlap, hold less information than their number says; a handful of residuals has no
95 % quantile at all. All are answered with Student's t at the number of residuals that they are worth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# A scale that residuals can be divided by, whatever their unit.
_SMALLEST = 1e-290
# Kept beside the levels asked for, so that others can be answered later.
_LEVELS = (50, 80, 90, 95, 99)
# Chi-squared of two statistics up to which residuals count as symmetric: twice what chance alone gives.
_CHANCE = 4.0


@dataclass(frozen=True)
class Intervals:
    """Offsets from the prediction at step h: `intercept + slope * sqrt(h)` times a quantile.

    `quantiles` has the lower (never positive) and the upper one (never negative) of each level,
    `probabilities` those of single probabilities that a spec asked for, of either sign. Step 1 is the first
    one ahead.
    """

    intercept: float
    slope: float
    quantiles: dict[int, tuple[float, float]]
    probabilities: dict[float, float] = field(default_factory=dict)

    def offsets(self, steps: Floats, level: int) -> tuple[Floats, Floats]:
        """What to add to predictions for the ends of an interval, each of shape (len(steps),).

        Levels between those known are interpolated, level 0 having no width. Above the highest nothing is
        known: NaN.
        """
        known = sorted(self.quantiles)
        lower, upper = (
            np.interp(level, [0, *known], [0.0, *(self.quantiles[k][side] for k in known)], right=math.nan)
            for side in (0, 1)
        )
        scale = self._scale(steps)
        return scale * lower, scale * upper

    def quantile(self, steps: Floats, probability: float) -> Floats:
        """What to add to predictions for a quantile, shape (len(steps),); NaN where it was not asked for."""
        return self._scale(steps) * self.probabilities.get(probability, math.nan)

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON holds them."""
        return {
            "intercept": self.intercept,
            "slope": self.slope,
            "quantiles": {str(level): list(pair) for level, pair in self.quantiles.items()},
            "probabilities": {str(one): value for one, value in self.probabilities.items()},
        }

    @classmethod
    def of_dict(cls, values: dict[str, Any]) -> Intervals:
        """The inverse of `as_dict`. Format 1 had one half-width a level and no probabilities."""
        levels = {int(level): _pair(value) for level, value in values["quantiles"].items()}
        single = {float(one): float(value) for one, value in values.get("probabilities", {}).items()}
        return cls(float(values["intercept"]), float(values["slope"]), levels, single)

    def _scale(self, steps: Floats) -> Floats:
        return np.asarray(self.intercept + self.slope * np.sqrt(steps), dtype=np.float64)


def _pair(value: Any) -> tuple[float, float]:
    if isinstance(value, list):
        return float(value[0]), float(value[1])
    return -float(value), float(value)


def calibrate(
    residuals: Sequence[Floats],
    levels: Sequence[int],
    *,
    stepwise: bool,
    probabilities: Sequence[float] = (),
    first: int = 1,
    distinct: float = 1.0,
) -> Intervals:
    """Intervals from residuals (actual minus predicted), one array per fold, NaN where nothing is known.

    Args:
        residuals: of each fold, shape (steps,).
        levels: percentages from 1 to 99; others are kept beside them, so that any level can be answered.
        stepwise: whether position i of a fold is step `first + i` ahead; else all residuals are of one kind.
        probabilities: of single quantiles.
        first: the step ahead of each fold's first residual: 1, or more after a gap.
        distinct: different times over all residuals, below 1 where folds overlap.

    """
    steps = [np.arange(first, first + len(fold), dtype=np.float64) for fold in residuals]
    known = ~np.isnan(np.concatenate(residuals))
    every, at = np.concatenate(residuals)[known], np.concatenate(steps)[known]
    intercept, slope = _growth(at, np.abs(every)) if stepwise else (1.0, 0.0)
    scaled = every / (intercept + slope * np.sqrt(at))
    worth = float(len(scaled))
    if stepwise:
        parts = [
            fold / (intercept + slope * np.sqrt(ahead)) for fold, ahead in zip(residuals, steps, strict=True)
        ]
        worth = _independent(parts, distinct)
    made = _Quantiles(np.sort(scaled), np.sort(np.abs(scaled)), worth)
    pairs, single = made.pairs_and_single(sorted({*levels, *_LEVELS}), probabilities)
    return Intervals(intercept, slope, pairs, single)


@dataclass(frozen=True)
class _Quantiles:
    """Quantiles of scaled residuals: `signed` and `sizes` in order, `worth` so many independent ones."""

    signed: Floats
    sizes: Floats
    worth: float

    def pairs_and_single(
        self, levels: Sequence[int], probabilities: Sequence[float]
    ) -> tuple[dict[int, tuple[float, float]], dict[float, float]]:
        """The lower and upper quantile of each level, in order of levels, and those of single probabilities.

        A higher level is never narrower, though Student's part may rise less steeply than the residuals' own.
        """
        ends, count = 0.5 - np.asarray(levels) / 200, len(levels)
        found = self.signed_or_not(np.concatenate([ends, 1 - ends, probabilities]))
        lower, upper = found[:count], found[count : 2 * count]
        lower = np.minimum.accumulate(np.where(lower > 0, 0.0, lower))
        upper = np.maximum.accumulate(np.where(upper < 0, 0.0, upper))
        pairs = dict(zip(levels, zip(lower.tolist(), upper.tolist(), strict=True), strict=True))
        return pairs, dict(zip(probabilities, found[2 * count :].tolist(), strict=True))

    def signed_or_not(self, probabilities: Floats) -> Floats:
        """The quantiles of probabilities: of the signed residuals by their weight, else of their size; shape
        (len(probabilities),).
        """
        sizes = _quantiles(self.sizes, np.abs(2 * probabilities - 1), self.worth)
        symmetric = np.copysign(sizes, probabilities - 0.5)
        if self._weight == 0:
            return symmetric
        low = probabilities < 0.5
        signed = np.empty(len(probabilities))
        signed[~low] = _upper_quantiles(self.signed, probabilities[~low], self.worth)
        signed[low] = -_upper_quantiles(-self.signed[::-1], 1 - probabilities[low], self.worth)
        return np.asarray(self._weight * signed + (1 - self._weight) * symmetric, dtype=np.float64)

    @cached_property
    def _weight(self) -> float:
        """How far the signs are to be believed, from 0 to 1: positive-part shrinkage (James, Stein 1961) of
        the residuals' skewness and bias, by what chance gives with as many independent ones.
        """
        spread = float(self.signed.std())
        if self.worth < 3 or spread <= 1e-12 * float(self.sizes[-1]):
            return 0.0
        centred = (self.signed - self.signed.mean()) / spread
        skewness = float((centred**3).mean()) ** 2 * self.worth / 6
        bias = (float(self.signed.mean()) / spread) ** 2 * self.worth
        return max(0.0, 1 - _CHANCE / max(skewness + bias, _CHANCE))


def _growth(steps: Floats, errors: Floats) -> tuple[float, float]:
    """Least squares of |error| on sqrt(step), held to a scale that is positive and does not shrink."""
    mean = float(errors.mean())
    if mean < _SMALLEST or steps.max() < 3 or steps.min() == steps.max():
        return max(mean, _SMALLEST), 0.0
    root = np.sqrt(steps)
    spread = root - root.mean()
    total = float(np.square(spread).sum())
    slope = float((spread * errors).sum() / total)
    # By what chance gives (James, Stein 1961): else errors that do not grow seem small at the first steps.
    left = float(np.square(errors - mean - slope * spread).sum()) / (len(errors) * total)
    square = slope * slope  # zero where tiny slopes underflow
    slope *= max(0.0, 1 - left / square) if square else 0.0
    # A steep line through few points says more about luck than about the series.
    slope = min(max(slope, 0.0), mean / float(root.mean()) * 0.9)
    return mean - slope * float(root.mean()), slope


def _independent(folds: Sequence[Floats], distinct: float) -> float:
    """How many independent residuals the folds are worth, by their first autocorrelation and by how many of
    them are of different times; at least one for each fold's length of different times.
    """
    known = [~np.isnan(fold) for fold in folds]
    values = [np.nan_to_num(fold) for fold in folds]
    count = sum(int(mask.sum()) for mask in known)
    least = max(len(folds) * distinct, 1.0)
    total = sum(float(np.square(fold).sum()) for fold in values)
    pairs = sum(int((mask[1:] & mask[:-1]).sum()) for mask in known)
    if total == 0 or pairs < 2:
        return max(count * distinct, least)
    found = sum(float((fold[1:] * fold[:-1]).sum()) for fold in values) / pairs / (total / count)
    # Independent residuals show this much by chance.
    chance = 1 / math.sqrt(pairs * distinct)
    correlation = min(max((found - chance) / (1 - chance), 0.0), 1.0) if chance < 1 else 0.0
    return max(count * distinct * (1 - correlation) / (1 + correlation), least)


def _quantiles(ordered: Floats, levels: Floats, independent: float) -> Floats:
    """Quantiles of sizes in order, at levels from 0 (whose quantile is 0) to below 1."""
    count = len(ordered)
    student = _student(levels, count)
    widened = np.divide(_student(levels, independent), student, out=np.zeros(len(levels)), where=levels > 0)
    rank = np.ceil((count + 1) * levels).astype(np.int64)
    found = ordered[np.clip(rank, 1, count) - 1]
    if (beyond := rank > count).any():
        found[beyond] = np.maximum(ordered[-1], _spread(ordered) * student[beyond])
    return np.asarray(found * widened, dtype=np.float64)


def _upper_quantiles(ordered: Floats, probabilities: Floats, independent: float) -> Floats:
    """Quantiles of signed residuals in order, at probabilities from a half to below 1, widened around their
    median.
    """
    count, levels = len(ordered), 2 * probabilities - 1
    middle = float(ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    student = _student(levels, count)
    widened = np.divide(_student(levels, independent), student, out=np.ones(len(levels)), where=levels > 0)
    rank = np.ceil((count + 1) * probabilities).astype(np.int64)
    found = ordered[np.minimum(rank, count) - 1] - middle
    if (beyond := rank > count).any():
        found[beyond] = np.maximum(ordered[-1] - middle, _spread(ordered - middle) * student[beyond])
    return np.asarray(middle + found * widened, dtype=np.float64)


def _spread(residuals: Floats) -> float:
    count = len(residuals)
    return math.sqrt(float(np.square(residuals).mean()) * (1 + 1 / count))


def _student(levels: Floats, freedom: float) -> Floats:
    """Half-widths of Student's central intervals in units of its scale, shape (len(levels),)."""
    return _student_of(levels.tobytes(), max(freedom, 1.0))


@lru_cache(maxsize=256)
def _student_of(levels: bytes, freedom: float) -> Floats:
    """Once for all partitions whose folds have as many residuals: it takes longer than all else here."""
    # Here, since predictions do not need it.
    from scipy.special import stdtrit

    found = np.asarray(stdtrit(freedom, (1 + np.frombuffer(levels)) / 2), dtype=np.float64)
    found.flags.writeable = False
    return found
