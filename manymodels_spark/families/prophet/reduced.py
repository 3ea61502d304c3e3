"""A least squares problem with normal and Laplace priors, reduced to what depends on the noise's variance.

Rows are gone here: whatever their number, one variance costs a product of small matrices. See
`exact.py` for where it comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from manymodels_spark.families.prophet.sign_search import sign_search

Floats = NDArray[np.float64]
# Columns that another one explains to this share of the largest are explained by the prior alone.
_RANK = 1e-12
_ROUNDS = 100
# The variance stands when its logarithm moves by less: the posterior moves by the square of it.
_STANDS = 1e-6
_TRIED = 33


@dataclass(frozen=True)
class Basis:
    """Columns R with independent normal priors, turned orthogonal: R diag(scales) = U diag(sqrt(s2)) V'.

    `back` is diag(scales) V, shape (columns, rank): what turns coefficients of U's directions into R's.
    `left` is U, shape (rows, rank), or None where the basis was made of a Gram matrix.
    """

    s2: Floats
    back: Floats
    left: Floats | None = None

    @classmethod
    def of_columns(cls, R: Floats, scales: Floats) -> Self:
        """By a singular value decomposition of the columns, shape (rows, columns)."""
        scaled = R * scales
        q, r = np.linalg.qr(scaled) if scaled.shape[0] > scaled.shape[1] else (None, scaled)
        u, s, vt = np.linalg.svd(r, full_matrices=False)
        kept = s > _RANK * (s[0] if len(s) else 1.0)
        left = (u if q is None else q @ u)[:, kept]
        return cls(np.square(s[kept]), (scales[:, None] * vt.T)[:, kept], left)

    @classmethod
    def of_gram(cls, gram: Floats, scales: Floats) -> Self:
        """By the eigenvalues of R'R, shape (columns, columns): no pass over the rows, half the digits."""
        s2, V = np.linalg.eigh(gram * np.outer(scales, scales))
        kept = s2 > 1e-14 * (s2[-1] if len(s2) else 1.0)
        return cls(s2[kept], (scales[:, None] * V)[:, kept])

    def without(self, columns: Floats) -> tuple[Floats, Floats, Floats]:
        """U'C of columns C, what of C U does not explain, shape (rows, columns of C), and its square."""
        assert self.left is not None
        inside = self.left.T @ columns
        outside = columns - self.left @ inside
        return inside, outside, outside.T @ outside


@dataclass(frozen=True)
class Solution:
    """The optimum for one variance: coefficients of the basis' directions and of the block, and its value.

    `value` is the negative log posterior without constants, `sse` the sum of squared errors.
    """

    variance: float
    directions: Floats
    block: Floats
    sse: float
    value: float


@dataclass(frozen=True)
class Reduced:
    """min over z, x of |y - U S z - D x|^2 / 2u + |z|^2 / 2 + sum of ridge x^2 / 2 + sum of weights |x|.

    `W` is U'D, `H` and `hy` are D'D and D'y without what U explains, `uy` is U'y, `yy` the square of what of
    y U does not explain.
    """

    rows: int
    s2: Floats
    W: Floats
    H: Floats
    uy: Floats
    hy: Floats
    yy: float
    ridge: Floats
    weights: Floats

    def at(self, variance: float, start: Floats) -> Solution | None:
        """The optimum for one variance u of the noise, from a block to start at; None without one."""
        share = variance / (self.s2 + variance)
        H = self.H + (self.W.T * share) @ self.W
        H.flat[:: len(H) + 1] += variance * self.ridge
        x = sign_search(H, self.hy + self.W.T @ (share * self.uy), variance * self.weights, start)
        if x is None:
            return None
        left = self.uy - self.W @ x
        z = np.sqrt(self.s2) / (self.s2 + variance) * left
        inside = np.square(share * left).sum()
        sse = max(float(self.yy - 2 * x @ self.hy + x @ self.H @ x + inside), 0.0)
        prior = 0.5 * z @ z + 0.5 * self.ridge @ np.square(x) + self.weights @ np.abs(x)
        return Solution(variance, z, x, sse, value_of(self.rows, variance, sse, float(prior)))


def value_of(rows: int, variance: float, sse: float, prior: float) -> float:
    """The negative log posterior: likelihood, the prior normal(0, 0.5) of sigma, and the others' `prior`."""
    return 0.5 * rows * float(np.log(variance)) + sse / (2 * variance) + 2 * variance + prior


def best_variance(rows: int, sse: float) -> float:
    """The variance u at which the posterior of `sse` is highest: 4 u^2 + rows u - sse = 0."""
    return 2 * sse / (rows + float(np.sqrt(rows * rows + 16 * sse)))


def optimum(problem: Reduced, begin: float, start: Floats, least: float) -> Solution | None:
    """The optimum over the variance, from `begin` on; None where the rounds, which are bounded, do not end.

    The best variance for the errors that a variance leaves rises with it, at a rate below one near an
    optimum: a secant step finds where both are equal. `least` is where the way down ends.
    """
    found = problem.at(begin, start)
    before: tuple[float, float] | None = None
    for _ in range(_ROUNDS):
        if found is None:
            return None
        at = float(np.log(found.variance))
        step = float(np.log(max(best_variance(problem.rows, found.sse), least))) - at
        if abs(step) < _STANDS:
            return found
        slope = -1.0 if before is None else (step - before[1]) / (at - before[0])
        leap = step / -slope if -1.0 <= slope <= -0.05 else step
        before = (at, step)
        found = problem.at(max(float(np.exp(at + leap)), least), found.block)
    return None


def searched(problem: Reduced, begin: float, start: Floats, least: float) -> Solution | None:
    """The best of the optima over the variance: for few rows there may be several between 1 and `least`."""
    found, block = [optimum(problem, begin, start, least)], start
    tried: list[Solution] = []
    for variance in np.geomspace(1.0, least, _TRIED):
        one = problem.at(float(variance), block)
        if one is not None:
            tried.append(one)
            block = one.block
    values = np.array([np.inf, *(one.value for one in tried), np.inf])
    lowest = np.flatnonzero((values[1:-1] < values[:-2]) & (values[1:-1] <= values[2:]))
    found += [optimum(problem, tried[i].variance, tried[i].block, least) for i in lowest]
    known = [one for one in found if one is not None]
    return min(known, key=lambda one: one.value) if known else None
