"""How members become one prediction: mean, median, weights by the backtest's losses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders import make_spec
from hypothesis import given
from hypothesis import strategies as st

from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.ensemble import combined, weights_of
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.payload import open_payload
from manymodels_spark.modeling.predict import predict_partition
from manymodels_spark.modeling.results import FitResult

ROWS = pd.DataFrame(
    {
        "date": pd.date_range("2026-01-01", periods=60),
        "units": 50 + 10 * np.sin(np.arange(60) * 2 * np.pi / 7) + np.random.default_rng(2).normal(0, 1, 60),
    }
)
LOSSES = st.lists(st.floats(0, 1e6), min_size=1, max_size=9)


def fit(**changes: Any) -> FitResult:
    return fit_partition(
        ROWS, make_spec(Path("unused"), backtest={"folds": 2}, **changes), PartitionKey.of({"store": 3})
    )


@given(LOSSES)
def test_weights_add_up_to_one_and_a_smaller_loss_never_weighs_less(losses: list[float]) -> None:
    weights = weights_of(losses)
    assert sum(weights) == pytest.approx(1)
    by_loss = [
        weight
        for _, weight in sorted(zip(losses, weights, strict=True), key=lambda pair: (pair[0], -pair[1]))
    ]
    assert by_loss == sorted(weights, reverse=True)


def test_half_the_loss_weighs_four_times_as_much() -> None:
    assert weights_of([0.1, 0.2]) == pytest.approx([0.8, 0.2])


def test_members_without_loss_take_all_and_losses_that_say_nothing_weigh_equal() -> None:
    assert weights_of([0.0, 0.3, 0.0]) == [0.5, 0.0, 0.5]
    assert weights_of([-0.9, -0.8]) == [0.5, 0.5]
    assert weights_of([0.1, math.nan]) == [0.5, 0.5]


def test_predictions_are_combined_as_said() -> None:
    members = [np.array([1.0, 2.0]), np.array([2.0, 4.0]), np.array([9.0, 9.0])]
    assert combined(members, "mean").tolist() == [4.0, 5.0]
    assert combined(members, "median").tolist() == [2.0, 4.0]
    assert combined(members, "weighted", [2.0, 2.0, 0.0]).tolist() == [1.5, 3.0]
    assert combined(members[:1], "median").tolist() == [1.0, 2.0]


def test_a_weighted_champion_predicts_its_members_mean_weighted_by_their_backtests() -> None:
    candidates = ["theta", "seasonal_naive", "auto_ets"]
    result = fit(candidates=candidates, combine="weighted_best_2")
    assert result.payload is not None
    assert result.family == "weighted_best_2"
    assert [score.candidate for score in result.scores] == [*candidates, "weighted_best_2"]
    losses = {score.candidate: score.metrics["wape"] for score in result.scores[:-1]}
    weights = weights_of([losses[name] for name in result.families])
    assert open_payload(result.payload)["weights"] == pytest.approx(weights)
    alone = [fit(candidates=[name]).payload for name in result.families]
    members = [predict_partition(payload)["prediction"].to_numpy() for payload in alone if payload]
    found = predict_partition(result.payload)["prediction"].to_numpy()
    np.testing.assert_allclose(found, weights[0] * members[0] + weights[1] * members[1])
    assert result.scores[-1].metrics["wape"] == pytest.approx(result.metrics["wape"], rel=0.5)
