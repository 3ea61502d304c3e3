"""Business rules of a promotion: each gate looks at one candidate's facts and holds or fails with its
numbers.

Pure: it knows neither MLflow nor Spark, so a rule can be tried on a plain object.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.spec.metric_names import HIGHER_IS_BETTER
from manymodels_spark.spec.rules import Gate, Promote

# Two metrics that only the last digits of their floats tell apart are equal.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Facts:
    """What gates may look at: one model's test metrics and what it was made of.

    `family` is its candidate's name with options, as `scores` names all that were tried on the same folds,
    each with its metrics. `cutoff` is the last time in its rows, as text.
    """

    partition: str
    family: str
    metrics: Mapping[str, float]
    rows: int
    folds: int
    fitted_at: datetime
    cutoff: str | None = None
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """One gate's answer, with the numbers that decided it, e.g. `wape 0.210 below 0.350`."""

    gate: str
    held: bool
    numbers: str


@dataclass(frozen=True)
class Decision:
    """Whether a candidate may go to production, and each gate's verdict."""

    passed: bool
    verdicts: tuple[Verdict, ...]

    @property
    def reason(self) -> str:
        """The verdicts in one line, those that failed first."""
        ordered = sorted(self.verdicts, key=lambda verdict: verdict.held)
        return "; ".join(f"{'held' if v.held else 'failed'}: {v.numbers}" for v in ordered) or "no gates"


def judge(rules: Promote, metric: str, candidate: Facts, champion: Facts | None, now: datetime) -> Decision:
    """All gates of `all` must hold, and at least one of `any` where there are any.

    `metric` is the spec's own metric, by which candidate and champion are compared.
    """
    every = [_verdict(gate, metric, candidate, champion, now) for gate in rules.all]
    some = [_verdict(gate, metric, candidate, champion, now) for gate in rules.any]
    passed = all(v.held for v in every) and (not some or any(v.held for v in some))
    return Decision(passed, (*every, *some))


def _verdict(gate: Gate, metric: str, candidate: Facts, champion: Facts | None, now: datetime) -> Verdict:
    if gate.metric is not None:
        return _threshold(gate, candidate)
    if gate.better_than == "champion":
        return _beats_champion(gate, metric, candidate, champion)
    if gate.better_than is not None:
        reference = candidate.metrics.get(f"{gate.better_than}_{metric}")
        return _better(gate, metric, candidate, reference, gate.better_than, "on the same folds")
    if gate.rows is not None:
        return Verdict("rows", candidate.rows >= gate.rows, f"{candidate.rows} rows, at least {gate.rows}")
    if gate.folds is not None:
        return Verdict(
            "folds", candidate.folds >= gate.folds, f"{candidate.folds} folds, at least {gate.folds}"
        )
    if gate.coverage is not None and gate.within is not None:
        return _coverage(gate.coverage, gate.within, candidate)
    if gate.max_age_days is not None:
        age = (now - candidate.fitted_at).total_seconds() / 86400
        return Verdict(
            "max_age_days",
            age <= gate.max_age_days,
            f"fitted {age:.1f} days ago, at most {gate.max_age_days}",
        )
    return _own(str(gate.function), candidate, champion)


def _threshold(gate: Gate, candidate: Facts) -> Verdict:
    value = candidate.metrics.get(str(gate.metric), math.nan)
    if gate.below is not None:
        held = _size(str(gate.metric), value) < gate.below
        return Verdict(str(gate.metric), held, f"{gate.metric} {value:.4g}, required below {gate.below:g}")
    bound = gate.above if gate.above is not None else math.inf
    return Verdict(str(gate.metric), value > bound, f"{gate.metric} {value:.4g}, required above {bound:g}")


def _beats_champion(gate: Gate, metric: str, candidate: Facts, champion: Facts | None) -> Verdict:
    """Compare on the candidate's own folds, whatever the champion was once measured on.

    A champion of the same rows was measured on the same folds. Newer rows make other folds, and an error on
    those says nothing beside one on these: then the champion's recipe (family and options) counts, as it was
    tried on the candidate's folds. The same recipe on newer rows has nothing to beat.
    """
    name = "better_than champion"
    if champion is None:
        return Verdict(name, True, "no champion to compare with")
    if (candidate.rows, candidate.folds, candidate.cutoff) == (
        champion.rows,
        champion.folds,
        champion.cutoff,
    ):
        return _better(gate, metric, candidate, champion.metrics.get(metric), "champion", "on the same folds")
    if candidate.family == champion.family:
        same = (candidate.rows, candidate.cutoff) == (champion.rows, champion.cutoff)
        return Verdict(
            name,
            True,
            f"{candidate.family}, the champion's own recipe, "
            f"{'with other folds' if same else 'on newer rows'}",
        )
    recipe = candidate.scores.get(champion.family, {}).get(metric)
    if recipe is not None:
        return _better(
            gate, metric, candidate, recipe, "champion", f"its {champion.family} on the same folds"
        )
    where = f"on its own folds, since {champion.family} is no candidate any more"
    return _better(gate, metric, candidate, champion.metrics.get(metric), "champion", where)


def _better(
    gate: Gate, metric: str, candidate: Facts, reference: float | None, name: str, where: str
) -> Verdict:
    own = candidate.metrics.get(metric, math.nan)
    if reference is None or math.isnan(reference):
        return Verdict(f"better_than {name}", name == "champion", f"no {name} to compare with")
    gain = own - reference if metric in HIGHER_IS_BETTER else _size(metric, reference) - _size(metric, own)
    # A share of the reference's size: of a negative one the product itself would allow a loss.
    held = gain >= gate.by * abs(reference) - _ROUNDING * abs(reference)
    return Verdict(
        f"better_than {name}", held, f"{metric} {own:.4g}, {name} {reference:.4g} ({where}), by {gate.by:.1%}"
    )


def _size(metric: str, value: float) -> float:
    """The value of which less is better: a bias is as bad on either side."""
    return abs(value) if metric == "bias" else value


def _coverage(level: int, within: list[float], candidate: Facts) -> Verdict:
    value = candidate.metrics.get(f"coverage_{level}", math.nan)
    numbers = f"coverage of {level} % is {value:.3g}, within {within[0]:g} to {within[1]:g}"
    return Verdict(f"coverage_{level}", within[0] <= value <= within[1], numbers)


def _own(path: str, candidate: Facts, champion: Facts | None) -> Verdict:
    """A user's function: it gives a bool, or a bool and a text with its numbers. Its exception is a gate that
    failed.
    """
    module, _, name = path.partition(":")
    try:
        function: Callable[[Facts, Facts | None], bool | tuple[bool, str]] = getattr(
            importlib.import_module(module), name
        )
    except (ImportError, AttributeError) as error:
        raise ManyModelsError(
            f"promote: gate function {path!r} cannot be imported ({error}). Install its package"
        ) from error
    try:
        answer = function(candidate, champion)
    except Exception as error:
        return Verdict(path, False, f"{path} raised {type(error).__name__}: {error}")
    held, numbers = answer if isinstance(answer, tuple) else (answer, "")
    return Verdict(path, bool(held), f"{path} {numbers}".strip())
