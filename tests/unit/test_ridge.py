"""Ridge regression in closed form gives what scikit-learn's scaler and ridge give, to a billionth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from manymodels_spark.families.base import Problem
from manymodels_spark.families.features import LagFeatures
from manymodels_spark.families.linear import Linear
from manymodels_spark.families.options import LinearOptions
from manymodels_spark.families.ridge import Ridge

DAILY = Problem("forecast", "units", "date", "D", season=7, horizon=28)


def rows_of(count: int, level: float = 60.0) -> pd.DataFrame:
    noise, step = np.random.default_rng(4), np.arange(count)
    promotion = (noise.random(count) < 0.1).astype(float)
    units = (
        level + 0.05 * step + 9 * np.sin(2 * np.pi * step / 7) + 20 * promotion + noise.normal(0, 3, count)
    )
    dates = pd.date_range("2022-01-01", periods=count)
    return pd.DataFrame({"date": dates, "units": units, "promotion": promotion})


def by_scikit_learn(
    family: Linear, train: pd.DataFrame, future: pd.DataFrame, problem: Problem
) -> np.ndarray:
    """The forecast of the pipeline, one step after another."""
    features = LagFeatures(family._lags(problem), problem.known_future, True, problem.holidays)
    target, start = train["units"].to_numpy(), features.lags[-1]
    model = make_pipeline(StandardScaler(), SklearnRidge(family.options.alpha))
    model.fit(features.matrix(target, train, problem)[start:], target[start:])
    return features.forecast(model, target[-start:], future, problem)


@pytest.mark.parametrize("count", [40, 400, 4_000])
@pytest.mark.parametrize("options", [{}, {"alpha": 100.0}, {"lags": [1, 28]}, {"lags": [30]}])
@pytest.mark.parametrize("level", [60.0, 1e6])
def test_forecasts_equal_scikit_learns(count: int, options: dict[str, Any], level: float) -> None:
    problem = replace(DAILY, known_future=("promotion",), holidays="ES")
    rows, family = rows_of(count + 28, level), Linear(LinearOptions(**options))
    train, future = rows.head(count), rows.tail(28)
    ours = family.predict(family.fit(train, problem), future, problem)
    np.testing.assert_allclose(ours, by_scikit_learn(family, train, future, problem), rtol=1e-9)


def test_constant_and_repeated_columns_get_the_weights_of_scikit_learn() -> None:
    noise = np.random.default_rng(1)
    base = noise.normal(size=(200, 2))
    X = np.column_stack([base, base[:, 0], np.full(200, 7.3), np.full(200, 1e9)])
    y = base @ [2.0, -1.0] + noise.normal(size=200)
    for alpha in (1e-3, 5.0):
        pipeline = make_pipeline(StandardScaler(), SklearnRidge(alpha)).fit(X, y)
        np.testing.assert_allclose(
            Ridge.fit(X, y, alpha).predict(X), pipeline.predict(X), rtol=1e-9, atol=1e-9
        )
    design = np.column_stack([base, np.ones(200)])
    least_squares = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    np.testing.assert_allclose(Ridge.fit(X, y, 0.0).predict(X), least_squares, rtol=1e-9, atol=1e-9)


def test_a_stored_model_predicts_the_same_and_an_older_payload_still_loads() -> None:
    rows, family = rows_of(200), Linear(LinearOptions())
    model = family.fit(rows.head(172), DAILY)
    stored = orjson.loads(orjson.dumps(family.dump(model), option=orjson.OPT_SERIALIZE_NUMPY))
    predicted = family.predict(model, rows.tail(28), DAILY)
    np.testing.assert_array_equal(family.predict(family.load(stored), rows.tail(28), DAILY), predicted)
    features, target = LagFeatures(family._lags(DAILY), (), True, None), rows["units"].to_numpy()[:172]
    start = features.lags[-1]
    matrix = features.matrix(target, rows.head(172), DAILY)[start:]
    pipeline = make_pipeline(StandardScaler(), SklearnRidge(1.0)).fit(matrix, target[start:])
    older = super(Linear, family).dump(replace(model, estimator=pipeline))
    np.testing.assert_allclose(family.predict(family.load(older), rows.tail(28), DAILY), predicted, rtol=1e-9)
