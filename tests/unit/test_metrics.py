"""Every metric against values worked out by hand, against a second implementation, and against its laws."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as reference
import utilsforecast.losses as losses
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from manymodels_spark.modeling import metrics
from manymodels_spark.modeling.judged import Classes, pooled
from manymodels_spark.spec.metric_names import TASK_METRICS

ACTUAL = np.array([10.0, 20.0, 0.0, 30.0])
PREDICTED = np.array([12.0, 16.0, 0.0, 40.0])
TRAIN = np.array([1.0, 3.0, 2.0, 6.0, 4.0])
LABELS = ["a", "b", "b", "c"]
CLASSES = ["a", "b", "c"]
PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])

numbers = st.integers(-(10**9), 10**9).map(lambda number: number / 1000)
pairs = st.integers(1, 30).flatmap(
    lambda size: st.tuples(arrays(float, size, elements=numbers), arrays(float, size, elements=numbers))
)


@pytest.mark.parametrize(
    ("found", "by_hand"),
    [
        (metrics.mae(ACTUAL, PREDICTED), 16 / 4),
        (metrics.rmse(ACTUAL, PREDICTED), math.sqrt((4 + 16 + 0 + 100) / 4)),
        (metrics.bias(ACTUAL, PREDICTED), (2 - 4 + 0 + 10) / 4),
        (metrics.wape(ACTUAL, PREDICTED), 16 / 60),
        (metrics.smape(ACTUAL, PREDICTED), (2 * 2 / 22 + 2 * 4 / 36 + 0 + 2 * 10 / 70) / 4),
        (metrics.mase(ACTUAL, PREDICTED, TRAIN), 4 / ((2 + 1 + 4 + 2) / 4)),
        (metrics.mase(ACTUAL, PREDICTED, TRAIN, season=2), 4 / ((1 + 3 + 2) / 3)),
        (metrics.rmsse(ACTUAL, PREDICTED, TRAIN), math.sqrt(30 / ((4 + 1 + 16 + 4) / 4))),
        (metrics.rmsse(ACTUAL, PREDICTED, TRAIN, season=2), math.sqrt(30 / ((1 + 9 + 4) / 3))),
        (metrics.pinball(ACTUAL, PREDICTED), 16 / 4 / 2),
        (metrics.pinball(ACTUAL, PREDICTED, 0.9), (0.1 * 2 + 0.9 * 4 + 0 + 0.1 * 10) / 4),
        (metrics.coverage(ACTUAL, PREDICTED - 4, PREDICTED + 4), 3 / 4),
        (metrics.coverage(ACTUAL, PREDICTED, PREDICTED), 1 / 4),
        (metrics.r2(ACTUAL, PREDICTED), 1 - 120 / (25 + 25 + 225 + 225)),
        (metrics.accuracy(LABELS, ["a", "b", "a", "c"]), 3 / 4),
        (metrics.f1(LABELS, ["a", "b", "a", "c"]), (2 / 3 + 2 / 3 + 1) / 3),
        (metrics.f1(["a", "a"], ["b", "a"]), (2 / 3 + 0) / 2),
        (metrics.logloss(LABELS, PROBABILITIES, CLASSES), -(math.log(0.5 * 0.8 * 0.3 * 0.6)) / 4),
        (metrics.logloss(["z"], PROBABILITIES[:1], CLASSES), -math.log(1e-15)),
        # Class a: 0.5 beats 0.1 and 0.2, not 0.6. Class b: 0.8 and 0.3 against 0.3 and 0.2, one tie. Class c:
        # all.
        (metrics.auc(LABELS, PROBABILITIES, CLASSES), (2 / 3 + 3.5 / 4 + 1) / 3),
        (metrics.auc(["n", "y", "y"], np.array([[0.6, 0.4], [0.3, 0.7], [0.6, 0.4]]), ["n", "y"]), 0.75),
    ],
)
def test_a_metric_gives_the_value_worked_out_by_hand(found: float, by_hand: float) -> None:
    assert found == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (metrics.wape(np.zeros(3), np.zeros(3)), 0.0),
        (metrics.wape(np.zeros(3), np.ones(3)), math.nan),
        (metrics.smape(np.zeros(3), np.zeros(3)), 0.0),
        (metrics.smape(np.zeros(3), np.ones(3)), 2.0),
        (metrics.mase(ACTUAL, ACTUAL, np.full(5, 7.0)), 0.0),
        (metrics.mase(ACTUAL, PREDICTED, np.full(5, 7.0)), math.nan),
        (metrics.rmsse(ACTUAL, PREDICTED, np.full(5, 7.0)), math.nan),
        (metrics.mase(ACTUAL, PREDICTED, TRAIN, season=9), math.nan),
        (metrics.r2(np.full(3, 7.0), np.ones(3)), math.nan),
        (metrics.auc(["a", "a"], np.array([[0.4, 0.6], [0.7, 0.3]]), ["a", "b"]), math.nan),
    ],
)
def test_where_there_is_no_scale_a_metric_is_zero_without_error_and_nan_with_one(
    found: float, expected: float
) -> None:
    assert found == pytest.approx(expected, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_numeric_metrics_agree_with_scikit_learn_and_with_numpy_by_definition(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    actual, predicted = pair
    close = lambda value: pytest.approx(value, rel=1e-9, abs=1e-9)  # noqa: E731
    assert metrics.mae(actual, predicted) == close(reference.mean_absolute_error(actual, predicted))
    assert metrics.rmse(actual, predicted) == close(reference.root_mean_squared_error(actual, predicted))
    assert metrics.bias(actual, predicted) == close(np.sum(predicted - actual) / len(actual))
    for quantile in (0.1, 0.5, 0.9):
        wanted = reference.mean_pinball_loss(actual, predicted, alpha=quantile)
        assert metrics.pinball(actual, predicted, quantile) == close(wanted)
    if np.abs(actual).sum() > 0:
        wanted = np.average(
            np.abs((actual - predicted) / np.where(actual == 0, 1, actual)), weights=np.abs(actual)
        )
        wanted = wanted + np.abs(predicted[actual == 0]).sum() / np.abs(actual).sum()
        assert metrics.wape(actual, predicted) == close(wanted)
    if np.ptp(actual) > 1e-3:
        assert metrics.r2(actual, predicted) == pytest.approx(
            reference.r2_score(actual, predicted), rel=1e-6, abs=1e-6
        )


@pytest.mark.parametrize("season", [1, 4, 7])
def test_scaled_and_percentage_metrics_agree_with_utilsforecast(season: int) -> None:
    noise = np.random.default_rng(3)
    train, actual, predicted = noise.gamma(2, 10, 60), noise.gamma(2, 10, 14), noise.gamma(2, 10, 14)
    table = pd.DataFrame(
        {
            "unique_id": 1,
            "ds": range(14),
            "y": actual,
            "m": predicted,
            "lo": predicted - 9,
            "hi": predicted + 9,
        }
    )
    past = pd.DataFrame({"unique_id": 1, "ds": range(60), "y": train})

    def theirs(name: str, **arguments: object) -> float:
        return float(getattr(losses, name)(table, **{"models": ["m"], **arguments})["m"].iloc[0])

    scaled = {"seasonality": season, "train_df": past}
    assert metrics.mase(actual, predicted, train, season) == pytest.approx(theirs("mase", **scaled))
    assert metrics.rmsse(actual, predicted, train, season) == pytest.approx(theirs("rmsse", **scaled))
    # Theirs is from 0 to 1, that of the M4 competition from 0 to 2.
    assert metrics.smape(actual, predicted) == pytest.approx(2 * theirs("smape"))
    assert metrics.wape(actual, predicted) == pytest.approx(theirs("nd"))
    assert metrics.bias(actual, predicted) == pytest.approx(theirs("bias"))
    assert metrics.pinball(actual, predicted, 0.2) == pytest.approx(
        theirs("quantile_loss", models={"m": "m"}, q=0.2)
    )
    covered = losses.coverage(table.rename(columns={"lo": "m-lo-90", "hi": "m-hi-90"}), ["m"], 90)["m"].iloc[
        0
    ]
    assert metrics.coverage(actual, predicted - 9, predicted + 9) == pytest.approx(covered)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 4), st.integers(0, 2**32 - 1), st.integers(4, 40), st.booleans())
def test_class_metrics_agree_with_scikit_learn(classes: int, seed: int, size: int, ties: bool) -> None:
    noise = np.random.default_rng(seed)
    names = list("abcd"[:classes])
    actual = [*names, *noise.choice(names, max(0, size - classes))]
    raw = noise.random((len(actual), classes)) + 0.01
    raw = np.round(raw, 1) + 0.1 if ties else raw
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    guess = [names[i] for i in probabilities.argmax(axis=1)]
    found = pooled([Classes(actual, probabilities, names)])
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(actual, guess))
    assert found["f1"] == pytest.approx(reference.f1_score(actual, guess, average="macro", zero_division=0))
    assert found["logloss"] == pytest.approx(reference.log_loss(actual, probabilities, labels=names))
    scores = probabilities[:, 1] if classes == 2 else probabilities
    wanted = reference.roc_auc_score(
        np.array(actual), scores, multi_class="ovr", labels=None if classes == 2 else names
    )
    assert found["auc"] == pytest.approx(wanted)


SYMMETRIC: list[Callable[[np.ndarray, np.ndarray], float]] = [
    metrics.mae,
    metrics.rmse,
    metrics.smape,
    metrics.pinball,
]


@settings(max_examples=50, deadline=None)
@given(pairs, st.sampled_from(SYMMETRIC))
def test_errors_are_never_negative_zero_without_error_and_the_same_both_ways(
    pair: tuple[np.ndarray, np.ndarray], metric: Callable[[np.ndarray, np.ndarray], float]
) -> None:
    actual, predicted = pair
    assert metric(actual, predicted) >= 0
    assert metric(actual, actual) == 0
    assert metric(actual, predicted) == pytest.approx(metric(predicted, actual))


@settings(max_examples=50, deadline=None)
@given(pairs, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(pair: tuple[np.ndarray, np.ndarray], shuffle: object) -> None:
    actual, predicted = pair
    order = np.arange(len(actual))
    shuffle.shuffle(order)  # type: ignore[attr-defined]
    before = metrics.of_numbers(actual, predicted, TRAIN, 1)
    after = metrics.of_numbers(actual[order], predicted[order], TRAIN, 1)
    assert after == pytest.approx(before, rel=1e-9, abs=1e-9, nan_ok=True)


@settings(max_examples=50, deadline=None)
@given(pairs, st.floats(0.01, 100))
def test_relative_metrics_do_not_change_with_the_unit(
    pair: tuple[np.ndarray, np.ndarray], factor: float
) -> None:
    actual, predicted = np.round(pair[0], 3), np.round(pair[1], 3)
    for name in ("wape", "smape", "mase", "rmsse"):
        before = metrics.of_numbers(actual, predicted, TRAIN, 1)[name]
        after = metrics.of_numbers(actual * factor, predicted * factor, TRAIN * factor, 1)[name]
        assert after == pytest.approx(before, rel=1e-6, abs=1e-9, nan_ok=True)


@settings(max_examples=50, deadline=None)
@given(pairs)
def test_metrics_stay_within_their_bounds(pair: tuple[np.ndarray, np.ndarray]) -> None:
    actual, predicted = pair
    assert metrics.mae(actual, predicted) <= metrics.rmse(actual, predicted) * (1 + 1e-9) + 1e-12
    assert 0 <= metrics.smape(actual, predicted) <= 2 + 1e-12
    assert abs(metrics.bias(actual, predicted)) <= metrics.mae(actual, predicted) * (1 + 1e-9) + 1e-12
    assert not metrics.r2(actual, predicted) > 1
    assert 0 <= metrics.coverage(actual, predicted, predicted + 1) <= 1


def test_the_seasonal_naive_has_a_mase_of_one_inside_its_own_training_rows() -> None:
    series = np.random.default_rng(1).normal(50, 9, 84)
    assert metrics.mase(series[7:], series[:-7], series, 7) == pytest.approx(1)
    assert metrics.rmsse(series[7:], series[:-7], series, 7) == pytest.approx(1)


def test_all_metrics_that_a_spec_may_name_are_computed() -> None:
    forecast = metrics.of_numbers(ACTUAL, PREDICTED, TRAIN, 2)
    assert set(TASK_METRICS["forecast"]) <= set(forecast)
    assert set(TASK_METRICS["regression"]) <= set(metrics.of_numbers(ACTUAL, PREDICTED, np.empty(0), 1))
    assert set(pooled([Classes(LABELS, PROBABILITIES, CLASSES)])) == set(TASK_METRICS["classification"])
    assert forecast["mase"] == metrics.mase(ACTUAL, PREDICTED, TRAIN, 2)


def test_rows_shorter_than_a_season_are_scaled_by_the_step_before() -> None:
    assert metrics.of_numbers(ACTUAL, PREDICTED, TRAIN, 7)["mase"] == metrics.mase(
        ACTUAL, PREDICTED, TRAIN, 1
    )
    assert "mase" not in metrics.of_numbers(ACTUAL, PREDICTED, TRAIN[:1], 1)
