"""A small quadratic problem with absolute values in it, solved exactly by an active set. NumPy and SciPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dposv

Floats = NDArray[np.float64]
# A variable enters when its gradient exceeds its weight by more than this share: rounding stays below.
_EXCESS = 1e-9


def sign_search(H: Floats, c: Floats, weights: Floats, start: Floats) -> Floats | None:
    """The x that minimises x'Hx / 2 - c'x + sum of weights |x|, by feature-sign search.

    Lee, Battle, Raina, Ng (2006), 'Efficient sparse coding algorithms': guess the signs, solve the equations
    that they leave, go no further than the best of the points where a sign changes, and let in the variable
    whose gradient exceeds its weight the most.

    Args:
        H: symmetric, positive semidefinite, shape (m, m).
        c: shape (m,).
        weights: not negative, shape (m,); a variable of weight 0 is never held at zero.
        start: where to begin, shape (m,): a solution of a nearby problem saves steps.

    Returns:
        The minimiser, shape (m,), or None where the steps, which are bounded, did not get there.

    """
    free = weights == 0
    x, signs = start.copy(), np.sign(start)
    active = free | (x != 0)
    for _ in range(20 + 8 * len(c)):
        settled = _move(H, c, weights, x, signs, active)
        if settled is None:
            return None
        if not settled:
            continue
        gradient = H @ x - c
        excess = np.where(active, 0.0, np.abs(gradient) - weights * (1 + _EXCESS))
        enters = int(excess.argmax()) if len(c) else 0
        if not len(c) or excess[enters] <= 0:
            return x
        active[enters], signs[enters] = True, -np.sign(gradient[enters])
    return None


def _move(
    H: Floats, c: Floats, weights: Floats, x: Floats, signs: Floats, active: NDArray[np.bool_]
) -> bool | None:
    """Move x, in place, to the solution of its signs; False where a sign changed on the way there."""
    at = np.flatnonzero(active)
    if not len(at):
        return True
    target = _solved(H[np.ix_(at, at)], c[at] - weights[at] * signs[at])
    if not np.isfinite(target).all():
        return None
    crossed = (weights[at] > 0) & (signs[at] * target < 0)
    if not crossed.any():
        x[at] = target
        return True
    old, step = x[at], target - x[at]
    reached, zeros = _best_point(H[np.ix_(at, at)], c[at], weights[at], old, step, crossed)
    x[at] = reached
    x[at[zeros]] = 0.0
    active[at[zeros]] = False
    signs[at] = np.where(weights[at] > 0, np.where(x[at] != 0, np.sign(x[at]), signs[at]), 0.0)
    return False


def _best_point(
    H: Floats, c: Floats, weights: Floats, old: Floats, step: Floats, crossed: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.int64]]:
    """The best of the points where a sign changes on the way, and of its end; which variables are zero."""
    where = np.flatnonzero(crossed)
    shares = old[where] / -step[where]
    points = old + np.append(shares, 1.0)[:, None] * step
    points[np.arange(len(where)), where] = 0.0
    values = 0.5 * np.einsum("ij,ij->i", points @ H, points) - points @ c + np.abs(points) @ weights
    best = int(values.argmin())
    return points[best], np.flatnonzero((points[best] == 0) & (weights > 0))


def _solved(H: Floats, right: Floats) -> Floats:
    _, found, failed = dposv(H, right)
    if failed:
        found = np.linalg.lstsq(H, right, rcond=None)[0]
    return np.asarray(found, dtype=np.float64)
