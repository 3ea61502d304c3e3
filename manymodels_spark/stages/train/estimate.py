"""What a training run would take, from the times of a few fits: arithmetic only, no Spark and no MLflow.

Waves pass two counters one after the other, the cores (fits) and MLflow (logging), while the next wave is at
the first: a flow shop of two machines (Johnson 1954). All times are in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Timed:
    """What a sample of fits took, each on a core of its own while all cores were busy.

    `expected` are the families' own costs of the same fits, `seconds` what they took in fact; `cold` is what
    the first fits of a worker cost beyond that (processes, imports), `overhead` what one wave costs apart
    from its fits (reading, shuffle, commit), `between` what one fit costs around itself, `step` what one
    small table operation takes.
    """

    expected: Sequence[float]
    seconds: Sequence[float]
    cold: float = 0.0
    overhead: float = 0.0
    between: float = 0.0
    step: float = 0.0

    @property
    def median(self) -> float:
        """The median seconds of one fit."""
        return float(np.median(self.seconds)) if len(self.seconds) else 0.0

    @property
    def scale(self) -> float:
        """Real seconds per expected second, the median over the sample: robust against one wild fit."""
        pairs = [
            real / expected
            for real, expected in zip(self.seconds, self.expected, strict=True)
            if expected > 0
        ]
        return float(np.median(pairs)) if pairs else 1.0


@dataclass(frozen=True)
class Estimate:
    """A training run as it would be: wall seconds, core-seconds inside fits, waves, the seconds of logging in
    them.
    """

    seconds: float
    fit_seconds: float
    log_seconds: float
    waves: int
    cores: int

    @property
    def core_hours(self) -> float:
        """What is paid for: all cores for all of the time."""
        return self.seconds * self.cores / 3600


def estimate(
    waves: Sequence[Floats],
    timed: Timed,
    cores: int,
    *,
    log_one: float,
    steps: int,
    steps_of_a_wave: int,
    together: int = 1,
) -> Estimate:
    """The run of `waves`, each an array of its fits' expected seconds, on `cores`.

    `log_one` are seconds of logging per model; `steps` small table operations come once, `steps_of_a_wave`
    with each. Of `together` waves that are at the cores at once, one's overhead goes on beside the others'
    fits.
    """
    costs = [np.asarray(wave, float) * timed.scale + timed.between for wave in waves]
    fits = [
        timed.overhead / (together if number else 1) + spread(wave, cores)
        for number, wave in enumerate(costs)
    ]
    logs = [len(wave) * log_one + steps_of_a_wave * timed.step for wave in costs]
    return Estimate(
        seconds=steps * timed.step + (timed.cold if costs else 0.0) + flow(fits, logs),
        fit_seconds=float(sum(float(wave.sum()) for wave in costs)),
        log_seconds=sum(logs),
        waves=len(costs),
        cores=cores,
    )


def spread(costs: Floats, cores: int) -> float:
    """Wall seconds of the fits on the cores: their share of each, but never less than the longest (Graham
    1969).
    """
    return max(float(costs.sum()) / cores, float(costs.max())) if len(costs) else 0.0


def flow(first: Sequence[float], second: Sequence[float]) -> float:
    """When the last job leaves the second of two machines, jobs in the given order on both."""
    free_first = free_second = 0.0
    for one, other in zip(first, second, strict=True):
        free_first += one
        free_second = max(free_first, free_second) + other
    return free_second


def quickest(calls: dict[str, int], limits: dict[str, float | None]) -> float:
    """The least seconds that calls take under a server's limits, by class of endpoint; 0 where it has none.

    Each class has a bucket of its own, so the slowest class decides.
    """
    return max((count / rate for kind, count in calls.items() if (rate := limits.get(kind))), default=0.0)


def bins(values: Sequence[float] | Floats, count: int = 8) -> list[tuple[float, float, int]]:
    """(from, to, how many) of whole numbers from 1: even widths, or even ratios where the largest is 50 times
    the least.
    """
    found = np.asarray(values, float)
    if not len(found):
        return []
    low, high = max(float(found.min()), 1.0), float(found.max())
    if high <= low:
        return [(low, high, len(found))]
    edges = np.geomspace(low, high, count + 1) if high / low > 50 else np.linspace(low, high, count + 1)
    edges = np.unique(np.round(edges))
    counts, edges = np.histogram(np.clip(found, low, high), bins=edges)
    return [(float(edges[i]), float(edges[i + 1]), int(n)) for i, n in enumerate(counts)]


def bars(binned: Sequence[tuple[float, float, int]], width: int = 32) -> list[str]:
    """The bins as lines of text; a bin with one partition shows at least a sliver."""
    most = max((count for *_, count in binned), default=0)
    figures = [f"{low:,.0f} to {high:,.0f}" for low, high, _ in binned]
    room = max(map(len, figures), default=0)
    return [
        f"{text:>{room}}  {_bar(count, most, width):<{width}} {count:,}"
        for text, (*_, count) in zip(figures, binned, strict=True)
    ]


def _bar(count: int, most: int, width: int) -> str:
    if not count:
        return ""
    eighths = max(1, math.ceil(8 * width * count / most))
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
