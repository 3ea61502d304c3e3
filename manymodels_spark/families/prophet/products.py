"""Prophet's optimum with multiplicative terms, by Gauss-Newton's method. See `exact.py`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from manymodels_spark.families.prophet.posterior import LEAST, TREND_SCALE, Model, Optimum, Point, valued
from manymodels_spark.families.prophet.reduced import Basis, Reduced, optimum

Floats = NDArray[np.float64]
_ROUNDS = 60
# A round that promises less than this share of the posterior is the last one.
_PROMISE = 1e-9
_SHORTEST = 1e-4


def multiplied(model: Model, additive: Optimum) -> Optimum | None:
    """Gauss-Newton from the additive optimum, whose seasons are taken as shares of the mean."""
    mean = float(model.y.mean()) or 1.0
    point = model.start(additive)
    shares = np.where(model.multiplied, point.beta / mean, point.beta)
    found, errors = valued(model, Point(point.line, point.delta, shares))
    for _ in range(_ROUNDS):
        at = model.start(found)
        step = _linearised(model, at, errors, found.sigma**2)
        if step is None:
            return None
        target, promised = step
        if found.value - promised < _PROMISE * (1 + abs(found.value)):
            return found
        share = 1.0
        better, left = valued(model, target)
        while better.value >= found.value and share > _SHORTEST:
            share /= 2
            better, left = valued(model, at.towards(target, share))
        if better.value >= found.value:
            return None
        found, errors = better, left
    return None


def _linearised(model: Model, at: Point, errors: Floats, variance: float) -> tuple[Point, float] | None:
    """The optimum of the model's tangent at a point, and the value that it promises."""
    columns, m = model.columns, model.multiplied
    factor, trend = model.factor(at)[:, None], model.trend(at)[:, None]
    X = np.where(m, model.terms * trend, model.terms)
    J = np.column_stack([columns.line * factor, X, columns.hinges * factor])
    wanted = errors + J @ np.concatenate([at.line, at.beta, at.delta])
    count = J.shape[1] - columns.hinges.shape[1]
    scales = np.append(np.full(columns.line.shape[1], TREND_SCALE), model.scales)
    problem, basis = _of_gram(J, wanted, count, scales, columns.tau)
    found = optimum(problem, variance, at.delta, LEAST)
    if found is None:
        return None
    ridge = basis.back @ found.directions
    lines = columns.line.shape[1]
    return Point(ridge[:lines], found.block, ridge[lines:]), found.value


def _of_gram(J: Floats, y: Floats, count: int, scales: Floats, tau: float) -> tuple[Reduced, Basis]:
    """The reduced problem of columns that are used once; the first `count` have normal priors."""
    gram, right = J.T @ J, J.T @ y
    basis = Basis.of_gram(gram[:count, :count], scales)
    project = basis.back / np.sqrt(basis.s2)
    W, uy = project.T @ gram[:count, count:], project.T @ right[:count]
    H, hy = gram[count:, count:] - W.T @ W, right[count:] - W.T @ uy
    changes = len(hy)
    zeros, weights = np.zeros(changes), np.full(changes, 1 / tau)
    return Reduced(len(y), basis.s2, W, H, uy, hy, float(y @ y - uy @ uy), zeros, weights), basis
