"""What a spec that names no candidates gets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from manymodels_spark.families import registry
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.results import FitResult
from manymodels_spark.spec import Spec
from manymodels_spark.spec.defaults import (
    BY_TASK,
    DAILY,
    FORECASTS,
    HOURLY,
    MONTHLY,
    QUARTERLY,
    WEEKLY,
    YEARLY,
    Candidates,
)


def spec(**parts: Any) -> Spec:
    five = {"name": "sales", "partition_by": ["store"], "source": {"csv": "sales.csv"}, "horizon": 13}
    return Spec.model_validate({**five, "columns": {"time": "date", "target": "units"}, **parts})


def names(found: Spec) -> list[str]:
    return [candidate.family for candidate in found.candidates]


@pytest.mark.parametrize("frequency", ["W", "W-MON", "week"])
def test_a_weekly_spec_without_candidates_tries_many_and_weighs_the_best(frequency: str) -> None:
    found = spec(columns={"time": "date", "target": "units", "frequency": frequency})
    assert names(found) == [name for one in WEEKLY for name in one]
    assert found.combine == "weighted_best_6"


def test_a_weekly_spec_keeps_what_it_says_itself() -> None:
    weekly = {"time": "date", "target": "units", "frequency": "W"}
    assert spec(columns=weekly, combine="best").combine == "best"
    named = spec(columns=weekly, candidates=["naive"])
    assert (names(named), named.combine) == (["naive"], "best")


def test_a_task_without_a_choice_of_its_own_has_two_candidates_and_takes_the_best() -> None:
    found = spec(task="regression")
    assert (names(found), found.combine) == (["gradient_boosting", "linear"], "best")


@pytest.mark.parametrize(
    ("frequency", "combine", "candidates"),
    [
        ("YE", "median_best_3", YEARLY),
        ("QE", "mean_best_4", QUARTERLY),
        ("ME", "median_best_5", MONTHLY),
        ("day", "weighted_best_3", DAILY),
        ("hour", "weighted_best_4", HOURLY),
    ],
)
def test_a_forecast_without_candidates_has_those_of_its_frequency(
    frequency: str, combine: str, candidates: Candidates
) -> None:
    found = spec(columns={"time": "date", "target": "units", "frequency": frequency})
    assert (names(found), found.combine) == ([name for one in candidates for name in one], combine)


def test_a_spec_that_names_no_frequency_is_daily_and_lets_the_profile_rule_out() -> None:
    found = spec(backtest={"folds": 5})
    assert names(found) == [name for one in DAILY for name in one]
    assert (found.backtest.folds, found.backtest.rule_out) == (5, True)
    assert spec(backtest={"rule_out": False}).backtest.rule_out is False
    assert spec(candidates=["naive"]).backtest.rule_out is False


@pytest.mark.parametrize("frequency", FORECASTS)
def test_every_default_candidate_is_a_family_that_forecasts_with_options_that_it_knows(
    frequency: str,
) -> None:
    listed = {"candidates": FORECASTS[frequency][1]}
    assert list(registry.candidate_mistakes(listed, "forecast")) == []


@pytest.mark.parametrize("task", BY_TASK)
def test_every_default_candidate_is_a_family_of_its_task_with_options_that_it_knows(task: str) -> None:
    assert list(registry.candidate_mistakes({"candidates": BY_TASK[task]}, task)) == []


def daily(values: np.ndarray) -> FitResult:
    rows = pd.DataFrame({"date": pd.date_range("2025-01-01", periods=len(values)), "units": values})
    return fit_partition(rows, spec(), PartitionKey.of({"store": 1}))


def test_rare_demand_is_forecast_by_families_made_for_it() -> None:
    noise = np.random.default_rng(3)
    result = daily((noise.random(200) < 0.2) * noise.integers(1, 9, 200).astype(float))
    tried = {score.candidate for score in result.scores if not (score.error or "").startswith("ruled out")}
    assert {"croston(variant=sba)", "tsb"} <= tried
    assert not any(name.startswith("mstl") for name in tried)
    rmsse = {s.candidate: s.metrics["rmsse"] for s in result.scores if s.candidate in tried and s.metrics}
    single = sorted(rmsse[name] for name in rmsse if not name.startswith("weighted"))
    members = sorted(rmsse[name] for name in result.options)
    assert members == single[: len(members)]


def test_steady_demand_is_not_given_to_families_of_rare_demand() -> None:
    result = daily(100 + np.random.default_rng(3).normal(0, 5, 200))
    assert not set(result.families) & {"croston", "tsb"}
