"""Bounds, whole numbers and quantiles: applied before a candidate is judged, and to everything predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders import make_spec

from manymodels_spark.errors import SpecError
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.bounds import Bounds
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.metrics import pinball
from manymodels_spark.modeling.predict import predict_partition
from manymodels_spark.modeling.results import FitResult
from manymodels_spark.spec import parse_spec

KEY = PartitionKey.of({"store": 1})
MINIMAL = """
name: sales
source: {csv: data.csv}
partition_by: [store]
columns: {time: date, target: units}
horizon: 7
"""


def fitted(units: np.ndarray, **changes: Any) -> FitResult:
    rows = pd.DataFrame({"date": pd.date_range("2025-01-01", periods=len(units)), "units": units})
    return fit_partition(rows, make_spec(Path("unused"), **{"backtest": {"folds": 4}, **changes}), KEY)


def predicted(result: FitResult, **asked: Any) -> pd.DataFrame:
    assert result.payload is not None
    return predict_partition(result.payload, **asked)


def test_ends_of_intervals_of_whole_numbers_are_the_whole_numbers_inside() -> None:
    whole = Bounds(minimum=0, integer=True)
    assert whole.lower(np.array([-1.0, 1.2, 2.0000001])).tolist() == [0, 2, 2]
    assert whole.upper(np.array([3.9, 2.9999999])).tolist() == [3, 3]
    assert whole.applied(np.array([-0.4, 2.6])).tolist() == [0, 3]


def test_a_falling_line_is_judged_and_predicted_within_its_bounds() -> None:
    units = np.maximum(np.linspace(100, -20, 60), 0)
    free, bounded = (fitted(units, candidates=["drift"], predict=predict) for predict in ({}, {"minimum": 0}))
    assert (predicted(free)["prediction"] < 0).any()
    columns = predicted(bounded).drop(columns="date")
    assert (columns >= 0).all(axis=None)
    assert bounded.metrics["mae"] < free.metrics["mae"]


def test_whole_numbers_are_predicted_as_such_and_hold_what_they_promise() -> None:
    noise, inside = np.random.default_rng(3), []
    for _ in range(60):
        units = noise.poisson(1.5, 134).astype(float)
        predict = {"minimum": 0, "maximum": 6, "integer": True}
        found = predicted(fitted(units[:120], horizon=14, candidates=["mean"], predict=predict))
        numbers = found.drop(columns="date").to_numpy()
        assert (numbers == np.rint(numbers)).all() and numbers.min() >= 0 and numbers.max() <= 6
        inside.append(((units[120:] >= found["lower_80"]) & (units[120:] <= found["upper_80"])).mean())
    assert np.mean(inside) > 0.78


def test_intervals_of_skewed_demand_reach_further_up_than_down_and_those_of_even_noise_do_not() -> None:
    noise = np.random.default_rng(4)
    parts: dict[str, Any] = {"horizon": 14, "candidates": ["mean"]}
    skewed, even = (
        predicted(fitted(units, **parts)).iloc[0]
        for units in (noise.gamma(1, 20, 200), noise.normal(100, 5, 200))
    )
    up, down = (
        [row["upper_95"] - row["prediction"] for row in (skewed, even)],
        [row["prediction"] - row["lower_95"] for row in (skewed, even)],
    )
    assert up[0] > 1.5 * down[0]
    assert up[1] == pytest.approx(down[1], rel=0.2)


def test_quantiles_are_columns_judged_by_their_pinball_loss() -> None:
    noise, asked = np.random.default_rng(8), {"quantiles": [0.1, 0.5, 0.9]}
    promised, came, below = [], [], []
    for _ in range(60):
        units = noise.gamma(2, 20, 154)
        result = fitted(units[:140], horizon=14, candidates=["mean"], predict=asked)
        found, actual = predicted(result), units[140:]
        assert list(found.columns)[-3:] == ["quantile_10", "quantile_50", "quantile_90"]
        promised.append(result.metrics["pinball_90"])
        came.append(pinball(actual, found["quantile_90"].to_numpy(), 0.9))
        below.append([(actual < found[name]).mean() for name in found.columns[-3:]])
    assert np.mean(promised) / np.mean(came) == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(np.mean(below, axis=0), [0.1, 0.5, 0.9], atol=0.06)


def test_bounds_and_quantiles_are_refused_of_classes() -> None:
    text = MINIMAL.replace("horizon: 7", "task: classification") + "predict: {minimum: 0}\n"
    with pytest.raises(SpecError, match="predict: classes have neither bounds nor quantiles"):
        parse_spec(text)


def test_minimum_above_maximum_and_a_quantile_twice_are_mistakes() -> None:
    with pytest.raises(SpecError, match="minimum 3.0 is not below maximum 2.0"):
        parse_spec(MINIMAL + "predict: {minimum: 3, maximum: 2}\n")
    with pytest.raises(SpecError, match="0.5 stands twice"):
        parse_spec(MINIMAL + "predict: {quantiles: [0.5, 0.9, 0.5]}\n")
