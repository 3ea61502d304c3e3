"""Which of several models that are called champion is the champion, decided by their tags alone.

A change of champions gives the new one its role before the old one steps down, so that a partition always
has one. Cut short in between, it leaves two. This module must know no server.
"""

from __future__ import annotations

from collections.abc import Sequence

from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.records import Registered


def rollback_mark(run_id: str, former: Registered) -> str:
    """What a reinstated model is tagged with: the rollback, and the model whose place it took."""
    return f"{run_id} {former.model_id}"


def rolled_back_to(model: Registered) -> tuple[str, str]:
    """The run of the rollback that reinstated a model, and the id of the model whose place it took;
    twice '' where none did.
    """
    run_id, _, former = model.tags.get(t.ROLLBACK, "").partition(" ")
    return run_id, former


def stepping_down(models: Sequence[Registered]) -> set[str]:
    """The ids of those that another of these took the place of by a rollback. Of two that were rolled back
    to each other, the later rollback counts: its run's id is the greater one.
    """
    runs = {model.model_id: rolled_back_to(model)[0] for model in models}
    marks = [rolled_back_to(model) for model in models]
    return {former for run_id, former in marks if former in runs and run_id > runs[former]}


def standing_champion(models: Sequence[Registered]) -> Registered | None:
    """The champion of one partition among all finished models with that role; None of none.

    The mark of a rollback decides, then the age: a rollback makes an older model champion,
    a promotion a newer one.
    """
    gone = stepping_down(models)
    return max((m for m in models if m.model_id not in gone), key=lambda model: model.age, default=None)
