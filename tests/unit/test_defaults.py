"""What a spec that names no candidates gets."""

from __future__ import annotations

from typing import Any

import pytest

from manymodels_spark.families import registry
from manymodels_spark.spec import Spec
from manymodels_spark.spec.defaults import BY_TASK, WEEKLY


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


def test_other_frequencies_and_tasks_have_a_few_candidates_and_take_the_best() -> None:
    daily = spec()
    assert (names(daily), daily.combine) == ([name for one in BY_TASK["forecast"] for name in one], "best")
    assert names(spec(task="regression")) == [name for one in BY_TASK["regression"] for name in one]


@pytest.mark.parametrize("task", [*BY_TASK, "weekly"])
def test_every_default_candidate_is_a_family_of_its_task_with_options_that_it_knows(task: str) -> None:
    candidates = WEEKLY if task == "weekly" else BY_TASK[task]
    listed = {"candidates": candidates}
    assert list(registry.candidate_mistakes(listed, "forecast" if task == "weekly" else task)) == []
