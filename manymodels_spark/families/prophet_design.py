"""What of a Prophet fit depends on the dates alone: made once for all partitions that share them.

Prophet itself designs the columns, on values that do not matter, so that its definitions hold; kept are the
columns for the solver and the model's serialised form, in which a partition's fit fills in its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray
from prophet import Prophet
from prophet.serialize import model_to_dict

from manymodels_spark.families.byte_cache import ByteCache
from manymodels_spark.families.prophet_exact import solve
from manymodels_spark.families.prophet_posterior import Columns, Optimum, Regressors
from manymodels_spark.families.prophet_predict import Times, lean_state

Floats = NDArray[np.float64]
# Of all designs of a process: some twenty calendars of 4,000 days.
_LIMIT = 96_000_000


@dataclass(frozen=True)
class Design:
    """The columns of some dates, and the stored form of a model of them without a partition's own part.

    `last` is the last row of the history as pandas stores a table; `regressors` has each regressor's
    properties as Prophet keeps them, `multiplied` whether each is.
    """

    columns: Columns
    state: dict[str, Any]
    last: dict[str, Any]
    regressors: dict[str, dict[str, Any]]
    multiplied: NDArray[np.bool_]
    no_changepoints: bool

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


def design_of(
    key: Hashable,
    times: Times,
    new: Callable[[], Prophet],
    ahead: Callable[[], pd.DataFrame | None],
) -> Design:
    """The design of these dates, shared by all fits with the same dates and key.

    Args:
        key: what else the design depends on: options, holidays, the regressors' names.
        times: increasing, in nanoseconds, shape (n,).
        new: makes the unfitted Prophet that designs the columns.
        ahead: the holidays that the stored model is to predict with.

    """
    return _DESIGNS.get((key, times.tobytes()), lambda: _designed(times, new(), ahead()))


def _designed(times: Times, model: Prophet, ahead: pd.DataFrame | None) -> Design:
    names = list(model.extra_regressors)
    frame = pd.DataFrame({"ds": times, "y": np.arange(len(times), dtype=np.float64)})
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
    state = {**lean_state(model_to_dict(model)), "solver": "exact"}
    last = orjson.loads(state["history"])
    none = len(model.changepoints) == 0
    props = state["extra_regressors"][1]
    return Design(columns, state, last, props, multiplied[shared:], none)


def _scaling(values: Floats) -> dict[str, float]:
    """Mean and deviation that Prophet standardises a regressor by: none where it is constant or binary."""
    low, high = values.min(), values.max()
    if low == high or (low == 0 and high == 1 and bool(((values == 0) | (values == 1)).all())):
        return {"mu": 0.0, "std": 1.0}
    return {"mu": float(values.mean()), "std": float(values.std(ddof=1))}
