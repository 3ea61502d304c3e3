"""What of a Prophet fit depends on the dates alone: made once for all partitions that share them.

Prophet itself designs the columns, on values that do not matter, so that its definitions hold; kept are the
columns for the solver and the model's serialised form, in which a partition's fit fills in its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np
import orjson
import pandas as pd
from cachetools import LRUCache
from numpy.typing import NDArray

from manymodels_spark.families.byte_cache import ByteCache
from manymodels_spark.families.prophet.exact import solve
from manymodels_spark.families.prophet.posterior import Columns, Optimum, Regressors
from manymodels_spark.families.prophet.predict import Times, lean_state
from manymodels_spark.families.prophet.stan import LocalProphet

Floats = NDArray[np.float64]
# Of all designs of a process: some twenty calendars of 4,000 days.
_LIMIT = 96_000_000
# The least share of the steps that a series must have.
_MOST = 0.8


@dataclass(frozen=True)
class Design:
    """The columns of some dates, and the stored form of a model of them without a partition's own part.

    `last` is the last row of the history as pandas stores a table; `regressors` has each regressor's
    properties as Prophet keeps them, `multiplied` whether each is; `range` is the share of the rows that may
    have changepoints.
    """

    columns: Columns
    state: dict[str, Any]
    last: dict[str, Any]
    regressors: dict[str, dict[str, Any]]
    multiplied: NDArray[np.bool_]
    no_changepoints: bool
    range: float

    def of_rows(self, times: Times, rows: NDArray[np.intp]) -> Design | None:
        """The design of some of the rows, the first and the last among them, at these times: what Prophet
        would design for them. None where they are too few for the changepoints.

        Changepoints lie at rows, evenly by number, so that each set of rows has its own; all else is as it
        was.
        """
        count = 0 if self.no_changepoints else len(self.columns.changes)
        size = int(np.floor(len(rows) * self.range))
        if count + 1 > size:
            return None
        t, changes, state = self.columns.t[rows], self.columns.changes, self.state
        if count:
            chosen = np.linspace(0, size - 1, count + 1).round().astype(int)[1:]
            changes = np.sort(t[chosen])
            dates = pd.Series(times[chosen], index=chosen, name="ds")
            stored = dates.to_json(orient="split", date_format="iso")
            state = {**state, "changepoints": stored, "changepoints_t": changes.tolist()}
        ended = {**orjson.loads(state["history_dates"]), "index": [len(rows) - 1]}
        return replace(
            self,
            columns=replace(self.columns, t=t, changes=changes, X=self.columns.X[rows]),
            state={**state, "history_dates": orjson.dumps(ended).decode()},
        )

    @property
    def nbytes(self) -> int:
        """Bytes in memory, about."""
        return self.columns.nbytes

    def fit(self, y: Floats, values: Sequence[Floats]) -> dict[str, Any] | None:
        """The stored form of the model of a partition's values; None where `solve` finds no optimum.

        Args:
            y: the target, shape (n,).
            values: the regressors, each of shape (n,).

        """
        scale = float(np.abs(y).max()) or 1.0
        scaled = y / scale
        props = {
            name: {**self.regressors[name], **_scaling(column)}
            for name, column in zip(self.regressors, values, strict=True)
        }
        found = self._constant(scaled) if y.min() == y.max() else None
        found = found or solve(self.columns, scaled, self._own(values, props))
        return None if found is None else self._stored(found, scale, float(y[-1]), values, props)

    def _constant(self, y: Floats) -> Optimum:
        """Prophet's own rule for a constant series: the level, and no noise."""
        delta, beta = np.zeros(len(self.columns.changes)), np.zeros(self._width)
        return Optimum(0.0, float(y[0]), delta, beta, 1e-9, 0.0)

    @property
    def _width(self) -> int:
        return len(self.columns.scales) + len(self.regressors)

    def _own(self, values: Sequence[Floats], props: dict[str, dict[str, Any]]) -> Regressors | None:
        if not values:
            return None
        scaled = [(v - prop["mu"]) / prop["std"] for v, prop in zip(values, props.values(), strict=True)]
        scales = np.array([prop["prior_scale"] for prop in props.values()], dtype=np.float64)
        return Regressors(np.column_stack(scaled), scales, self.multiplied)

    def _stored(
        self,
        found: Optimum,
        scale: float,
        last: float,
        values: Sequence[Floats],
        props: dict[str, dict[str, Any]],
    ) -> dict[str, Any]:
        k, delta = found.k, found.delta
        if self.no_changepoints:
            # As Prophet does with the one change at t = 0 that stands for none.
            k, delta = k + float(delta[0]), np.zeros(1)
        own = {
            name: (float(column[-1]) - props[name]["mu"]) / props[name]["std"]
            for name, column in zip(props, values, strict=True)
        }
        row = {**self.last["data"][0], "y": last, "y_scaled": last / scale, **own}
        return {
            **self.state,
            "y_scale": scale,
            "history": orjson.dumps({**self.last, "data": [row]}).decode(),
            "extra_regressors": [list(props), props],
            "params": {
                "k": [[k]],
                "m": [[found.m]],
                "delta": [delta.tolist()],
                "sigma_obs": [[found.sigma]],
                "beta": [found.beta.tolist()],
            },
        }


