"""Predictions of a fitted Prophet without what Prophet does beside them: no components, no second design of
columns that the fit has designed, no history. The numbers are stock Prophet's, bit for bit (see
tests/unit/test_prophet.py).
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from io import StringIO
from typing import Any

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray
from prophet import Prophet
from prophet.serialize import NP_ARRAY, ORDEREDDICT, SIMPLE_ATTRIBUTES

Floats = NDArray[np.float64]
# The seasonal columns depend on the dates alone, and partitions mostly share theirs.
_SHARED = 16


class LeanProphet(Prophet):
    """A Prophet that predicts `yhat` alone; `state` is what it was loaded from, None where it was fitted
    here.
    """

    state: dict[str, Any] | None = None

    def yhat(self, frame: pd.DataFrame) -> Floats:
        """The `yhat` of Prophet.predict for rows of ds, regressors, cap and floor; shape (len(frame),)."""
        rows = self.setup_dataframe(frame.copy())
        trend = self.predict_trend(rows)
        columns = self.make_all_seasonality_features(rows)[0].to_numpy()
        multiplied, added = self._terms(columns, "multiplicative"), self._terms(columns, "additive")
        return np.asarray(trend * (1 + multiplied) + added, dtype=np.float64)

    def regressor_column_matrix(
        self, seasonal_features: pd.DataFrame, modes: Any
    ) -> tuple[pd.DataFrame, Any]:
        """Which column belongs to which component: as the fit has found, else as the parent finds."""
        known = self.train_component_cols
        if known is not None and len(known) == seasonal_features.shape[1]:
            return known, modes
        return super().regressor_column_matrix(seasonal_features, modes)

    @classmethod
    def make_seasonality_features(
        cls, dates: Any, period: float, series_order: int, prefix: str
    ) -> pd.DataFrame:
        """The parent's, computed once for the same dates."""
        return _features(dates.to_numpy().tobytes(), str(dates.dtype), period, series_order, prefix)

    def _terms(self, columns: Floats, mode: str) -> Floats:
        known = self.train_component_cols
        assert known is not None
        beta = self.params["beta"] * known[f"{mode}_terms"].to_numpy()
        terms = np.matmul(columns, beta.transpose())
        if mode == "additive":
            terms *= self.y_scale
        return np.asarray(np.nanmean(terms, axis=1))


def lean_state(state: dict[str, Any]) -> dict[str, Any]:
    """Prophet's own serialisation without what grows with the history and no prediction reads."""
    dates = orjson.loads(state["history_dates"])
    last = {**dates, "index": dates["index"][-1:], "data": dates["data"][-1:]}
    params = {name: values for name, values in state["params"].items() if name != "trend"}
    return {**state, "history_dates": orjson.dumps(last).decode(), "params": params}


def restore(state: dict[str, Any]) -> LeanProphet:
    """The model of `prophet.serialize.model_from_dict`, with what a prediction reads, in a fifth of its
    time.
    """
    model = copy.copy(_blank())
    model.state = state
    for name in SIMPLE_ATTRIBUTES:
        setattr(model, name, state[name])
    for name in ORDEREDDICT:
        order, values = state[name]
        setattr(model, name, OrderedDict((key, values[key]) for key in order))
    for name in NP_ARRAY:
        setattr(model, name, np.array(state[name]))
    model.start = pd.Timestamp.fromtimestamp(state["start"], tz="UTC").tz_localize(None)
    model.t_scale = pd.Timedelta(seconds=state["t_scale"])
    model.params = {name: np.array(values) for name, values in state["params"].items()}
    model.train_component_cols = _table(state["train_component_cols"])
    model.train_holiday_names = _names(state["train_holiday_names"])
    model.holidays = _holidays(state["holidays"])
    model.fit_kwargs, model.stan_fit, model.uncertainty_samples = state["fit_kwargs"], None, 0
    return model


@lru_cache(maxsize=1)
def _blank() -> LeanProphet:
    """A model of which all is overwritten: made once, since making one looks for Stan."""
    return _Blank()


class _Blank(LeanProphet):
    def _load_stan_backend(self, stan_backend: str | None) -> None:
        self.stan_backend = None


@lru_cache(maxsize=_SHARED)
def _features(dates: bytes, kind: str, period: float, order: int, prefix: str) -> pd.DataFrame:
    rows = pd.Series(np.frombuffer(dates, dtype=np.dtype(kind)))
    features = Prophet.fourier_series(rows, period, order)
    return pd.DataFrame(
        features, columns=[f"{prefix}_delim_{number + 1}" for number in range(features.shape[1])]
    )


@lru_cache(maxsize=_SHARED)
def _table(text: str) -> pd.DataFrame:
    """The columns' components; the same text for most partitions of a spec."""
    table = pd.DataFrame(orjson.loads(text)["data"])
    table.columns.name, table.index.name = "component", "col"
    return table


def _names(text: str | None) -> pd.Series[Any] | None:
    if text is None:
        return None
    stored: Mapping[str, Any] = orjson.loads(text)
    return pd.Series(stored["data"], index=stored["index"], name=stored["name"], dtype=object)


def _holidays(text: str | None) -> pd.DataFrame | None:
    if text is None:
        return None
    return pd.read_json(StringIO(text), typ="frame", orient="table", convert_dates=["ds"])
