"""Prophet's maximum a posteriori, computed exactly, without Stan. NumPy and SciPy alone.

Prophet (Taylor, Letham 2018, 'Forecasting at scale'; `prophet.stan` of prophet 1.5) models n scaled values as

    y = g (1 + X_m b_m) + X_a b_a + noise,   g = k t + m + sum_j delta_j max(t - c_j, 0)   (flat: g = m)

with priors k, m ~ normal(0, 5), delta ~ Laplace(0, tau), b ~ normal(0, scales), sigma ~ normal(0, 0.5).

*Additive terms.* For a given sigma the posterior of (k, m, b, delta) is that of a least squares problem with
a ridge penalty on R = [t, 1, X] and an L1 penalty on the hinges D. A singular value decomposition of R, which
depends on the dates alone, eliminates the ridge part for every sigma at once (`reduced.py`); what is
left has one variable per changepoint and is solved to the end by an active set (`sign_search`). For the
errors that are left, the best u = sigma^2 is the root of 4 u^2 + n u - SSE = 0; both alternate until u
stands. For a given u the problem is convex, so its solution is the optimum, and one local optimum in u is
likely to be the only one where rows are many; where they are not, u is searched over its whole range.

*Multiplicative terms.* The model is a product, and Gauss-Newton's method solves it: each round is the problem
above for the derivatives of y at the present parameters, followed as far as the posterior rises. It ends
where the round's own optimum promises no more.

Where the model has as many columns as there are rows, an exact interpolation lets the density grow without
bound as sigma goes to zero, and products have many optima. Such series have no optimum to find: `solve` says
so by returning None, and Stan's answer is as good as any.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from manymodels_spark.families.prophet.posterior import (
    LEAST,
    Columns,
    Model,
    Optimum,
    Point,
    Regressors,
    valued,
)
from manymodels_spark.families.prophet.products import multiplied
from manymodels_spark.families.prophet.reduced import Reduced, Solution, optimum, searched

Floats = NDArray[np.float64]
# With fewer rows to a column, several variances may be optima, and products have several optima anyway.
_MANY, _ENOUGH = 3, 4


def solve(columns: Columns, y: Floats, own: Regressors | None = None) -> Optimum | None:
    """The parameters of the highest posterior.

    Args:
        columns: what the dates decide.
        y: the values divided by their largest size, shape (n,), finite.
        own: the partition's regressors.

    Returns:
        The optimum; None where there is none to find, or the rounds, which are bounded, did not find it.

    """
    own = Regressors.none(len(y)) if own is None else own
    model = Model(columns, own, y)
    if not (np.isfinite(y).all() and np.isfinite(own.X).all()):
        return None
    products = bool(model.multiplied.any())
    if products and len(y) < _ENOUGH * model.width:
        return None
    found = _additive(model)
    if found is not None and products:
        found = multiplied(model, found)
    if found is None or found.sigma**2 <= LEAST or not np.isfinite(found.value):
        return None
    return found


def _additive(model: Model) -> Optimum | None:
    """The optimum as if no column were multiplied."""
    columns, own, y = model.columns, model.own, model.y
    basis, (W, over, H) = columns.basis, columns.reduced_hinges
    assert basis.left is not None
    if own.X.shape[1]:
        mine, rest, _ = basis.without(own.X)
        W, over = np.column_stack([W, mine]), np.column_stack([over, rest])
        H = over.T @ over
    changes = columns.hinges.shape[1]
    penalties = np.append(np.zeros(changes), 1 / np.square(own.scales))
    weights = np.append(np.full(changes, 1 / columns.tau), np.zeros(len(own.scales)))
    uy = basis.left.T @ y
    left = y - basis.left @ uy
    problem = Reduced(len(y), basis.s2, W, H, uy, over.T @ left, float(left @ left), penalties, weights)
    begin = max(float(y.var()), LEAST)
    find = searched if len(y) < _MANY * model.width else optimum
    found = find(problem, begin, np.zeros(len(weights)), LEAST)
    return None if found is None else _explicit(model, found)


def _explicit(model: Model, found: Solution) -> Optimum:
    """A solution of the reduced problem as Prophet's parameters, with the errors summed over the rows."""
    count, changes = model.columns.line.shape[1], model.columns.hinges.shape[1]
    ridge = model.columns.basis.back @ found.directions
    at = Point(ridge[:count], found.block[:changes], np.append(ridge[count:], found.block[changes:]))
    return valued(model, at)[0]
