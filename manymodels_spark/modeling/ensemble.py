"""Several members' predictions made one: their mean, their median, or a mean weighted by how they did in the
backtest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from manymodels_spark.modeling.metrics import Floats

HOWS = ("mean", "median", "weighted")


def combined(
    predictions: Sequence[Floats], how: str, weights: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """One prediction of members' predictions of equal shapes. `weights` (one a member, of any sum) are for
    `weighted`.
    """
    if len(predictions) == 1:
        return np.asarray(predictions[0], dtype=np.float64)
    if how == "median":
        return np.asarray(np.median(predictions, axis=0), dtype=np.float64)
    return np.asarray(
        np.average(predictions, axis=0, weights=weights if how == "weighted" else None), dtype=np.float64
    )


def weights_of(losses: Sequence[float]) -> list[float]:
    """Weights by the inverse square of each member's loss, with sum 1 (Bates, Granger 1969, without
    correlations).

    A member without any loss takes all, together with others like it. Losses below zero say nothing of
    ratios, and the weights are equal then.
    """
    values = np.asarray(losses, dtype=np.float64)
    if not np.isfinite(values).all() or (values < 0).any():
        return [1 / len(values)] * len(values)
    perfect = values == 0
    raw = perfect.astype(np.float64) if perfect.any() else np.square(values.min() / values)
    return [float(weight) for weight in raw / raw.sum()]
