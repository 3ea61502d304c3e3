"""Which of several models called champion is the champion, wherever a change was cut short."""

from __future__ import annotations

from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.records import Registered
from manymodels_spark.tracking.roles import rollback_mark, standing_champion, stepping_down


def model(name: str, created: int, rolled_back: tuple[str, str] | None = None) -> Registered:
    """A model; `rolled_back` is the run of a rollback and the model whose place this one took."""
    tags = {t.ROLE: t.CHAMPION}
    if rolled_back is not None:
        tags[t.ROLLBACK] = rollback_mark(rolled_back[0], model(rolled_back[1], 0))
    return Registered(name, "p", "", tags, {}, created)


def standing(*models: Registered) -> str | None:
    found = standing_champion(models)
    return None if found is None else found.model_id


def test_a_promotion_that_was_cut_short_leaves_the_newer_one() -> None:
    assert standing(model("a", 1), model("b", 2)) == "b"
    assert standing() is None


def test_a_rollback_that_was_cut_short_leaves_the_older_one_that_has_its_mark() -> None:
    models = model("a", 1, ("20260102", "b")), model("b", 2)
    assert standing(*models) == "a"
    assert stepping_down(models) == {"b"}


def test_a_promotion_after_a_rollback_is_not_held_up_by_the_mark_of_that_rollback() -> None:
    assert standing(model("a", 1, ("20260102", "b")), model("c", 3)) == "c"


def test_of_two_rolled_back_to_each_other_the_later_rollback_counts() -> None:
    first, second = model("a", 1, ("20260102", "b")), model("b", 2, ("20260105", "a"))
    assert standing(first, second) == "b"
    assert standing(second, first) == "b"
