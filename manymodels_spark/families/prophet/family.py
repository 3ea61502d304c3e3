"""Prophet: the exact optimum of its model in milliseconds (`exact.py`), or Stan's, and a payload that
leaves the training history behind, which predictions do not need.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from prophet import Prophet
from prophet.make_holidays import make_holidays_df
from prophet.utilities import warm_start_params

from manymodels_spark.families.base import Family, Json, Problem
from manymodels_spark.families.options import ProphetOptions
from manymodels_spark.families.prophet.design import design_of
from manymodels_spark.families.prophet.predict import StoredProphet, Times, lean_state, restore
from manymodels_spark.families.prophet.stan import DesignProphet, LocalProphet, StanProphet
from manymodels_spark.families.threads import one_blas_thread

_YEARS_AHEAD = 10


class ProphetFamily(Family[StoredProphet]):
    """One Prophet model per partition; intervals come from the backtest, so none are sampled here."""

    name = "prophet"
    every_step = False
    tasks = frozenset({"forecast"})
    packages = ("prophet", "cmdstanpy", "holidays")
    Options = ProphetOptions
    options: ProphetOptions

    @property
    def warm_start(self) -> bool:
        """As the options say."""
        return self.options.warm_start

    def min_rows(self, problem: Problem) -> int:
        """Prophet itself requires two."""
        return 2

    def cost(self, rows: int) -> float:
        """As measured on one core."""
        return 0.002 + 5e-7 * rows if self.options.exact else 0.04 + 2.5e-5 * rows

    def fit(self, rows: pd.DataFrame, problem: Problem) -> StoredProphet:
        """The maximum a posteriori: exact, or by Stan where the options say so or there is no exact one.

        Stan begins at the parameters of an earlier model where `problem.start` holds one; a start from which
        it finds no way (that of a constant series, say) gives way to Prophet's own.
        """
        if self.options.exact:
            state = self._exact(rows, problem)
            if state is not None:
                return restore(state)
        if problem.start is not None:
            with suppress(RuntimeError):
                return self._stan(rows, problem, init=warm_start_params(self.load(problem.start)))
        return self._stan(rows, problem)

    def predict(self, model: StoredProphet, future: pd.DataFrame, problem: Problem) -> NDArray[np.float64]:
        """Prophet's yhat."""
        own = [future[name].to_numpy(dtype=np.float64) for name in self._columns(problem)]
        values = np.column_stack(own) if own else np.empty((len(future), 0))
        return model.yhat(_times(future, problem), values, self.options.cap, self.options.floor or 0.0)

    def update(self, model: StoredProphet, rows: pd.DataFrame, problem: Problem) -> StoredProphet:
        """The model as it is: it predicts any later dates."""
        return model

    def notes(self, model: StoredProphet) -> dict[str, Any]:
        """That Stan fitted it, where the exact solver was asked to."""
        by_stan = self.options.solver == "exact" and model.state.get("solver") == "stan"
        return {"solved_by": "stan"} if by_stan else {}

    def dump(self, model: StoredProphet) -> Json:
        """Prophet's own serialisation with the history cut to its last row, and without what else grows with
        it; `solver` says what fitted it.
        """
        return model.state

    def load(self, state: Json) -> StoredProphet:
        """A model that predicts; Prophet refuses to fit it again."""
        return restore(state)

    def new(self, problem: Problem, cls: type[Prophet] = StanProphet) -> Prophet:
        """An unfitted model with the options (`cls` is for tests that compare with stock Prophet)."""
        o = self.options
        model = cls(
            growth=o.growth,
            n_changepoints=o.changepoints,
            changepoint_range=o.changepoint_range,
            yearly_seasonality=o.yearly,
            weekly_seasonality=o.weekly,
            daily_seasonality=o.daily,
            seasonality_mode=o.seasonality_mode,
            seasonality_prior_scale=o.seasonality_prior_scale,
            holidays_prior_scale=o.holidays_prior_scale,
            changepoint_prior_scale=o.changepoint_prior_scale,
            uncertainty_samples=0,
        )
        if problem.holidays and "-" not in problem.holidays:
            model.add_country_holidays(problem.holidays)
        return model

    def frame(self, rows: pd.DataFrame, problem: Problem) -> pd.DataFrame:
        """The rows as Prophet names them: ds, cap and floor, and regressors x0, x1, ..."""
        columns: dict[str, Any] = {"ds": rows[problem.time].to_numpy()}
        if self.options.growth == "logistic":
            columns["cap"] = self.options.cap
            columns["floor"] = self.options.floor or 0.0
        for number, column in enumerate(self._columns(problem)):
            columns[f"x{number}"] = rows[column].to_numpy(dtype=np.float64)
        return pd.DataFrame(columns)

    def _exact(self, rows: pd.DataFrame, problem: Problem) -> Json | None:
        times, columns = _times(rows, problem), self._columns(problem)
        first, last = (int(str(year)) for year in times[[0, -1]].astype("datetime64[Y]"))

        def new() -> LocalProphet:
            return self._unfitted(problem, first, last, DesignProphet)

        def ahead() -> pd.DataFrame | None:
            return regional_holidays(problem.holidays, last, last + _YEARS_AHEAD)

        key = self.options, problem.holidays, problem.zone, len(columns)
        design = design_of(key, times, new, ahead)
        target = rows[problem.target].to_numpy(dtype=np.float64)
        with one_blas_thread():
            return design.fit(target, [rows[name].to_numpy(dtype=np.float64) for name in columns])

    def _stan(self, rows: pd.DataFrame, problem: Problem, **start: Any) -> StoredProphet:
        years = pd.DatetimeIndex(rows[problem.time]).year
        model = self._unfitted(problem, years.min(), years.max(), StanProphet)
        target = rows[problem.target].to_numpy(dtype=np.float64)
        model.fit(self.frame(rows, problem).assign(y=target), **start)
        model.holidays = regional_holidays(problem.holidays, years.max(), years.max() + _YEARS_AHEAD)
        assert model.history is not None
        model.history = model.history.tail(1).reset_index(drop=True)
        return restore(lean_state(model, "stan"))

    def _unfitted(self, problem: Problem, first: int, last: int, cls: type[LocalProphet]) -> LocalProphet:
        """A model with its regressors, and the holidays of a region from year to year."""
        model = self.new(problem, cls)
        assert isinstance(model, LocalProphet)
        for number in range(len(self._columns(problem))):
            model.add_regressor(f"x{number}")
        model.holidays = regional_holidays(problem.holidays, first, last)
        model.zone = problem.zone
        return model

    def _columns(self, problem: Problem) -> tuple[str, ...]:
        return problem.known_future if self.options.regressors else ()


def _times(rows: pd.DataFrame, problem: Problem) -> Times:
    return np.asarray(rows[problem.time].to_numpy(), dtype="datetime64[ns]")


@lru_cache(maxsize=64)
def regional_holidays(place: str | None, first: int, last: int) -> pd.DataFrame | None:
    """The holidays of a region (`ES-MD`) from year to year, as Prophet takes them; None for a whole country
    or no place.

    Prophet's own `add_country_holidays` knows countries only, and adds what predictions need by itself.
    """
    country, _, region = (place or "").partition("-")
    return make_holidays_df(list(range(first, last + 1)), country, province=region) if region else None
