"""Frequencies: for each one that a spec may name, its step, its seasons and its calendar period.

The one table of them. Steps are in seconds, seasons in steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

_DAY, _YEAR = 86_400, 31_556_952
WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_ALIASES = {
    "H": "h", "T": "min", "M": "MS", "Q": "QS", "Y": "YS", "A": "YS", "day": "D", "week": "W", "hour": "h"
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One frequency.

    `seconds` is the mean length of a step; `season` is the main one and `seasons` are all worth looking for,
    both in steps; `months` and `unit` are of a calendar period, 0 and empty for steps of fixed length.
    """

    seconds: int
    season: int
    seasons: tuple[int, ...]
    months: int = 0
    unit: str = ""


STEPS = {
    "min": Step(60, 60, (60, 1440)),
    "15min": Step(900, 96, (4, 96, 672)),
    "30min": Step(1800, 48, (2, 48, 336)),
    "h": Step(3600, 24, (24, 168)),
    "D": Step(_DAY, 7, (7, 365)),
    "B": Step(_DAY * 7 // 5, 5, (5, 260)),
    "W": Step(_DAY * 7, 52, (52,)),
    "MS": Step(_YEAR // 12, 12, (12,), 1, "month"),
    "ME": Step(_YEAR // 12, 12, (12,), 1, "month"),
    "QS": Step(_YEAR // 4, 4, (4,), 3, "quarter"),
    "QE": Step(_YEAR // 4, 4, (4,), 3, "quarter"),
    "YS": Step(_YEAR, 1, (), 12, "year"),
    "YE": Step(_YEAR, 1, (), 12, "year"),
}


def step_of(frequency: str) -> Step:
    """The facts of a frequency; weeks from any weekday (`W-MON` to `W-SUN`) are those of `W`."""
    return STEPS["W" if frequency.startswith("W-") else frequency]


def pandas_step(frequency: str) -> str:
    """The step to the next time as pandas names it.

    A plain `W` goes on in seven days from any weekday, where pandas' own goes to Sunday.
    """
    return "7D" if frequency == "W" else frequency


def canonical(frequency: str) -> str:
    """The name in `STEPS` of what a spec may write (`day` is `D`, `W-MON` is `W`); others as they are."""
    name = _ALIASES.get(frequency, frequency)
    return "W" if name.startswith("W-") else name


def _known(value: str) -> str:
    value = _ALIASES.get(value, value)
    if value in STEPS or (value.startswith("W-") and value[2:] in WEEKDAYS):
        return value
    raise ValueError(f"unknown frequency {value!r}. Expected one of {', '.join(STEPS)}, or W-MON to W-SUN")


Frequency = Annotated[str, AfterValidator(_known)]
