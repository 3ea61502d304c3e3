"""From trials to a champion, and what that choice is worth on a fold that it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import make_spec

from manymodels_spark.families import registry
from manymodels_spark.modeling.backtest import Trial
from manymodels_spark.modeling.judged import Judged, Numbers
from manymodels_spark.modeling.selection import combination, leave_one_fold_out, shares_of
from manymodels_spark.spec.model import Candidate, Spec


def trial(name: str, *wapes: float, predicts: float) -> Trial:
    """A trial with a wape a fold that predicts the same for every step."""
    folds = [np.full(3, predicts) for _ in wapes]
    judged: list[Judged] = [Numbers(np.ones(3), np.full(3, 1 + wape)) for wape in wapes]
    return Trial(name, registry.build(Candidate(family="naive")), folds, judged)


def apart(folds: int) -> list[frozenset[int]]:
    """Folds that share no step."""
    return [frozenset(range(folds)) - {fold} for fold in range(folds)]


def spec(combine: str = "best", **parts: Any) -> Spec:
    return make_spec(Path("unused"), combine=combine, **parts)


def values(predictions: list[np.ndarray]) -> list[float]:
    return [float(predicted[0]) for predicted in predictions]


def test_a_fold_is_predicted_by_the_choice_of_the_others() -> None:
    lucky = trial("lucky", 0.0, 0.3, 0.3, predicts=1.0)
    steady = trial("steady", 0.25, 0.25, 0.2, predicts=2.0)
    # By all folds lucky wins, 0.2 to 0.23; without its lucky fold it does not, and without others it does.
    assert values(combination([lucky], spec())) == [1.0, 1.0, 1.0]
    assert values(leave_one_fold_out([steady, lucky], spec(), 10, apart(3))[0]) == [2.0, 1.0, 1.0]


def test_weights_too_are_those_of_the_other_folds() -> None:
    one, other = trial("one", 0.1, 0.2, predicts=0.0), trial("other", 0.1, 0.1, predicts=1.0)
    chosen = spec("weighted_best_2")
    assert shares_of([other, one], chosen, by=frozenset({1})) == pytest.approx([0.8, 0.2])
    np.testing.assert_allclose(values(leave_one_fold_out([one, other], chosen, 10, apart(2))[0]), [0.8, 0.5])


def test_with_one_fold_or_one_candidate_the_choice_stands() -> None:
    first, second = trial("first", 0.1, predicts=1.0), trial("second", 0.2, predicts=2.0)
    assert values(leave_one_fold_out([first, second], spec(), 10, apart(1))[0]) == [1.0]
    alone = trial("alone", 0.1, 0.9, predicts=3.0)
    assert values(leave_one_fold_out([alone], spec("weighted_best_3"), 10, apart(2))[0]) == [3.0, 3.0]
