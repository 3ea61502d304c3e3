"""Which models a rule of retention lets go, by number, by age, and by both."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from manymodels_spark.stages.maintain.retire import expired
from manymodels_spark.tracking.records import Registered

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def model(partition: str, days: float, *, ready: bool = True) -> Registered:
    """A model of that age."""
    created = int((NOW - timedelta(days=days)).timestamp() * 1000)
    return Registered(f"{partition}{days:g}", partition, "", {}, {}, created, ready)


MODELS = [model("a", days) for days in (1, 8, 15, 22)] + [model("b", days) for days in (30, 60)]


@pytest.mark.parametrize(
    ("keep", "days", "gone"),
    [
        (2, None, {"a15", "a22"}),
        (1, None, {"a8", "a15", "a22", "b60"}),
        (None, 10, {"a15", "a22", "b30", "b60"}),
        (None, 90, set()),
        (1, 10, {"a15", "a22", "b60"}),
        (3, 10, {"a22"}),
    ],
)
def test_models_go_by_number_by_age_and_by_both(keep: int | None, days: int | None, gone: set[str]) -> None:
    age = None if days is None else timedelta(days=days)
    assert {one.model_id for one in expired(MODELS, keep, age, NOW)} == gone


def test_a_model_that_was_begun_and_never_finished_goes_after_a_day_and_counts_for_nothing_before() -> None:
    models = [model("a", 0.5, ready=False), model("a", 2, ready=False), model("a", 3), model("a", 4)]
    assert {one.model_id for one in expired(models, 1, None, NOW)} == {"a2", "a4"}
