"""From trials to a champion: their order, how many are combined and how, and what that choice is worth on
rows unseen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from manymodels_spark.modeling.backtest import Trial, mean_metrics
from manymodels_spark.modeling.ensemble import HOWS, combined, weights_of
from manymodels_spark.modeling.metrics import Floats
from manymodels_spark.spec.metric_names import HIGHER_IS_BETTER
from manymodels_spark.spec.model import Spec

IN_THE_TARGETS_UNIT = frozenset({"mae", "rmse", "bias", "pinball"})


def size_of(spec: Spec) -> int:
    """Members of the champion: 1, or the k of best_k."""
    return 1 if spec.combine == "best" else int(spec.combine.rpartition("_")[2])


def how_of(spec: Spec) -> str:
    """How a combination is made of its members: mean (also of plain best_k), median or weighted."""
    how = spec.combine.partition("_")[0]
    return how if how in HOWS else "mean"


def rank(trials: Sequence[Trial], metric: str, rows: int, without: int | None = None) -> list[Trial]:
    """Trials by the metric, best first; equal ones by the cheaper family, then in the spec's order.

    Equal are those that less than a millionth of a millionth tells apart, of the targets' mean size for
    metrics in their unit. Where the metric cannot be computed (all actuals are zero, say), the root mean
    squared error decides. `without` is the position of a fold that does not count.
    """
    values = {id(trial): _means(trial, without) for trial in trials}
    use = metric if any(metric in found for found in values.values()) else "rmse"

    def order(trial: Trial) -> tuple[float, float]:
        value, unit = values[id(trial)].get(use), trial.size if use in IN_THE_TARGETS_UNIT else 1.0
        return math.inf if value is None else round(_loss(use, value) / unit, 12), trial.family.cost(rows)

    return sorted(trials, key=order)


def shares_of(members: Sequence[Trial], spec: Spec, without: int | None = None) -> list[float]:
    """Each member's weight: by its loss in the backtest where the spec says so, else equal."""
    if how_of(spec) != "weighted":
        return [1 / len(members)] * len(members)
    values = [_means(member, without) for member in members]
    use = spec.metric if all(spec.metric in found for found in values) else "rmse"
    return weights_of([_loss(use, found.get(use, math.nan)) for found in values])


def combination(members: Sequence[Trial], spec: Spec) -> list[Floats]:
    """The members' predictions of every fold combined."""
    shares = shares_of(members, spec)
    folds = range(len(members[0].predictions))
    return [combined([member.predictions[k] for member in members], how_of(spec), shares) for k in folds]


def leave_one_fold_out(trials: Sequence[Trial], spec: Spec, rows: int) -> list[Floats]:
    """Each fold's prediction by the champion that the other folds alone would have made of these trials.

    A choice looks better on the folds that it was made by than on any others: intervals from these
    predictions' errors are as wide as the choice deserves. With one fold there are no others, and the choice
    stands.
    """
    folds = range(len(trials[0].predictions))
    found = []
    for fold in folds:
        without = fold if len(folds) > 1 else None
        members = rank(trials, spec.metric, rows, without)[: size_of(spec)]
        found.append(
            combined([m.predictions[fold] for m in members], how_of(spec), shares_of(members, spec, without))
        )
    return found


def _means(trial: Trial, without: int | None) -> dict[str, float]:
    """Each metric's mean over the folds that count; of a bias its size's, lest folds that miss on both sides
    look perfect.
    """
    folds = [found for position, found in enumerate(trial.metrics) if position != without]
    return mean_metrics(
        [{**found, "bias": abs(found["bias"])} if "bias" in found else found for found in folds]
    )


def _loss(metric: str, value: float) -> float:
    """The metric's value turned so that less is better."""
    return -value if metric in HIGHER_IS_BETTER else value
