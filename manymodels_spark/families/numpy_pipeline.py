"""Fitted scikit-learn pipelines as a few operations of numpy, with the same results to the bit.

Scikit-learn checks every array anew at every step of a pipeline. For one row, which is what an endpoint is
asked and what a forecast asks of itself at each step, that takes many times what the arithmetic does. Only
what this package builds is known here; any other estimator predicts as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Step = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Plain:
    """A predictor of float rows: `steps` shape them, `last` predicts; `columns` makes them of a table's
    columns.
    """

    columns: Columns | None
    steps: tuple[Step, ...]
    last: Step

    def predict(self, rows: Floats) -> Floats:
        """Predictions of float rows, shape (rows,), or (rows, classes)."""
        for step in self.steps:
            rows = step(rows)
        return self.last(rows)

    def predict_columns(self, columns: Sequence[NDArray[Any]]) -> Floats:
        """Predictions of a table's columns: float64 where they are numbers, objects where they are text."""
        assert self.columns is not None
        return self.predict(self.columns.matrix(columns))


@dataclass(frozen=True)
class Columns:
    """Numbers with their holes filled, then an indicator for each known text; text not known has none."""

    numbers: list[int]
    fill: Floats
    texts: list[int]
    categories: list[NDArray[Any]]

    def matrix(self, columns: Sequence[NDArray[Any]]) -> Floats:
        """Shape (rows, numbers and known texts)."""
        parts = []
        if self.numbers:
            numbers = np.column_stack([columns[i] for i in self.numbers])
            holes = np.isnan(numbers)
            parts.append(np.where(holes, self.fill, numbers) if holes.any() else numbers)
        for i, known in zip(self.texts, self.categories, strict=True):
            parts.append((columns[i][:, None] == known[None, :]).astype(np.float64))
        return parts[0] if len(parts) == 1 else np.hstack(parts)


def plain(estimator: Any, probabilities: bool = False) -> Plain | None:
    """The estimator as a Plain, None where it is not of a kind known here."""
    steps = _flat(estimator)
    columns = _columns(steps.pop(0)) if type(steps[0]).__name__ == "ColumnTransformer" else None
    shaped = [_scaled(step) for step in steps[:-1]]
    if any(step is None for step in shaped):
        return None
    return Plain(columns, tuple(step for step in shaped if step is not None), _last(steps[-1], probabilities))


def _flat(estimator: Any) -> list[Any]:
    """The steps of a pipeline, those of pipelines in it among them."""
    if type(estimator).__name__ != "Pipeline":
        return [estimator]
    return [step for _, part in estimator.steps for step in _flat(part)]


def _columns(transformer: Any) -> Columns:
    """The ColumnTransformer that `Sklearn` builds: an imputer of numbers and an encoder of text."""
    (_, imputer, numbers), (_, encoder, texts) = transformer.transformers_[:2]
    fill = np.asarray(imputer.statistics_, dtype=np.float64) if numbers else np.empty(0)
    return Columns(list(numbers), fill, list(texts), list(encoder.categories_) if texts else [])


def _scaled(step: Any) -> Step | None:
    """A StandardScaler's step."""
    if type(step).__name__ != "StandardScaler":
        return None
    mean, scale = step.mean_, step.scale_
    return lambda rows: (rows - mean) / scale


def _last(estimator: Any, probabilities: bool) -> Step:
    if type(estimator).__name__ == "Ridge" and estimator.coef_.ndim == 1:
        weights, intercept = estimator.coef_, estimator.intercept_
        return lambda rows: np.asarray(rows @ weights + intercept)
    method = estimator.predict_proba if probabilities else estimator.predict
    return lambda rows: np.asarray(method(rows), dtype=np.float64)
