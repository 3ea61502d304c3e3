"""MSTL of statsforecast: a series taken apart into seasons and a rest, on its own scale or that of its
logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from manymodels_spark.errors import FitError, Reason
from manymodels_spark.families.base import Json, Problem
from manymodels_spark.families.codec import decode, encode
from manymodels_spark.families.options import EtsOptions, MstlOptions, StatsOptions
from manymodels_spark.families.statsforecast import Drift, Holt, Stats, Theta
from manymodels_spark.families.statsforecast_auto import AutoETS


class MSTL(Stats):
    """Decomposition by several seasons (Bandara, Hyndman, Bergmeir 2021); the rest by a model without
    seasons.
    """

    name, library = "mstl", "MSTL"
    Options = MstlOptions
    options: MstlOptions
    seconds = (0.005, 2.2e-5)

    def min_rows(self, problem: Problem) -> int:
        """Two cycles of the shortest season and a little more: with fewer there is nothing to decompose."""
        return 2 * min(self._seasons(problem)) + 2

    def fit(self, rows: pd.DataFrame, problem: Problem) -> _Mstl:
        """The seasons' last cycles and the trend's fitted model."""
        values = rows[problem.target].to_numpy(dtype=np.float64)
        values = values[-self.options.last :] if self.options.last else values
        logged = self.options.log and bool((values > 0).all())
        seasons = [season for season in self._seasons(problem) if len(values) >= 2 * season + 2]
        unfitted = self._trend()._class()(**self._trend_arguments())
        model = self._class()(season_length=seasons, trend_forecaster=unfitted)
        model.fit(np.log(values) if logged else np.ascontiguousarray(values))
        names = [name for name in model.model_.columns if name.startswith("seasonal")]
        cycles = [
            model.model_[name].to_numpy()[-season:] for name, season in zip(names, seasons, strict=False)
        ]
        return _Mstl(cycles, model.trend_forecaster, logged)

    def update(self, model: _Mstl, rows: pd.DataFrame, problem: Problem) -> _Mstl | None:
        """The trend's model updated with the rows without their seasons, and the seasons' cycles moved on."""
        values = rows[problem.target].to_numpy(dtype=np.float64)
        count = len(values)
        if model.log and not (values > 0).all():
            return None
        values = np.log(values) if model.log else values
        rest = values - sum((np.resize(cycle, count) for cycle in model.cycles), np.zeros(count))
        trend = self._trend().update(model.trend, rows.assign(**{problem.target: rest}), problem)
        cycles = [np.roll(cycle, -count) for cycle in model.cycles]
        return None if trend is None else _Mstl(cycles, trend, model.log)

    def dump(self, model: _Mstl) -> Json:
        """The seasonal columns' last cycles and the trend's model."""
        return {"cycles": encode(model.cycles), "trend": self._trend().dump(model.trend), "log": model.log}

    def load(self, state: Json) -> _Mstl:
        """The inverse of `dump`."""
        return _Mstl(decode(state["cycles"]), self._trend().load(state["trend"]), state.get("log", False))

    def _seasons(self, problem: Problem) -> list[int]:
        seasons = self.options.seasons or [problem.season]
        if min(seasons) < 2:
            raise FitError(
                Reason.FIT_FAILED,
                "mstl requires seasons of two steps or more. Name them: mstl: {seasons: [52]}",
            )
        return seasons

    def _trend(self) -> Stats:
        families: dict[str, Stats] = {
            "ets": AutoETS(EtsOptions()),
            "theta": Theta(StatsOptions()),
            "drift": Drift(StatsOptions()),
            "holt": Holt(StatsOptions()),
        }
        return families[self.options.trend]

    def _trend_arguments(self) -> dict[str, Any]:
        return {"model": "ZZN"} if self.options.trend == "ets" else {}


@dataclass(frozen=True)
class _Mstl:
    """What is left of an MSTL model when only its forecasts are wanted."""

    cycles: list[NDArray[np.float64]]
    trend: Any
    log: bool = False

    def predict(self, h: int) -> dict[str, NDArray[np.float64]]:
        """The trend's forecast plus every season repeated."""
        seasons = sum((np.resize(cycle, h) for cycle in self.cycles), np.zeros(h))
        found = self.trend.predict(h=h)["mean"] + seasons
        return {"mean": np.exp(found) if self.log else found}
