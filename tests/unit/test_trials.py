"""The backtest of one partition, to look at: the predictions behind the metrics that the fit reports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders import make_spec

from manymodels_spark.errors import FitError
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.backtest_partition import backtest_partition
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.metrics import wape
from manymodels_spark.modeling.results import Status
from manymodels_spark.spec.model import Backtest, Candidate, Spec

KEY = PartitionKey.of({"store": 1, "item": "a"})
NAIVE, MEAN = Candidate(family="seasonal_naive"), Candidate(family="mean")
BROKEN = Candidate(family="linear", options={"lags": [500]})


def spec_of(**changes: Any) -> Spec:
    parts = {"candidates": [NAIVE, MEAN], "backtest": Backtest(folds=2, metric="wape")}
    return make_spec(Path("unused")).model_copy(update={**parts, **changes})


def weekly(days: int) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    units = np.tile([3.0, 5, 4, 6, 8, 12, 10], days // 7 + 1)[:days] + rng.normal(0, 0.3, days)
    return pd.DataFrame({"date": pd.date_range("2026-01-01", periods=days), "units": units})


def test_every_candidate_has_a_row_for_every_step_of_every_fold_latest_first() -> None:
    found = backtest_partition(weekly(60), spec_of(), KEY)
    assert found.groupby(["candidate", "fold"]).size().to_dict() == {
        ("seasonal_naive", 1): 7,
        ("seasonal_naive", 2): 7,
        ("mean", 1): 7,
        ("mean", 2): 7,
    }
    latest = found[(found["candidate"] == "mean") & (found["fold"] == 1)]
    assert list(latest["date"]) == list(pd.date_range("2026-02-23", periods=7))
    assert list(latest["actual"]) == list(weekly(60)["units"].tail(7))


@pytest.mark.parametrize("combine", ["best", "mean_best_2", "median_best_2", "weighted_best_2"])
def test_the_champions_predictions_give_its_score_over_all_folds_together(combine: str) -> None:
    spec, rows = spec_of(combine=combine), weekly(60)
    result, found = fit_partition(rows, spec, KEY), backtest_partition(rows, spec, KEY)
    champion = found[found["champion"]]
    assert set(champion["candidate"]) == {result.family}
    score = next(score for score in result.scores if score.candidate == result.family)
    value = wape(champion["actual"].to_numpy(), champion["prediction"].to_numpy())
    assert value == pytest.approx(score.metrics["wape"])


@pytest.mark.parametrize("combine", ["best", "mean_best_2", "median_best_2", "weighted_best_2"])
def test_a_fit_keeps_what_its_champion_predicted_of_each_fold_in_five_digits(combine: str) -> None:
    spec, rows = spec_of(combine=combine), weekly(60)
    result, found = fit_partition(rows, spec, KEY), backtest_partition(rows, spec, KEY)
    champion = found[found["champion"]]
    assert [fold.start for fold in result.folds] == ["2026-02-23T00:00:00", "2026-02-16T00:00:00"]
    for number, fold in enumerate(result.folds, start=1):
        wanted = champion.loc[champion["fold"] == number, "prediction"].to_numpy()
        assert fold.predictions == [float(f"{value:.5g}") for value in wanted]
    assert result == replace(
        fit_partition(rows.sample(frac=1, random_state=1), spec, KEY),
        seconds=result.seconds,
        family_seconds=result.family_seconds,
        scores=result.scores,
    )


def test_a_fit_without_a_backtest_keeps_no_folds() -> None:
    result = fit_partition(weekly(9), spec_of(fallback=MEAN), KEY)
    assert (result.status, result.folds) == (Status.FALLBACK, ())


def test_a_candidate_that_fails_is_left_out_and_where_all_do_the_table_is_empty() -> None:
    found = backtest_partition(weekly(60), spec_of(candidates=[BROKEN, MEAN]), KEY)
    assert set(found["candidate"]) == {"mean"}
    empty = backtest_partition(weekly(60), spec_of(candidates=[BROKEN]), KEY)
    assert list(empty.columns) == ["candidate", "champion", "fold", "date", "actual", "prediction"]
    assert empty.empty


def test_rows_that_allow_no_fold_are_refused_as_in_a_fit() -> None:
    with pytest.raises(FitError, match="14 rows, 15 needed for 1 fold of 7"):
        backtest_partition(weekly(14), spec_of(), KEY)


def test_a_classification_gives_the_likeliest_class_by_row() -> None:
    rows = pd.DataFrame({"heat": np.arange(60.0), "fails": np.where(np.arange(60) > 29, "yes", "no")})
    spec = make_spec(
        Path("unused"),
        task="classification",
        columns={"target": "fails", "features": ["heat"]},
        candidates=["linear"],
    )
    found = backtest_partition(rows, spec, KEY)
    assert set(found["prediction"]) == {"yes", "no"}
    assert (found["prediction"] == found["actual"]).mean() > 0.9
    assert list(found["actual"]) == list(rows["fails"][found["row"]])
