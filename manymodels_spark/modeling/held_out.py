"""What a choice got wrong on folds that it had not seen, and what follows: intervals, and how well they hold.

Coverage and pinball losses of a fold are those of intervals that were calibrated on the folds apart from it.
NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from manymodels_spark.modeling import metrics
from manymodels_spark.modeling.bounds import NO_BOUNDS, Bounds
from manymodels_spark.modeling.conformal import Intervals, calibrate
from manymodels_spark.modeling.folds import Fold, apart, distinct_share
from manymodels_spark.modeling.metrics import Floats
from manymodels_spark.spec.model import percent


@dataclass(frozen=True)
class HeldOut:
    """Actuals (NaN where unknown) and predictions (within the bounds) of each fold, shape (steps,) each.

    `stepwise` says whether the place in a fold is a step ahead, which begins after the fold's gap.
    """

    actual: Sequence[Floats]
    predicted: Sequence[Floats]
    folds: Sequence[Fold]
    levels: Sequence[int]
    probabilities: Sequence[float] = ()
    bounds: Bounds = NO_BOUNDS
    stepwise: bool = True

    @property
    def residuals(self) -> list[Floats]:
        """Actual minus predicted of each fold."""
        return [a - p for a, p in zip(self.actual, self.predicted, strict=True)]

    def intervals(self) -> Intervals:
        """Calibrated on all folds."""
        return self._calibrated(range(len(self.folds)))

    def metrics(self) -> dict[str, float]:
        """`coverage_80` and so on for each level, `pinball_10` and so on for each probability (Koenker,
        Bassett 1978); nothing where no fold has another apart from it.
        """
        inside: dict[int, list[float]] = {level: [] for level in self.levels}
        losses: dict[float, list[float]] = {one: [] for one in self.probabilities}
        for fold, others in enumerate(apart(self.folds)):
            if others:
                self._judge(fold, self._calibrated(sorted(others)), inside, losses)
        shares = {f"coverage_{level}": float(np.mean(found)) for level, found in inside.items() if found}
        return shares | {
            f"pinball_{percent(one)}": float(np.mean(found)) for one, found in losses.items() if found
        }

    def _judge(
        self, fold: int, made: Intervals, inside: dict[int, list[float]], losses: dict[float, list[float]]
    ) -> None:
        known = ~np.isnan(self.actual[fold])
        actual, predicted = self.actual[fold][known], self.predicted[fold][known]
        first = 1 + self.folds[fold].gap
        steps = np.arange(first, first + len(known), dtype=np.float64)[known]
        for level, shares in inside.items():
            lower, upper = made.offsets(steps, level)
            lower, upper = self.bounds.lower(predicted + lower), self.bounds.upper(predicted + upper)
            shares += list(((actual >= lower) & (actual <= upper)).astype(float))
        for one, found in losses.items():
            quantile = self.bounds.applied(predicted + made.quantile(steps, one))
            found += [metrics.pinball(actual, quantile, one)] * len(actual)

    def _calibrated(self, chosen: Sequence[int]) -> Intervals:
        residuals = self.residuals
        return calibrate(
            [residuals[fold] for fold in chosen],
            self.levels,
            stepwise=self.stepwise,
            probabilities=self.probabilities,
            first=1 + self.folds[0].gap,
            distinct=distinct_share([self.folds[fold] for fold in chosen]),
        )
