"""From trials to a champion: their order, how many are combined and how, and what that choice is worth on
rows unseen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from manymodels_spark.modeling.backtest import Trial
from manymodels_spark.modeling.ensemble import HOWS, combined, weights_of
from manymodels_spark.modeling.judged import mean_size_of_bias
from manymodels_spark.modeling.metrics import Floats
from manymodels_spark.spec.metric_names import HIGHER_IS_BETTER
from manymodels_spark.spec.model import Spec

IN_THE_TARGETS_UNIT = frozenset({"mae", "rmse", "bias", "pinball"})
Folds = frozenset[int]


def size_of(spec: Spec) -> int:
    """Members of the champion: 1, or the k of best_k."""
    return 1 if spec.combine == "best" else int(spec.combine.rpartition("_")[2])


def how_of(spec: Spec) -> str:
    """How a combination is made of its members: mean (also of plain best_k), median or weighted."""
    how = spec.combine.partition("_")[0]
    return how if how in HOWS else "mean"


def rank(trials: Sequence[Trial], metric: str, rows: int, by: Folds | None = None) -> list[Trial]:
    """Trials by the metric, best first; equal ones by the cheaper family, then in the spec's order.

    Equal are those that less than a millionth of a millionth tells apart, of the targets' mean size for
    metrics in their unit. Where the metric cannot be computed (all actuals are zero, say), the root mean
    squared error decides.

    Args:
        trials: without those that failed.
        metric: one of `spec.metric_names`.
        rows: of the partition, for the families' costs.
        by: positions of the folds that count, by default all.

    """
    if len(trials) == 1:
        return list(trials)
    values = {id(trial): _metrics(trial, metric, by) for trial in trials}
    use = metric if any(metric in found for found in values.values()) else "rmse"

    def order(trial: Trial) -> tuple[float, float]:
        value, unit = values[id(trial)].get(use), trial.size if use in IN_THE_TARGETS_UNIT else 1.0
        return math.inf if value is None else round(_loss(use, value) / unit, 12), trial.family.cost(rows)

    return sorted(trials, key=order)


def shares_of(members: Sequence[Trial], spec: Spec, by: Folds | None = None) -> list[float]:
    """Each member's weight: by its loss on the folds `by` where the spec says so, else equal."""
    if how_of(spec) != "weighted":
        return [1 / len(members)] * len(members)
    values = [_metrics(member, spec.metric, by) for member in members]
    use = spec.metric if all(spec.metric in found for found in values) else "rmse"
    return weights_of([_loss(use, found.get(use, math.nan)) for found in values])


def combination(members: Sequence[Trial], spec: Spec) -> list[Floats]:
    """The members' predictions of every fold combined."""
    shares = shares_of(members, spec)
    folds = range(len(members[0].predictions))
    return [combined([member.predictions[k] for member in members], how_of(spec), shares) for k in folds]


def leave_one_fold_out(
    trials: Sequence[Trial], spec: Spec, rows: int, apart: Sequence[Folds]
) -> tuple[list[Floats], list[Trial]]:
    """Each fold's prediction by the champion that the folds apart from it would have made of these trials.

    A choice looks better on the folds that it was made by than on any others: a minimum over candidates is
    biased downwards, the more the noisier they are (Cawley, Talbot 2010). The metrics and the intervals of
    these predictions are those that the choice deserves. Where no fold is apart (with one fold, or with folds
    that all overlap) the choice stands, and its metrics are too good.

    Args:
        trials: without those that failed.
        spec: says the metric and the combination.
        rows: of the partition.
        apart: for each fold the positions of those that share no row with it (`folds.apart`).

    Returns:
        The predictions of each fold, and the best member of each fold's champion.

    """
    found, firsts = [], []
    for fold, others in enumerate(apart):
        by = others or None
        members = rank(trials, spec.metric, rows, by)[: size_of(spec)]
        shares = shares_of(members, spec, by)
        found.append(combined([member.predictions[fold] for member in members], how_of(spec), shares))
        firsts.append(members[0])
    return found, firsts


def _metrics(trial: Trial, metric: str, by: Folds | None) -> dict[str, float]:
    """The metrics over the folds that count; where trials are ranked by their bias, its mean size."""
    found = trial.metrics if by is None else trial.metrics_over(by)
    if metric != "bias" or "bias" not in found:
        return found
    folds = [one for number, one in enumerate(trial.judged) if by is None or number in by]
    return {**found, "bias": mean_size_of_bias(folds)}


def _loss(metric: str, value: float) -> float:
    """The metric's value with its sign such that less is better."""
    return -value if metric in HIGHER_IS_BETTER else value