_DESIGNS: ByteCache[Design] = ByteCache(_LIMIT)
# The spans that were asked for: all their steps are designed when a second series lies in the same one.
_SPANS: LRUCache[Hashable, bool] = LRUCache(maxsize=4096)
_SPANS_LOCK = Lock()


@dataclass(frozen=True)
class Steps:
    """Times at equal steps, of which a series has nearly all: from `first` by `step` nanoseconds, `count` of
    them, the series at `rows`.
    """

    first: int
    step: int
    count: int
    rows: NDArray[np.intp]

    @classmethod
    def of(cls, times: Times) -> Steps | None:
        """The steps of these times; None where they lie off them, too many are missing, or a whole year is,
        whose holidays Prophet would not know.
        """
        moments = times.astype(np.int64)
        gaps = np.diff(moments)
        step = int(gaps.min()) if len(gaps) else 0
        if step <= 0 or (gaps % step).any():
            return None
        rows = (moments - moments[0]) // step
        years = times.astype("datetime64[Y]").astype(np.int64)
        whole = len(np.unique(years)) == years[-1] - years[0] + 1
        count = int(rows[-1]) + 1
        return cls(int(moments[0]), step, count, rows) if whole and len(rows) >= _MOST * count else None

    @property
    def times(self) -> Times:
        """All of them."""
        return (self.first + self.step * np.arange(self.count)).astype("datetime64[ns]")

    @property
    def span(self) -> Hashable:
        """What they differ in from others."""
        return self.first, self.step, self.count


def design_of(
    key: Hashable,
    times: Times,
    new: Callable[[], LocalProphet],
    ahead: Callable[[], pd.DataFrame | None],
) -> Design:
    """The design of these dates, shared by all fits with the same dates and key.

    Dates with a few gaps are rows of a design of all their steps: made once for all series of one span,
    whichever days each of them lacks.

    Args:
        key: what else the design depends on: options, holidays, the local clock, the regressors' names.
        times: increasing, in nanoseconds, shape (n,).
        new: makes the unfitted Prophet that designs the columns.
        ahead: the holidays that the stored model is to predict with.

    """
    steps = Steps.of(times)
    if steps is None:
        return _DESIGNS.get((key, times.tobytes()), lambda: _designed(times, new(), ahead()))
    if len(steps.rows) == steps.count:
        return _DESIGNS.get((key, steps.span), lambda: _designed(times, new(), ahead()))
    place = key, steps.span

    def with_gaps() -> Design:
        found = None
        if _is_shared(place):
            whole = _DESIGNS.get(place, lambda: _designed(steps.times, new(), ahead()))
            found = whole.of_rows(times, steps.rows)
        return found or _designed(times, new(), ahead())

    return _DESIGNS.get((key, times.tobytes()), with_gaps)


def _is_shared(place: Hashable) -> bool:
    """Whether another series asked for this span before; from now on it counts as asked for."""
    with _SPANS_LOCK:
        before = place in _SPANS
        _SPANS[place] = True
    return before


def _designed(times: Times, model: LocalProphet, ahead: pd.DataFrame | None) -> Design:
    names = list(model.extra_regressors)
    frame = pd.DataFrame({"ds": times, "y": np.ones(len(times))})
    inputs = model.preprocess(frame.assign(**dict.fromkeys(names, 0.0)))
    assert isinstance(inputs.X, pd.DataFrame) and model.history is not None
    assert model.changepoints is not None
    X, scales = inputs.X.to_numpy(), np.asarray(inputs.sigmas, dtype=np.float64)
    multiplied, shared = np.asarray(inputs.s_m) > 0, inputs.X.shape[1] - len(names)
    columns = Columns(
        t=np.asarray(inputs.t, dtype=np.float64),
        changes=np.asarray(inputs.t_change, dtype=np.float64),
        X=np.ascontiguousarray(X[:, :shared]),
        scales=scales[:shared],
        multiplied=multiplied[:shared],
        tau=float(inputs.tau),
        flat=model.growth == "flat",
    )
    model.params, model.holidays = {}, ahead
    model.history = model.history.tail(1).reset_index(drop=True)
    state = lean_state(model, "exact")
    last = orjson.loads(state["history"])
    none = len(model.changepoints) == 0
    props = state["extra_regressors"][1]
    return Design(columns, state, last, props, multiplied[shared:], none, float(model.changepoint_range))


def _scaling(values: Floats) -> dict[str, float]:
    """Mean and deviation that Prophet standardises a regressor by: none where it is constant or binary."""
    low, high = values.min(), values.max()
    if low == high or (low == 0 and high == 1 and bool(((values == 0) | (values == 1)).all())):
        return {"mu": 0.0, "std": 1.0}
    return {"mu": float(values.mean()), "std": float(values.std(ddof=1))}
