"""Folds: what is tested is never trained on, the newest rows are tested first, and rare classes stay
learnable.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders import make_spec
from hypothesis import given, settings
from hypothesis import strategies as st

from manymodels_spark.errors import FitError, Reason
from manymodels_spark.families import registry
from manymodels_spark.families.base import Problem
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.backtest import Backtest
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.folds import Fold, folds_of
from manymodels_spark.modeling.grid import table
from manymodels_spark.modeling.judged import pooled
from manymodels_spark.spec.model import Candidate

HERE = Path("unused")


def folds(rows: int, horizon: int = 7, **backtest: Any) -> list[Fold]:
    spec = make_spec(HERE, horizon=horizon, backtest=backtest)
    return folds_of(pd.DataFrame({"units": np.zeros(rows)}), spec, seed=3)


def class_folds(labels: list[str], wanted: int, seed: int = 3) -> list[Fold]:
    columns = {"target": "label", "features": ["x"]}
    spec = make_spec(
        HERE, task="classification", columns=columns, candidates=["majority"], backtest={"folds": wanted}
    )
    return folds_of(pd.DataFrame({"label": labels}), spec, seed)


def test_the_latest_fold_tests_the_last_horizon_and_each_earlier_one_the_step_before() -> None:
    found = folds(40, folds=3, step=5)
    assert [(fold.test[0], fold.test[-1]) for fold in found] == [(33, 39), (28, 34), (23, 29)]
    assert [len(fold.train) for fold in found] == [33, 28, 23]


def test_the_step_is_the_horizon_unless_it_is_given() -> None:
    assert [fold.test[0] for fold in folds(60, folds=3)] == [53, 46, 39]


def test_a_gap_keeps_rows_between_training_and_test() -> None:
    (fold,) = folds(40, folds=1, gap=4)
    assert (fold.train[-1], fold.test[0], fold.gap) == (28, 33, 4)


@pytest.mark.parametrize("gap", [0, 1, 4])
def test_after_a_gap_each_test_row_is_predicted_from_the_row_before_the_gap(gap: int) -> None:
    horizon, count = 3, 40
    rows = pd.DataFrame(
        {"date": pd.date_range("2026-01-01", periods=count), "units": np.arange(float(count))}
    )
    backtest = {"folds": 2, "gap": gap}
    spec = make_spec(HERE, horizon=horizon, candidates=["naive"], backtest=backtest)
    found = folds_of(rows, spec, seed=3)
    trial = Backtest(table(rows), found, Problem.of(spec)).tried(
        "naive", registry.build(Candidate(family="naive"))
    )
    assert trial.error is None
    for fold, predicted, judged in zip(found, trial.predictions, trial.judged, strict=True):
        errors = rows["units"].to_numpy()[fold.test] - predicted
        assert list(errors) == list(range(gap + 1, gap + horizon + 1))
        assert pooled([judged])["mae"] == np.mean(errors)
    result = fit_partition(rows, spec, PartitionKey.of({"store": 1}))
    assert result.metrics["mae"] == gap + (horizon + 1) / 2
    assert [fold.predictions for fold in result.folds] == [list(values) for values in trial.predictions]


@pytest.mark.parametrize("gap", [1, 4])
def test_the_steps_tested_are_those_after_the_gap_and_not_those_inside_it(gap: int) -> None:
    rows = pd.DataFrame({"date": pd.date_range("2026-01-01", periods=40), "units": np.arange(40.0)})
    spec = make_spec(HERE, horizon=3, candidates=["drift"], backtest={"folds": 2, "gap": gap})
    result = fit_partition(rows, spec, PartitionKey.of({"store": 1}))
    # A straight line goes on through the gap.
    assert [fold.predictions for fold in result.folds] == [[37.0, 38.0, 39.0], [34.0, 35.0, 36.0]]


def test_fewer_rows_give_fewer_folds_and_the_least_is_one_of_more_rows_than_the_horizon() -> None:
    assert len(folds(22, folds=3)) == 2
    assert len(folds(15, folds=3)) == 1
    with pytest.raises(FitError, match="14 rows, 15 needed for 1 fold of 7") as caught:
        folds(14, folds=3)
    assert caught.value.reason is Reason.TOO_SHORT


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 300), st.integers(1, 30), st.integers(1, 6), st.integers(1, 40), st.integers(0, 5))
def test_no_fold_ever_trains_on_what_it_tests_or_on_what_comes_later(
    rows: int, horizon: int, count: int, step: int, gap: int
) -> None:
    if rows < 2 * horizon + gap + 1:
        with pytest.raises(FitError, match="needed for 1 fold"):
            folds(rows, horizon, folds=count, step=step, gap=gap)
        return
    found = folds(rows, horizon, folds=count, step=step, gap=gap)
    assert 1 <= len(found) <= count
    for fold in found:
        assert len(fold.test) == horizon
        assert fold.train[-1] + gap + 1 == fold.test[0]
        assert len(fold.train) > horizon


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=10, max_size=60), st.integers(1, 50), st.integers(0, 2**31))
def test_folds_of_a_table_hold_each_row_out_once_at_most_and_train_on_every_class(
    labels: list[str], wanted: int, seed: int
) -> None:
    found = class_folds(labels, wanted, seed)
    tested = np.concatenate([fold.test for fold in found])
    assert len(set(tested)) == len(tested)
    names = np.asarray(labels)
    for fold in found:
        assert len(fold.test) > 0
        assert set(fold.train) == set(range(len(labels))) - set(fold.test)
        assert set(names[fold.train]) == set(labels)
    if wanted > 1:
        several = {label for label in labels if labels.count(label) > 1}
        assert sorted(tested) == [i for i, label in enumerate(labels) if label in several]


def test_one_fold_of_a_table_holds_out_a_fifth() -> None:
    (fold,) = class_folds(["a", "b"] * 25, 1)
    assert len(fold.test) == 10
    assert sorted(np.asarray(["a", "b"] * 25)[fold.test]) == ["a"] * 5 + ["b"] * 5


def test_the_same_seed_shuffles_the_same_way_and_another_one_differently() -> None:
    first, again, other = (class_folds(["a", "b"] * 25, 3, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a.test, b.test) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a.test, b.test) for a, b in zip(first, other, strict=True))


def test_rows_that_are_all_of_different_classes_have_no_fold() -> None:
    with pytest.raises(FitError, match="a class of two rows is needed"):
        class_folds([f"class {number}" for number in range(12)], 3)


def test_nine_rows_are_too_few_for_a_fold() -> None:
    with pytest.raises(FitError, match="9 rows, 10 needed"):
        class_folds(["a", "b", "b"] * 3, 3)
