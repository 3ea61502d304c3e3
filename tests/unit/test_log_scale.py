"""Families on the scale of logarithms, and MSTL's choice of what forecasts the rest without its seasons."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest

from manymodels_spark.families import registry
from manymodels_spark.families.base import Problem
from manymodels_spark.spec.model import Candidate

HORIZON = 14
PROBLEM = Problem("forecast", "units", "date", "D", season=7, horizon=HORIZON)
TIMES = pd.date_range("2026-01-05", periods=140 + HORIZON)
WEEK = np.tile([1.0, 1.0, 1.0, 1.1, 1.4, 1.8, 0.7], len(TIMES) // 7)
# Twice as much every ten weeks, and the week's swing grows with it.
GROWING = 20 * 2 ** (np.arange(len(TIMES)) / 70) * WEEK


def forecast(family: str, values: np.ndarray = GROWING, **options: Any) -> np.ndarray:
    """The forecast of the last days by a family fitted on those before, by way of its stored state."""
    built = registry.build(Candidate(family=family, options=options))
    rows = pd.DataFrame({"date": TIMES, "units": values})
    model = built.fit(rows.iloc[:-HORIZON], PROBLEM)
    stored = orjson.loads(orjson.dumps(built.dump(model), option=orjson.OPT_SERIALIZE_NUMPY))
    predicted = built.predict(built.load(stored), rows.iloc[-HORIZON:], PROBLEM)
    np.testing.assert_array_equal(predicted, built.predict(model, rows.iloc[-HORIZON:], PROBLEM))
    return predicted


def error(predicted: np.ndarray) -> float:
    actual = GROWING[-HORIZON:]
    return float(np.abs(predicted - actual).sum() / actual.sum())


@pytest.mark.parametrize("trend", ["ets", "theta", "drift", "holt"])
def test_mstl_forecasts_the_rest_with_the_trend_that_is_asked_for(trend: str) -> None:
    line = 100 + 0.5 * np.arange(len(TIMES)) + 30 * WEEK
    predicted = forecast("mstl", line, trend=trend)
    assert np.abs(predicted - line[-HORIZON:]).max() < 4


def test_the_trends_of_mstl_differ() -> None:
    noisy = GROWING + np.random.default_rng(3).normal(0, 3, len(GROWING))
    forecasts = [forecast("mstl", noisy, trend=trend) for trend in ("theta", "drift", "holt")]
    assert len({found.tobytes() for found in forecasts}) == 3


def test_on_logarithms_mstl_meets_a_swing_that_grows_with_the_level() -> None:
    assert error(forecast("mstl", trend="drift", log=True)) < 0.02
    assert error(forecast("mstl", trend="drift")) > 0.05


@pytest.mark.parametrize("family", ["mstl", "linear"])
def test_a_forecast_on_logarithms_is_that_of_the_logarithms_taken_back(family: str) -> None:
    noisy = GROWING * np.exp(np.random.default_rng(3).normal(0, 0.1, len(GROWING)))
    np.testing.assert_allclose(forecast(family, noisy, log=True), np.exp(forecast(family, np.log(noisy))))


@pytest.mark.parametrize("family", ["mstl", "linear"])
def test_where_a_value_is_not_positive_the_series_is_taken_as_it_is(family: str) -> None:
    values = GROWING.copy()
    values[5] = 0.0
    np.testing.assert_array_equal(forecast(family, values, log=True), forecast(family, values))
