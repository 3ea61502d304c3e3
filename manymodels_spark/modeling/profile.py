"""What kind of series a partition holds, told before anything is fitted, and which candidates that rules out.

Demand is classed by its average interval and the variation of its sizes (Syntetos, Boylan, Croston 2005),
seasons are found by the correlation with the season before. NumPy only; a profile of 4,000 rows takes less
than a naive fit with its folds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manymodels_spark.spec.frequency import step_of
from manymodels_spark.spec.model import Candidate

Floats = NDArray[np.float64]

# The published cut-offs: above them Croston's method has the smaller error.
INTERVAL, VARIATION = 1.32, 0.49
_INTERMITTENT_ONLY = frozenset({"croston", "tsb"})
_SEASONAL_ONLY = frozenset({"mstl"})
_NEEDS_DEMAND = frozenset(
    {
        "auto_arima",
        "auto_ces",
        "auto_ets",
        "auto_theta",
        "drift",
        "dynamic_theta",
        "holt",
        "mfles",
        "mstl",
        "theta",
    }
)
_ENOUGH_FOR_A_CONSTANT = ("naive", "mean", "seasonal_naive")


class Kind(StrEnum):
    """The class of a series. The four of Syntetos and Boylan, and the two that have no demand to class."""

    SMOOTH = "smooth"
    ERRATIC = "erratic"
    INTERMITTENT = "intermittent"
    LUMPY = "lumpy"
    CONSTANT = "constant"
    EMPTY = "empty"


@dataclass(frozen=True)
class Profile:
    """A series in a few figures.

    `interval` is the mean number of steps between two values that are not zero (ADI), `variation` the squared
    coefficient of variation of those values (CV2), both NaN where there is none; `seasons` the lengths found,
    the strongest first, and `strength` the correlation at that length (0 where none was found).
    """

    kind: Kind
    rows: int
    interval: float
    variation: float
    seasons: tuple[int, ...]
    strength: float

    @property
    def sparse(self) -> bool:
        """Whether most of what a model would learn is when there is demand at all."""
        return self.kind in (Kind.INTERMITTENT, Kind.LUMPY)

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON holds them."""
        values = {**asdict(self), "kind": str(self.kind), "seasons": list(self.seasons)}
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in values.items()
        }


def profile(values: Floats, seasons: Sequence[int], known: NDArray[np.bool_] | None = None) -> Profile:
    """The profile of a series.

    Args:
        values: in order, one per step, without NaN; steps that are not `known` interpolated.
        seasons: the lengths to look for, in steps.
        known: which steps count for the class of demand, shape (len(values),); by default all.

    """
    values = np.asarray(values, dtype=np.float64)
    seen = values if known is None else values[known]
    demand = seen[seen != 0]
    interval = len(seen) / len(demand) if len(demand) else math.nan
    variation = _variation(demand)
    found = [] if len(values) < 2 or np.ptp(values) == 0 else _found(values, seasons)
    return Profile(
        kind=_kind(seen, interval, variation),
        rows=len(values),
        interval=interval,
        variation=variation,
        seasons=tuple(season for season, _ in found),
        strength=found[0][1] if found else 0.0,
    )


def seasons_of(frequency: str, season: int | None = None) -> tuple[int, ...]:
    """Lengths worth looking for at a frequency of the spec, e.g. 7 and 365 for days, and the spec's own
    `season`.
    """
    own = [season] if season and season > 1 else []
    return tuple(dict.fromkeys([*own, *step_of(frequency).seasons]))


def ruled_out(found: Profile, candidates: Sequence[Candidate]) -> dict[int, str]:
    """Positions of the candidates that are not worth their time on such a series, with why; never all of
    them.

    Families that are not built in are never ruled out: nothing is known of them.
    """
    why = {position: _reason(found, candidate) for position, candidate in enumerate(candidates)}
    out = {position: reason for position, reason in why.items() if reason is not None}
    return {} if len(out) == len(candidates) else out


def _reason(found: Profile, candidate: Candidate) -> str | None:
    family = candidate.family
    if found.kind in (Kind.CONSTANT, Kind.EMPTY):
        known = family in _NEEDS_DEMAND | _INTERMITTENT_ONLY and family not in _ENOUGH_FOR_A_CONSTANT
        return f"the series is {found.kind}: the last value says all" if known else None
    if family in _INTERMITTENT_ONLY and not found.sparse:
        return f"{family} is for intermittent demand, and there is some every {found.interval:.2f} steps"
    if family in _NEEDS_DEMAND and found.sparse and not found.seasons:
        return f"demand is {found.kind}, once in {found.interval:.1f} steps, and no season tells when"
    if family in _SEASONAL_ONLY and not found.seasons and not candidate.options:
        return f"{family} is for seasons, and none was found"
    return None


def _kind(values: Floats, interval: float, variation: float) -> Kind:
    if math.isnan(interval):
        return Kind.EMPTY
    if np.ptp(values) == 0:
        return Kind.CONSTANT
    if interval < INTERVAL:
        return Kind.SMOOTH if variation < VARIATION else Kind.ERRATIC
    return Kind.INTERMITTENT if variation < VARIATION else Kind.LUMPY


def _variation(demand: Floats) -> float:
    if len(demand) == 0:
        return math.nan
    # Scaled first, since squares of large values overflow.
    sizes = demand / np.abs(demand).max()
    mean = float(sizes.mean())
    return float(sizes.var() / mean**2) if mean != 0 else math.inf


def _found(values: Floats, seasons: Sequence[int]) -> list[tuple[int, float]]:
    """Season and strength of those lengths that are beyond chance, the strongest first; three cycles at
    least.
    """
    scaled = values / np.abs(values).max()
    scaled = scaled - scaled.mean()
    tested = [(season, _strength(scaled, season)) for season in seasons if 2 <= season <= len(values) // 3]
    return sorted((pair for pair in tested if pair[1] > 0), key=lambda pair: -pair[1])


def _strength(values: Floats, season: int) -> float:
    """Correlation of what a moving average leaves with itself one season later; 0 where chance explains it.

    Of random walks, autoregressive series and noise, about 2 in 100 reach 1 / sqrt(cycles - 1), whatever the
    season.
    """
    weights = np.ones(season) if season % 2 else np.concatenate([[0.5], np.ones(season - 1), [0.5]])
    half = len(weights) // 2
    rest = values[half : len(values) - half] - np.convolve(values, weights / season, "valid")
    now, before = rest[season:], rest[:-season]
    now, before = now - now.mean(), before - before.mean()
    scale = math.sqrt(float(now @ now) * float(before @ before))
    if scale <= 1e-20 * len(now):
        return 0.0
    correlation = min(float(now @ before) / scale, 1.0)
    return correlation if correlation > 1 / math.sqrt(len(values) / season - 1) else 0.0
