"""Outliers capped at fences around the quartiles (`prepare.outliers`): only in what a model is trained on.

What it is judged by stays as it was: a test that is capped would flatter the backtest. Pure NumPy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def capped(values: Floats, width: float | None) -> Floats:
    """Values at most `width` interquartile ranges beyond the quartiles; shape (len(values),).

    NaN stays NaN. Nothing is capped where `width` is None, and where the quartiles are equal: most values
    then are one and the same, and every other one would be an outlier. The fences are those of Tukey,
    Exploratory Data Analysis (1977), with a width of one's choice in place of 1.5.
    """
    known = values[~np.isnan(values)]
    if width is None or len(known) == 0:
        return values
    low, high = np.quantile(known, [0.25, 0.75])
    if low == high:
        return values
    return np.clip(values, low - width * (high - low), high + width * (high - low))
