"""Business rules of a promotion."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.spec.rules import Promote
from manymodels_spark.stages.promote.gates import Decision, Facts, judge

NOW = datetime(2026, 11, 24)


def facts(rows: int = 100, folds: int = 3, days_old: float = 0, **metrics: float) -> Facts:
    return Facts("store=1", "theta", metrics, rows, folds, NOW - timedelta(days=days_old))


def decide(
    rules: dict[str, Any], candidate: Facts, champion: Facts | None = None, metric: str = "wape"
) -> Decision:
    return judge(Promote.model_validate(rules), metric, candidate, champion, NOW)


def only_even_rows(candidate: Facts, champion: Facts | None) -> bool:
    return candidate.rows % 2 == 0


def tells_its_numbers(candidate: Facts, champion: Facts | None) -> tuple[bool, str]:
    return candidate.rows > 50, f"{candidate.rows} rows of 50"


def breaks(candidate: Facts, champion: Facts | None) -> bool:
    raise KeyError("stock")


def test_without_gates_everything_passes() -> None:
    assert decide({}, facts()).passed


@pytest.mark.parametrize(
    ("accuracy", "passed"), [(0.81, True), (0.80, False), (0.2, False), (float("nan"), False)]
)
def test_accuracy_above_a_bound(accuracy: float, passed: bool) -> None:
    assert decide({"all": [{"metric": "accuracy", "above": 0.8}]}, facts(accuracy=accuracy)).passed is passed


def test_a_missing_metric_fails_its_gate() -> None:
    assert not decide({"all": [{"metric": "wape", "below": 0.3}]}, facts(smape=0.1)).passed


@pytest.mark.parametrize(("own", "passed"), [(0.198, True), (0.199, False), (0.3, False)])
def test_better_than_the_champion_by_a_margin(own: float, passed: bool) -> None:
    rules = {"all": [{"better_than": "champion", "by": "1%"}]}
    assert decide(rules, facts(wape=own), facts(wape=0.2)).passed is passed


@pytest.mark.parametrize(("own", "passed"), [(0.1, True), (-0.1, True), (0.3, False), (-5.0, False)])
def test_a_bias_counts_by_its_size(own: float, passed: bool) -> None:
    assert decide({"all": [{"metric": "bias", "below": 0.25}]}, facts(bias=own)).passed is passed
    for champion in (0.25, -0.25):
        rules = {"all": [{"better_than": "champion"}]}
        assert decide(rules, facts(bias=own), facts(bias=champion), metric="bias").passed is passed


def test_the_first_model_of_a_partition_needs_to_beat_nobody() -> None:
    assert decide({"all": [{"better_than": "champion"}]}, facts(wape=0.5)).passed


def newer(family: str, wape: float, **scores: float) -> Facts:
    """A candidate on newer rows than `facts`, with what each recipe scored on its folds."""
    tried = {name: {"wape": value} for name, value in {family: wape, **scores}.items()}
    return Facts("store=1", family, {"wape": wape}, 107, 3, NOW, "2026-11-23", tried)


@pytest.mark.parametrize(("own", "passed"), [(0.29, True), (0.2999, False)])
def test_on_newer_rows_the_champions_recipe_is_compared_on_the_same_folds(own: float, passed: bool) -> None:
    rules = {"all": [{"better_than": "champion", "by": "1%"}]}
    easy_weeks = facts(wape=0.1)
    decision = decide(rules, newer("prophet", own, theta=0.3), easy_weeks)
    assert decision.passed is passed
    assert (
        decision.verdicts[0].numbers == f"wape {own:.4g}, champion 0.3 (its theta on the same folds), by 1.0%"
    )


def test_the_champions_own_recipe_on_newer_rows_has_nothing_to_beat() -> None:
    decision = decide(
        {"all": [{"better_than": "champion", "by": "1%"}]}, newer("theta", 0.5), facts(wape=0.1)
    )
    assert decision.passed
    assert decision.verdicts[0].numbers == "theta, the champion's own recipe, on newer rows"
    refolded = decide({"all": [{"better_than": "champion"}]}, facts(folds=2, wape=0.5), facts(wape=0.1))
    assert refolded.verdicts[0].numbers == "theta, the champion's own recipe, with other folds"


def test_a_champion_whose_recipe_is_no_candidate_any_more_is_taken_at_its_word() -> None:
    decision = decide({"all": [{"better_than": "champion"}]}, newer("prophet", 0.2), facts(wape=0.1))
    assert not decision.passed
    assert "on its own folds, since theta is no candidate any more" in decision.verdicts[0].numbers


def test_where_more_is_better_the_margin_points_upwards() -> None:
    rules = {"all": [{"better_than": "champion", "by": 0.1}]}
    assert decide(rules, facts(accuracy=0.9), facts(accuracy=0.8), "accuracy").passed
    assert not decide(rules, facts(accuracy=0.85), facts(accuracy=0.8), "accuracy").passed


@pytest.mark.parametrize(
    ("own", "champion", "passed"),
    [
        (-0.52, -0.50, False),
        (-0.50, -0.50, False),
        (-0.474, -0.50, True),
        (0.01, -0.50, True),
        (0.53, 0.5, True),
    ],
)
def test_where_more_is_better_a_margin_on_a_negative_metric_points_upwards_too(
    own: float, champion: float, passed: bool
) -> None:
    rules = {"all": [{"better_than": "champion", "by": "5%"}]}
    assert decide(rules, facts(r2=own), facts(r2=champion), "r2").passed is passed


def test_any_requires_one_of_them_and_all_requires_each() -> None:
    two = [{"metric": "wape", "below": 0.3}, {"rows": 1000}]
    assert decide({"any": two}, facts(wape=0.2)).passed
    assert not decide({"all": two}, facts(wape=0.2)).passed
    assert not decide({"any": two}, facts(wape=0.4)).passed


def test_coverage_age_rows_and_folds() -> None:
    candidate = facts(rows=50, folds=2, days_old=3, coverage_80=0.78)
    assert decide({"all": [{"coverage": 80, "within": [0.7, 0.9]}]}, candidate).passed
    assert not decide({"all": [{"coverage": 80, "within": [0.79, 0.9]}]}, candidate).passed
    assert decide({"all": [{"max_age_days": 3}, {"rows": 50}, {"folds": 2}]}, candidate).passed
    assert not decide({"all": [{"max_age_days": 2}]}, candidate).passed


def test_a_users_own_function_decides() -> None:
    rules = {"all": [{"function": f"{__name__}:only_even_rows"}]}
    assert decide(rules, facts(rows=2)).passed
    assert not decide(rules, facts(rows=3)).passed
    told = decide({"all": [{"function": f"{__name__}:tells_its_numbers"}]}, facts(rows=20))
    assert told.reason == f"failed: {__name__}:tells_its_numbers 20 rows of 50"
    broken = decide({"all": [{"function": f"{__name__}:breaks"}]}, facts())
    assert broken.reason == f"failed: {__name__}:breaks raised KeyError: 'stock'"
    with pytest.raises(ManyModelsError, match="cannot be imported"):
        decide({"all": [{"function": "no.such:thing"}]}, facts())


def test_the_reason_names_what_failed_first_with_its_numbers() -> None:
    decision = decide({"all": [{"rows": 10}, {"metric": "wape", "below": 0.35}]}, facts(wape=0.5))
    assert decision.reason == "failed: wape 0.5, required below 0.35; held: 100 rows, at least 10"
