"""Ridge regression on standardised columns in closed form, as StandardScaler and Ridge of scikit-learn."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg.lapack import dposv

from manymodels_spark.families.base import Problem
from manymodels_spark.families.features import LagFeatures

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ridge:
    """Weights of the columns as they come, shape (columns,), and what is added to their sum."""

    weights: Floats
    intercept: float

    @classmethod
    def fit(cls, X: Floats, y: Floats, alpha: float) -> Ridge:
        """Minimise |y - Zw - b|^2 + alpha |w|^2 for the standardised columns Z of X.

        Hoerl, Kennard (1970): w = (Z'Z + alpha)^-1 Z'y. The scaling is that of StandardScaler: by the
        standard deviation over n, by 1 where it is zero but for rounding.

        Args:
            X: shape (rows, columns), without NaN.
            y: shape (rows,).
            alpha: not negative; with 0, columns that others explain get the shortest weights.

        """
        mean, level = X.mean(axis=0), float(y.mean())
        centred = X - mean
        gram, right = centred.T @ centred, centred.T @ (y - level)
        scale = _scale(np.diag(gram) / len(y), mean, len(y))
        gram, right = gram / np.outer(scale, scale), right / scale
        gram.flat[:: len(gram) + 1] += alpha
        weights = _solved(gram, right, alpha) / scale
        return cls(weights, level - float(mean @ weights))

    def predict(self, X: Floats) -> Floats:
        """Predictions of rows, shape (rows,)."""
        return np.asarray(X @ self.weights + self.intercept)

    def forecast(self, features: LagFeatures, tail: Floats, future: pd.DataFrame, problem: Problem) -> Floats:
        """As `features.forecast`, with what is known of all steps summed at once; shape (len(future),)."""
        count, lags = len(features.lags), np.asarray(features.lags)
        known = features.known(future, problem) @ self.weights[count:] + self.intercept
        of_lags, n = self.weights[:count], len(tail)
        values = np.concatenate([tail, known])
        for step in range(n, n + len(known)):
            values[step] += values[step - lags] @ of_lags
        return values[n:]

    def as_dict(self) -> dict[str, Any]:
        """The fields, as JSON holds them."""
        return {**asdict(self), "weights": self.weights.tolist()}

    @classmethod
    def of_dict(cls, state: dict[str, Any]) -> Ridge:
        """The inverse of `as_dict`."""
        return cls(np.asarray(state["weights"], dtype=np.float64), float(state["intercept"]))


def _scale(variance: Floats, mean: Floats, rows: int) -> Floats:
    """Standard deviations, 1 for a constant column (`_is_constant_feature` of scikit-learn 1.5)."""
    eps = np.finfo(np.float64).eps
    constant = variance <= rows * eps * variance + np.square(rows * mean * eps)
    return np.where(constant, 1.0, np.sqrt(variance))


def _solved(gram: Floats, right: Floats, alpha: float) -> Floats:
    if alpha > 0:
        _, weights, failed = dposv(gram, right)
        if not failed and np.isfinite(weights).all():
            return np.asarray(weights, dtype=np.float64)
    return np.asarray(np.linalg.lstsq(gram, right, rcond=None)[0], dtype=np.float64)
