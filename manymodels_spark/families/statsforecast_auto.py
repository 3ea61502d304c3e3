"""The families of statsforecast that search for their form. They search once, on the earliest fold's rows;
later folds and the fit on all rows estimate the parameters of that form again.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from manymodels_spark.families import statsforecast_update
from manymodels_spark.families.base import Problem
from manymodels_spark.families.options import ArimaOptions, AutoOptions, EtsOptions, Options
from manymodels_spark.families.statsforecast import Stats

# Of a constant, errors are smaller than this share of the level's square.
_ROUNDING = 1e-24


class Auto(Stats):
    """Base of those that search: a later fit takes the form of an earlier model where it can."""

    Options: ClassVar[type[Options]] = AutoOptions

    @abstractmethod
    def form(self, model: Any) -> dict[str, Any] | None:
        """What the library's class is made with to have the form of `model`; None where it shows none."""

    def refit(self, model: Any, rows: pd.DataFrame, problem: Problem) -> Any:
        """The same form with its parameters estimated again on these rows.

        The search is made again where the rows hold more seasons than it knew of, where there was nothing to
        choose by (a constant), and where the form does not suit the new rows (a negative value under a
        multiplicative form).
        """
        values = self.values(rows, problem)
        form = None if self.options.reselect else self.form(model)
        if form is None or model.season_length != self.season(problem, len(values)):
            return self.fit(rows, problem)
        try:
            return self.fit_form(form, values)
        except Exception:
            return self.fit(rows, problem)

    def fit_form(self, form: dict[str, Any], values: np.ndarray) -> Any:
        """The library's model of one form, fitted."""
        return self._class()(**form).fit(values)


class AutoTheta(Auto):
    """The best of the Theta variants."""

    name, library = "auto_theta", "AutoTheta"
    seconds = (0.005, 2e-4)
    updated = staticmethod(statsforecast_update.theta)

    def form(self, model: Any) -> dict[str, Any] | None:
        """The variant."""
        return {"season_length": model.season_length, "model": model.model_["modeltype"]}


class AutoETS(Auto):
    """Exponential smoothing in state space form, chosen by AICc."""

    name, library = "auto_ets", "AutoETS"
    Options = EtsOptions
    seconds = (0.03, 1.4e-4)
    updated = staticmethod(statsforecast_update.smoothing)

    def arguments(self, problem: Problem, rows: int) -> dict[str, Any]:
        """Season, form and damping."""
        return {
            **super().arguments(problem, rows),
            "model": self.options.model,
            "damped": self.options.damped,
        }

    def form(self, model: Any) -> dict[str, Any] | None:
        """Error, trend, season and damping."""
        if not model.model_["mse"] > _ROUNDING * np.square(model.model_["states"][-1, 0]):
            return None
        *letters, damped = model.model_["components"]
        return {
            "season_length": model.season_length,
            "model": "".join(letters),
            "damped": damped != "N",
        }


class AutoCES(Auto):
    """Complex exponential smoothing."""

    name, library = "auto_ces", "AutoCES"
    seconds = (0.005, 2e-5)
    updated = staticmethod(statsforecast_update.complex_smoothing)

    def form(self, model: Any) -> dict[str, Any] | None:
        """The kind of season; a constant series has none."""
        kind = model.model_.get("seasontype")
        return None if kind is None else {"season_length": model.season_length, "model": kind}


class AutoARIMA(Auto):
    """ARIMA chosen stepwise by AICc (Hyndman, Khandakar 2008)."""

    name, library = "auto_arima", "AutoARIMA"
    Options = ArimaOptions
    seconds = (0.3, 4e-3)
    updated = staticmethod(statsforecast_update.arima)

    def arguments(self, problem: Problem, rows: int) -> dict[str, Any]:
        """Season and approximation."""
        return {**super().arguments(problem, rows), "approximation": self.options.approximation}

    def min_rows(self, problem: Problem) -> int:
        """Fewer rows leave nothing to choose from."""
        return 8

    def form(self, model: Any) -> dict[str, Any] | None:
        """The orders, and whether there is a mean or a drift."""
        p, q, P, Q, period, d, D = (int(number) for number in model.model_["arma"])
        known = model.model_["coef"]
        return {
            "order": (p, d, q),
            "seasonal_order": (P, D, Q),
            "season_length": period,
            "include_mean": "intercept" in known,
            "include_drift": "drift" in known,
        }

    def fit_form(self, form: dict[str, Any], values: np.ndarray) -> Any:
        """The library's ARIMA of these orders, as an AutoARIMA that has chosen them."""
        fixed = importlib.import_module("statsforecast.models").ARIMA(**form, method="CSS-ML").fit(values)
        model = self._class()(season_length=form["season_length"], approximation=self.options.approximation)
        model.model_ = fixed.model_
        return model
