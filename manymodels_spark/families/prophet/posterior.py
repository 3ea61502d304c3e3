"""Prophet's model of one series: its columns, its parameters and their posterior. See `exact.py`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from manymodels_spark.families.prophet.reduced import Basis, best_variance, value_of

Floats = NDArray[np.float64]
# Of k and m, in prophet.stan.
TREND_SCALE = 5.0
# Below this variance of the scaled values an interpolation is what was found.
LEAST = 1e-13


@dataclass(frozen=True)
class Columns:
    """What the dates decide: scaled times t in [0, 1], shape (n,); the changepoints among them, shape (S,);
    the columns of seasonalities and holidays X, shape (n, K), with their priors' scales and whether each is
    multiplied, shape (K,); the prior scale tau of the changes; and whether growth is flat.
    """

    t: Floats
    changes: Floats
    X: Floats
    scales: Floats
    multiplied: NDArray[np.bool_]
    tau: float
    flat: bool = False

    @cached_property
    def line(self) -> Floats:
        """The columns t and 1, shape (n, 2); 1 alone where growth is flat."""
        one = np.ones((len(self.t), 1))
        return one if self.flat else np.column_stack([self.t, one])

    @cached_property
    def hinges(self) -> Floats:
        """max(t - c_j, 0), shape (n, S); none where growth is flat."""
        changes = self.changes[:0] if self.flat else self.changes
        return np.maximum(self.t[:, None] - changes, 0.0)

    @cached_property
    def basis(self) -> Basis:
        """The line and X, orthogonal."""
        scales = np.append(np.full(self.line.shape[1], TREND_SCALE), self.scales)
        return Basis.of_columns(np.column_stack([self.line, self.X]), scales)

    @cached_property
    def reduced_hinges(self) -> tuple[Floats, Floats, Floats]:
        """The products U'D, D without what U explains of it, and the square of that."""
        return self.basis.without(self.hinges)

    @property
    def nbytes(self) -> int:
        """Bytes that all of this takes in memory once it is made, about."""
        return 8 * len(self.t) * (2 * len(self.scales) + 2 * len(self.changes) + 8)


@dataclass(frozen=True)
class Regressors:
    """A partition's own columns, standardised, shape (n, q), with their priors' scales and whether each is
    multiplied, shape (q,).
    """

    X: Floats
    scales: Floats
    multiplied: NDArray[np.bool_]

    @classmethod
    def none(cls, rows: int) -> Regressors:
        """No columns."""
        return cls(np.empty((rows, 0)), np.empty(0), np.empty(0, dtype=bool))


@dataclass(frozen=True)
class Optimum:
    """Prophet's parameters in scaled units and the negative log posterior there, without constants.

    `beta` has the coefficients of the calendar's columns, then those of the regressors.
    """

    k: float
    m: float
    delta: Floats
    beta: Floats
    sigma: float
    value: float


@dataclass(frozen=True)
class Point:
    """The line's coefficients (k, m), or m alone, the changes and the columns'."""

    line: Floats
    delta: Floats
    beta: Floats

    def towards(self, other: Point, share: float) -> Point:
        """The point at this share of the way to another one."""
        return Point(
            self.line + share * (other.line - self.line),
            self.delta + share * (other.delta - self.delta),
            self.beta + share * (other.beta - self.beta),
        )


@dataclass(frozen=True)
class Model:
    """The model of one series: its columns, its regressors and its values."""

    columns: Columns
    own: Regressors
    y: Floats

    @cached_property
    def terms(self) -> Floats:
        """X and the regressors, shape (n, K + q)."""
        return np.column_stack([self.columns.X, self.own.X]) if self.own.X.shape[1] else self.columns.X

    @cached_property
    def scales(self) -> Floats:
        """The priors' scales of all columns but the line's, shape (K + q,)."""
        return np.append(self.columns.scales, self.own.scales)

    @cached_property
    def multiplied(self) -> NDArray[np.bool_]:
        """Whether each of them is multiplied, shape (K + q,)."""
        return np.append(self.columns.multiplied, self.own.multiplied)

    @property
    def width(self) -> int:
        """The number of all columns."""
        columns = self.columns
        return int(columns.line.shape[1] + columns.hinges.shape[1] + len(self.scales))

    def trend(self, at: Point) -> Floats:
        """The trend g, shape (n,)."""
        return np.asarray(self.columns.line @ at.line + self.columns.hinges @ at.delta)

    def factor(self, at: Point) -> Floats:
        """1 + X_m b_m."""
        return np.asarray(1 + self.terms @ np.where(self.multiplied, at.beta, 0.0))

    def added(self, at: Point) -> Floats:
        """X_a b_a."""
        return np.asarray(self.terms @ np.where(self.multiplied, 0.0, at.beta))

    def fitted(self, at: Point) -> Floats:
        """The values that the parameters give, shape (n,)."""
        if not self.multiplied.any():
            return self.trend(at) + self.terms @ at.beta
        return self.trend(at) * self.factor(at) + self.added(at)

    def prior(self, at: Point) -> float:
        """The negative log of the priors' densities."""
        normal = np.square(at.line / TREND_SCALE).sum() + np.square(at.beta / self.scales).sum()
        return float(0.5 * normal + np.abs(at.delta).sum() / self.columns.tau)

    def start(self, found: Optimum) -> Point:
        """The point of Prophet's parameters."""
        line = np.array([found.m] if self.columns.flat else [found.k, found.m])
        return Point(line, found.delta[: self.columns.hinges.shape[1]], found.beta)

    def optimum(self, at: Point, variance: float, value: float) -> Optimum:
        """Prophet's parameters of a point."""
        k, m = (0.0, at.line[0]) if self.columns.flat else at.line
        delta = np.zeros(len(self.columns.changes)) if self.columns.flat else at.delta
        return Optimum(float(k), float(m), delta, at.beta, float(np.sqrt(variance)), value)


def negative_log_posterior(columns: Columns, y: Floats, own: Regressors | None, found: Optimum) -> float:
    """That of any parameters (the `value` of `found` is not looked at), without constants."""
    model = Model(columns, own or Regressors.none(len(y)), y)
    error = y - model.fitted(model.start(found))
    return value_of(len(y), found.sigma**2, float(error @ error), model.prior(model.start(found)))


def valued(model: Model, at: Point) -> tuple[Optimum, Floats]:
    """A point with the variance that is best for it, and its errors."""
    errors = model.y - model.fitted(at)
    sse = float(errors @ errors)
    variance = max(best_variance(len(errors), sse), LEAST)
    return model.optimum(at, variance, value_of(len(errors), variance, sse, model.prior(at))), errors
