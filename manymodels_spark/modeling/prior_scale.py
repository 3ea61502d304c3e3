"""How large the errors of a forecast are likely to be, told by the series itself before any fold.

A short series allows a single fold, whose few errors follow each other: they say little of the size of the
next ones. The series' own changes from step to step say more. NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# The mean size of an error at step h over the mean size of a change: `START + GROWTH * sqrt(h)`. By season or
# none; fitted to folds inside the training parts of M1 and Tourism (docs/decisions/0030). A series whose steps
# change less than its seasons wanders: its errors grow as those of a random walk, by one change times sqrt(h).
WITHOUT_SEASON = (0.0, 2.1)
WITH_SEASON = (1.0, 0.6)
WANDERING = (0.5, 1.0)
# Changes from which a mean is taken at least.
_LEAST = 4


@dataclass(frozen=True)
class PriorScale:
    """The expected size of errors, `intercept + slope * sqrt(h)` at step h (step 1 is the first ahead)."""

    intercept: float
    slope: float


def prior_scale(target: Floats, season: int) -> PriorScale | None:
    """What a series' changes say of its forecasts' errors.

    The change is that from one step to the next or that from one season to the next, whichever is smaller,
    each about its median, so that a steady trend is no change.

    Args:
        target: one value for each step of the grid, shape (steps,), NaN where it is not known.
        season: steps in the main season, 1 for none.

    Returns:
        The scale, or None where the series has fewer than five known steps or never changes.

    """
    steps, seasons = _change(target, 1), _change(target, season)
    known = [size for size in (steps, seasons) if size is not None]
    if not known or min(known) <= 0:
        return None
    if season == 1:
        start, growth = WITHOUT_SEASON
    else:
        start, growth = WANDERING if steps == min(known) else WITH_SEASON
    return PriorScale(start * min(known), growth * min(known))


def _change(target: Floats, lag: int) -> float | None:
    """The mean size of what is not steady in the changes over so many steps."""
    changes = target[lag:] - target[:-lag]
    changes = changes[~np.isnan(changes)]
    return float(np.abs(changes - np.median(changes)).mean()) if len(changes) >= _LEAST else None
