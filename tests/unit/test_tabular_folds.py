"""Folds of a table that has times or groups: forward in time, groups on one side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders import make_spec

from manymodels_spark.errors import FitError
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.folds import Fold, folds_of
from manymodels_spark.modeling.predict import predict_partition

KEY = PartitionKey.of({"well": 1})
TIMED = {"target": "fails", "time": "at", "features": ["x"]}
GROUPED = {"target": "fails", "group": "episode", "features": ["x"]}


def folds(rows: pd.DataFrame, columns: dict[str, Any], seed: int = 3, **backtest: Any) -> list[Fold]:
    spec = make_spec(
        Path("unused"), task="classification", columns=columns, candidates=["majority"], backtest=backtest
    )
    return folds_of(rows, spec, seed)


def table(count: int = 60) -> pd.DataFrame:
    """Two readings a day, episodes of ten readings, every third reading a failure."""
    times = pd.date_range("2026-01-01", periods=count // 2).repeat(2)
    number = np.arange(count)
    fails = np.where(number % 3 == 0, "yes", "no")
    return pd.DataFrame({"at": times, "x": number * 1.0, "fails": fails, "episode": number // 10})


def test_with_a_time_every_fold_is_tested_by_what_lies_before_it() -> None:
    rows = table()
    found = folds(rows, TIMED, folds=3)
    assert len(found) == 3
    for fold in found:
        assert rows["at"].iloc[fold.train].max() < rows["at"].iloc[fold.test].min()
    assert found[0].test[-1] == 59
    assert [len(fold.test) for fold in found] == [12, 12, 12]


def test_the_gap_is_a_time_before_the_rows_that_are_tested() -> None:
    rows = table()
    (fold,) = folds(rows, TIMED, folds=1, gap=7)
    assert rows["at"].iloc[fold.test].min() - rows["at"].iloc[fold.train].max() == pd.Timedelta(days=8)


def test_groups_stay_on_one_side_with_and_without_a_time() -> None:
    rows = table()
    for columns in (GROUPED, {**TIMED, "group": "episode"}):
        found = folds(rows, columns, folds=3)
        assert len(found) == 3
        for fold in found:
            assert not set(rows["episode"].iloc[fold.train]) & set(rows["episode"].iloc[fold.test])
    again = folds(rows, GROUPED, folds=3)
    assert [list(fold.test) for fold in again] == [list(fold.test) for fold in folds(rows, GROUPED, folds=3)]


def test_rows_without_a_group_are_groups_of_their_own_and_one_group_is_refused() -> None:
    rows = table().assign(episode=None)
    assert sum(len(fold.test) for fold in folds(rows, GROUPED, folds=3)) == 60
    with pytest.raises(FitError, match="all 60 rows are of one group"):
        folds(table().assign(episode=1), GROUPED, folds=3)


def test_a_fold_with_one_class_before_it_is_left_out_and_none_is_refused() -> None:
    rows = table()
    late = rows.assign(fails=np.where(rows.index < 30, "no", rows["fails"]))
    assert [fold.test[0] for fold in folds(late, TIMED, folds=4)] == [48, 36]
    with pytest.raises(FitError, match="no fold forward in time, nor rows of two classes"):
        folds(rows.assign(fails=np.where(rows.index < 55, "no", "yes")), TIMED, folds=3)


def test_rows_may_share_a_time_and_give_the_same_model_in_any_order() -> None:
    spec = make_spec(
        Path("unused"), task="classification", columns=TIMED, candidates=["linear"], backtest={"folds": 3}
    )
    first, again = (
        fit_partition(rows, spec, KEY) for rows in (table(), table().sample(frac=1, random_state=2))
    )
    assert first.failure is None
    assert first.sha256 == again.sha256


def test_random_walks_are_published_with_the_accuracy_that_later_rows_have() -> None:
    noise, published, came = np.random.default_rng(1), [], []
    spec = make_spec(
        Path("unused"),
        task="classification",
        columns={**TIMED, "features": ["x", "z"]},
        candidates=[{"gradient_boosting": {"iterations": 20}}],
        backtest={"folds": 4, "metric": "accuracy"},
    )
    for _ in range(10):
        x, z = np.cumsum(noise.normal(0, 1, (2, 400)), axis=1)
        # Failures last for days and come on their own: the sensors only say when a row was read.
        state = np.convolve(noise.normal(0, 1, 419), np.ones(20), "valid")
        fails = np.where(state > 0, "yes", "no")
        rows = pd.DataFrame({"at": pd.date_range("2025-01-01", periods=400), "x": x, "z": z, "fails": fails})
        result = fit_partition(rows[:320], spec, KEY)
        assert result.payload is not None
        published.append(result.metrics["accuracy"])
        guessed = predict_partition(result.payload, future=rows[320:])["prediction"]
        came.append((guessed == fails[320:]).mean())
    assert np.mean(published) < 0.65, "shuffled folds said 0.9"
    assert np.mean(published) == pytest.approx(np.mean(came), abs=0.1)
