"""A stored Prophet and its predictions: no components, no history, and columns that depend on the dates alone
designed once for all models that share them. The numbers are stock Prophet's, bit for bit (see
tests/unit/test_prophet.py).
"""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from functools import lru_cache
from io import StringIO
from typing import Any

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray
from prophet.serialize import NP_ARRAY, ORDEREDDICT, SIMPLE_ATTRIBUTES, model_to_dict

from manymodels_spark.families.byte_cache import ByteCache
from manymodels_spark.families.prophet.stan import DesignProphet, LocalProphet

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]
# Partitions mostly share their dates, and with them the columns and the tables of a stored model.
_SHARED = 64
_COLUMNS: ByteCache[Floats] = ByteCache(16_000_000)
# What of a stored model its columns depend on, beside the dates.
_DESIGN = ("seasonalities", "holidays", "train_holiday_names", "country_holidays", "train_component_cols")


class StoredProphet(DesignProphet):
    """A Prophet of a stored `state`, that predicts `yhat` alone. `key` names the columns that it designs."""

    state: dict[str, Any]
    key: bytes

    def yhat(self, times: Times, own: Floats, cap: float | None = None, floor: float = 0.0) -> Floats:
        """The `yhat` of Prophet.predict, shape (n,).

        Args:
            times: increasing, in nanoseconds, shape (n,).
            own: the regressors' values as they come, shape (n, regressors).
            cap: of logistic growth.
            floor: of logistic growth; 0 without.

        """
        known = self.train_component_cols
        assert known is not None
        columns = _COLUMNS.get((self.key, times.tobytes()), lambda: self._designed(times))
        if own.shape[1]:
            props = list(self.extra_regressors.values())
            scaled = [(own[:, i] - one["mu"]) / one["std"] for i, one in enumerate(props)]
            columns = np.asfortranarray(np.column_stack([columns, *scaled]))
        multiplied, added = self._terms(columns, "multiplicative"), self._terms(columns, "additive")
        return np.asarray(self._trend(times, cap, floor) * (1 + multiplied) + added, dtype=np.float64)

    def regressor_column_matrix(
        self, seasonal_features: pd.DataFrame, modes: Any
    ) -> tuple[pd.DataFrame, Any]:
        """Which column belongs to which component: as the fit found."""
        assert self.train_component_cols is not None
        return self.train_component_cols, modes

    def _designed(self, times: Times) -> Floats:
        """The columns of seasonalities and holidays, which the regressors follow."""
        frame = pd.DataFrame({"ds": times, **dict.fromkeys(self.extra_regressors, 0.0)})
        columns = self.make_all_seasonality_features(frame)[0].to_numpy()
        # In the order in memory that pandas has, which decides the last bit of a product.
        return np.asfortranarray(columns[:, : columns.shape[1] - len(self.extra_regressors)])

    def _trend(self, times: Times, cap: float | None, floor: float) -> Floats:
        start, span, scale, changes = self.start, self.t_scale, self.y_scale, self.changepoints_t
        assert start is not None and span is not None and scale is not None and changes is not None
        t = (times - start.to_datetime64()) / span.to_timedelta64()
        k, m, delta = self.params["k"].mean(), self.params["m"].mean(), self.params["delta"].mean(axis=0)
        if self.growth == "linear":
            trend = self.piecewise_linear(t, delta, k, m, changes)
        elif self.growth == "logistic":
            assert cap is not None
            scaled = np.full(len(t), (cap - floor) / scale)
            trend = self.piecewise_logistic(t, scaled, delta, k, m, changes)
        else:
            trend = self.flat_trend(t, m)
        return np.asarray(trend * scale + floor)

    def _terms(self, columns: Floats, mode: str) -> Floats:
        beta = self.params["beta"] * _mask(self.state["train_component_cols"], f"{mode}_terms")
        terms = np.matmul(columns, beta.transpose())
        if mode == "additive":
            terms *= self.y_scale
        return np.asarray(terms[:, 0])


def lean_state(model: LocalProphet, solver: str) -> dict[str, Any]:
    """Prophet's own serialisation without what grows with the history and no prediction reads, with what
    fitted it, and with its local clock where it has one.
    """
    state = model_to_dict(model)
    dates = orjson.loads(state["history_dates"])
    last = {**dates, "index": dates["index"][-1:], "data": dates["data"][-1:]}
    params = {name: values for name, values in state["params"].items() if name != "trend"}
    clock = {"zone": model.zone} if model.zone else {}
    return {**state, "history_dates": orjson.dumps(last).decode(), "params": params, "solver": solver} | clock


def restore(state: dict[str, Any]) -> StoredProphet:
    """The model of `prophet.serialize.model_from_dict` as far as a prediction reads it, and much faster."""
    model = copy.copy(_blank())
    model.state, model.key = state, _key(state)
    for name in SIMPLE_ATTRIBUTES:
        setattr(model, name, state[name])
    for name in ORDEREDDICT:
        order, values = state[name]
        setattr(model, name, OrderedDict((key, values[key]) for key in order))
    for name in NP_ARRAY:
        setattr(model, name, np.array(state[name]))
    model.start, model.t_scale = _start(state["start"]), pd.Timedelta(seconds=state["t_scale"])
    model.params = {name: np.array(values) for name, values in state["params"].items()}
    model.train_component_cols = _table(state["train_component_cols"])
    model.train_holiday_names = _names(state["train_holiday_names"])
    model.holidays = _holidays(state["holidays"])
    model.zone = state.get("zone")  # only models with a local clock have one
    model.fit_kwargs, model.stan_fit, model.uncertainty_samples = state["fit_kwargs"], None, 0
    return model


@lru_cache(maxsize=1)
def _blank() -> StoredProphet:
    """A model of which all is overwritten."""
    return StoredProphet()


def _key(state: dict[str, Any]) -> bytes:
    parts = [state[name] for name in _DESIGN] + [state["extra_regressors"][0], state.get("zone")]
    return hashlib.blake2b(orjson.dumps(parts), digest_size=16).digest()


@lru_cache(maxsize=_SHARED)
def _start(seconds: float) -> pd.Timestamp:
    return pd.Timestamp.fromtimestamp(seconds, tz="UTC").tz_localize(None)


@lru_cache(maxsize=_SHARED)
def _table(text: str) -> pd.DataFrame:
    """The columns' components; the same text for most partitions of a spec."""
    table = pd.DataFrame(orjson.loads(text)["data"])
    table.columns.name, table.index.name = "component", "col"
    return table


@lru_cache(maxsize=2 * _SHARED)
def _mask(text: str, component: str) -> NDArray[Any]:
    return np.asarray(_table(text)[component].to_numpy())


@lru_cache(maxsize=_SHARED)
def _names(text: str | None) -> pd.Series[Any] | None:
    if text is None:
        return None
    stored = orjson.loads(text)
    return pd.Series(stored["data"], index=stored["index"], name=stored["name"], dtype=object)


@lru_cache(maxsize=_SHARED)
def _holidays(text: str | None) -> pd.DataFrame | None:
    if text is None:
        return None
    return pd.read_json(StringIO(text), typ="frame", orient="table", convert_dates=["ds"])
