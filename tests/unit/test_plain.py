"""A scikit-learn pipeline as plain numpy predicts what the pipeline itself does, to the bit."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders import make_spec
from hypothesis import given, settings
from hypothesis import strategies as st

from manymodels_spark.families.numpy_pipeline import plain
from manymodels_spark.families.sklearn import Fitted, _plain
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.predict import LoadedPartition

FEATURES = ["pressure", "age", "pump", "flow"]
NUMBER = st.floats(-1e6, 1e6) | st.none()
ROW = st.tuples(NUMBER, NUMBER, st.sampled_from(["north", "south", "never seen", None]), NUMBER)
CASES = [
    ("regression", "linear"),
    ("classification", "linear"),
    ("regression", "gradient_boosting"),
    ("classification", "random_forest"),
]


@lru_cache
def model_of(task: str, family: str) -> LoadedPartition:
    generator = np.random.default_rng(5)
    rows = pd.DataFrame({name: generator.normal(size=60) for name in FEATURES})
    rows["pump"] = generator.choice(["north", "south", None], 60)
    rows.loc[::9, "age"] = np.nan
    rows["y"] = (
        rows["pressure"] * 3 + rows["flow"]
        if task == "regression"
        else np.where(rows["flow"] > 0, "yes", "no")
    )
    small = {"linear": {}, "gradient_boosting": {"iterations": 4}, "random_forest": {"trees": 3}}[family]
    columns = {"target": "y", "features": FEATURES}
    spec = make_spec(
        Path("unused"), task=task, columns=columns, candidates=[{family: small}], backtest={"folds": 1}
    )
    result = fit_partition(rows, spec, PartitionKey.of({"well": 1}))
    assert result.payload is not None, result.failure
    return LoadedPartition(result.payload)


def by_scikit_learn(fitted: Fitted, rows: pd.DataFrame) -> Any:
    frame = _plain(rows[FEATURES], fitted.text)
    return fitted.estimator.predict_proba(frame) if fitted.labels else fitted.estimator.predict(frame)


@pytest.mark.parametrize(("task", "family"), CASES)
@settings(max_examples=15, deadline=None)
@given(data=st.lists(ROW, min_size=1, max_size=5))
def test_rows_as_a_frame_and_as_columns_predict_what_scikit_learn_does(task, family, data):
    ((adapter, fitted),) = (model := model_of(task, family))._members
    rows = pd.DataFrame(data, columns=FEATURES).astype({name: float for name in FEATURES if name != "pump"})
    table = {name: rows[name].to_numpy(dtype=object if name == "pump" else np.float64) for name in FEATURES}

    expected = by_scikit_learn(fitted, rows)

    assert fitted.quick is not None
    np.testing.assert_array_equal(adapter.predict(fitted, rows, model.problem), expected)
    np.testing.assert_array_equal(adapter.predict_table(fitted, table, model.problem), expected)


@settings(max_examples=10, deadline=None)
@given(horizon=st.integers(1, 40), lags=st.sampled_from([[1], [1, 7], [7], [2, 3]]))
def test_a_forecast_on_lags_predicts_what_scikit_learn_does(horizon, lags):
    units = pd.DataFrame(
        {"date": pd.date_range("2026-01-01", periods=60), "units": np.arange(60) % 7 + np.arange(60) * 0.1}
    )
    columns = {"time": "date", "target": "units"}
    boosting = {"gradient_boosting": {"lags": lags, "iterations": 4}}
    spec = make_spec(Path("unused"), columns=columns, candidates=[boosting], backtest={"folds": 1})
    payload = fit_partition(units, spec, PartitionKey.of({"store": 1})).payload
    assert payload is not None
    ((adapter, fitted),) = (model := LoadedPartition(payload))._members
    future = pd.DataFrame({"date": pd.date_range("2026-03-02", periods=horizon)})

    expected = fitted.features.forecast(fitted.estimator, fitted.tail, future, model.problem)

    np.testing.assert_array_equal(adapter.predict(fitted, future, model.problem), expected)


def test_infinite_numbers_are_refused_as_scikit_learn_refuses_them():
    ((adapter, fitted),) = (model := model_of("regression", "linear"))._members
    table = {
        "pressure": np.array([np.inf]),
        "age": np.array([1.0]),
        "pump": np.array(["north"], dtype=object),
        "flow": np.array([1.0]),
    }

    with pytest.raises(ValueError, match="infinity"):
        adapter.predict_table(fitted, table, model.problem)


def test_a_pipeline_of_other_steps_is_left_to_scikit_learn():
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    assert plain(make_pipeline(MinMaxScaler(), Ridge()).fit([[0.0], [1.0]], [0.0, 1.0])) is None
