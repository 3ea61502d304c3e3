"""Nixtla's statsforecast: one adapter, and a small class per model that says how it is made and what it
costs.

State is the library's own `model_` without what only describes the past (residuals, fitted values), stored
exactly.
"""

from __future__ import annotations

import copy
import importlib
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from manymodels_spark.families import statsforecast_update
from manymodels_spark.families.base import Family, Json, Problem
from manymodels_spark.families.codec import decode, encode
from manymodels_spark.families.options import CrostonOptions, MflesOptions, Options, StatsOptions, TsbOptions

# What describes the past only: forecasts never look at it, but some of them require the name to be there.
_PAST = {"residuals", "fitted", "actual_residuals", "var_coef"}
_DROPPED = {"fit"}
_CLASSES = {"MFLES": "statsforecast.mfles", "AutoETS": "statsforecast.models"}


class Stats(Family[Any]):
    """Base of all: builds the library's model, keeps its state, and predicts with it."""

    tasks = frozenset({"forecast"})
    packages = ("statsforecast",)
    Options: ClassVar[type[Options]] = StatsOptions
    library: ClassVar[str]
    seconds: ClassVar[tuple[float, float]] = (0.0005, 1e-7)

    def cost(self, rows: int) -> float:
        """A fixed part and one per row, as measured on one core."""
        return self.seconds[0] + self.seconds[1] * rows

    def arguments(self, problem: Problem, rows: int) -> dict[str, Any]:
        """What the library's class is made with."""
        return {"season_length": self.season(problem, rows)}

    def season(self, problem: Problem, rows: int) -> int:
        """The season to use: 1 where the rows hold less than two of them."""
        season = self.options.season or problem.season
        return season if rows >= 2 * season + 2 else 1

    def fit(self, rows: pd.DataFrame, problem: Problem) -> Any:
        """The library's fitted model."""
        values = self.values(rows, problem)
        return self._class()(**self.arguments(problem, len(values))).fit(values)

    def values(self, rows: pd.DataFrame, problem: Problem) -> NDArray[np.float64]:
        """The target of the rows that a fit uses, shape (rows,)."""
        values = rows[problem.target].to_numpy(dtype=np.float64)
        return np.ascontiguousarray(values[-self.options.last :] if self.options.last else values)

    def update(self, model: Any, rows: pd.DataFrame, problem: Problem) -> Any:
        """The model's state after these rows, by the library's own recursion with the same parameters; None
        for a family without one, or where the rows lead it nowhere.
        """
        if rows.empty:
            return model
        state = self.updated(model.model_, rows[problem.target].to_numpy(dtype=np.float64))
        if state is None:
            return None
        newer = copy.copy(model)
        newer.model_ = state
        return newer

    @staticmethod
    def updated(state: dict[str, Any], values: NDArray[np.float64]) -> dict[str, Any] | None:
        """The library's state after these values; None where it cannot be had."""
        return None

    def predict(self, model: Any, future: pd.DataFrame, problem: Problem) -> NDArray[np.float64]:
        """The library's forecast of as many steps as there are rows."""
        return np.asarray(model.predict(h=len(future))["mean"], dtype=np.float64)

    def dump(self, model: Any) -> Json:
        """How the model was made, and its state."""
        made = {
            name: value
            for name, value in vars(model).items()
            if name not in ("model_", "prediction_intervals")
        }
        simple = {
            name: value
            for name, value in made.items()
            if isinstance(value, (bool, int, float, str, type(None)))
        }
        return {"made": encode(simple), "state": encode(_portable(model.model_))}

    def load(self, state: Json) -> Any:
        """A model that predicts as the fitted one did."""
        model = self._class().__new__(self._class())
        vars(model).update({"prediction_intervals": None, **decode(state["made"])})
        model.model_ = _restored(decode(state["state"]))
        return model

    def _class(self) -> Any:
        return getattr(importlib.import_module("statsforecast.models"), self.library)


def _portable(state: Any) -> Any:
    """State as plain data: objects of the library as their attributes, the past emptied."""
    if type(state).__name__ in _CLASSES:
        return {"~class": type(state).__name__, **_portable(vars(state))}
    if not isinstance(state, dict):
        return state
    lean = {
        name: np.empty(0) if name in _PAST else _portable(v)
        for name, v in state.items()
        if name not in _DROPPED
    }
    if "components" in lean:
        # Exponential smoothing goes on from its last state.
        lean["states"] = lean["states"][-1:]
    return lean


def _restored(state: Any) -> Any:
    if not isinstance(state, dict):
        return state
    values = {name: _restored(value) for name, value in state.items() if name != "~class"}
    if "~class" not in state:
        return values
    cls = getattr(importlib.import_module(_CLASSES[state["~class"]]), state["~class"])
    found = cls.__new__(cls)
    vars(found).update(values)
    return found


class Drift(Stats):
    """Random walk with drift."""

    name, library = "drift", "RandomWalkWithDrift"
    updated = staticmethod(statsforecast_update.drift)

    def arguments(self, problem: Problem, rows: int) -> dict[str, Any]:
        """None."""
        return {}


class Theta(Stats):
    """The standard Theta method."""

    name, library = "theta", "Theta"
    seconds = (0.001, 2.5e-5)
    updated = staticmethod(statsforecast_update.theta)


class DynamicTheta(Stats):
    """Dynamic optimised Theta."""

    name, library = "dynamic_theta", "DynamicOptimizedTheta"
    seconds = (0.002, 8e-5)
    updated = staticmethod(statsforecast_update.theta)


class Holt(Stats):
    """Exponential smoothing with a trend."""

    name, library = "holt", "Holt"
    seconds = (0.001, 2.3e-5)
    updated = staticmethod(statsforecast_update.smoothing)


class SES(Stats):
    """Simple exponential smoothing, optimised."""

    name, library = "ses", "SimpleExponentialSmoothingOptimized"
    updated = staticmethod(statsforecast_update.simple)
    every_step = False

    def arguments(self, problem: Problem, rows: int) -> dict[str, Any]:
        """None."""
        return {}


class MFLES(Stats):
    """Gradient boosted time series decomposition."""

    name, library = "mfles", "MFLES"
    Options = MflesOptions
    seconds = (0.003, 3e-5)

    def arguments(self, problem: Problem, rows: int) -> dict[str, Any]:
        """Season and robustness."""
        return {**super().arguments(problem, rows), "robust": self.options.robust}


class Croston(Stats):
    """Croston's method for intermittent demand; `variant` sba corrects its bias (Syntetos, Boylan 2005)."""

    name, library = "croston", "CrostonClassic"
    every_step = False
    Options = CrostonOptions

    def arguments(self, problem: Problem, rows: int) -> dict[str, Any]:
        """None."""
        return {}

    def _class(self) -> Any:
        name = {"classic": "CrostonClassic", "sba": "CrostonSBA", "optimized": "CrostonOptimized"}[
            self.options.variant
        ]
        return getattr(importlib.import_module("statsforecast.models"), name)


class TSB(Stats):
    """Teunter, Syntetos and Babai (2011), for demand that may end."""

    name, library = "tsb", "TSB"
    Options = TsbOptions
    every_step = False

    def arguments(self, problem: Problem, rows: int) -> dict[str, Any]:
        """Both smoothing parameters."""
        return {"alpha_d": self.options.alpha_demand, "alpha_p": self.options.alpha_probability}
