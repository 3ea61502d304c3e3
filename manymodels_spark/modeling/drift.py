"""Whether a window of new values is still like those before it: population stability, a level shift, live
errors.

NumPy and SciPy only. Every test says how large the change is and how likely chance alone makes it so large;
neighbours in time are alike, so samples count with their effective size (first-order autocorrelation, Bayley
and Hammersley 1946).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

BINS = 10
# Beyond it a difference between two samples is called large (Romano et al. 2006, Cliff's delta).
LARGE_DELTA = 0.474


@dataclass(frozen=True)
class Shift:
    """How far (`value`, by the test's own measure), the least that would be worth a word, and the p-value."""

    value: float
    threshold: float
    p: float

    def beyond(self, significance: float) -> bool:
        """Whether the change is both large and unlikely to be chance."""
        return abs(self.value) > self.threshold and self.p < significance


def stability(before: Floats, after: Floats, threshold: float, share: float = 1.0) -> Shift:
    """The population stability index: sum over bins of (q - p) ln(q / p), bins at the deciles of `before`.

    Under no change it is (1/n + 1/m) times a chi-squared with bins - 1 degrees of freedom (Yurdakul 2018),
    which gives the p-value: small samples have large indices by chance. `share` is the effective part of both
    samples, 0 to 1. Few different values (a promotion flag) are bins themselves.
    """
    edges = _edges(before)
    p, q = _shares(before, edges), _shares(after, edges)
    index = float(((q - p) * np.log(q / p)).sum())
    size = 1 / (len(before) * share) + 1 / (len(after) * share)
    return Shift(index, threshold, float(stats.chi2.sf(index / size, max(len(p) - 1, 1))))


def level(before: Floats, after: Floats, share: float = 1.0) -> Shift:
    """A shift of level: Cliff's delta, -1 (all new values lower) to 1, with the p-value of Mann and Whitney
    (1947).
    """
    if np.ptp(np.concatenate([before, after])) == 0:
        return Shift(0.0, LARGE_DELTA, 1.0)
    found = stats.mannwhitneyu(after, before, alternative="two-sided", method="asymptotic")
    delta = 2 * float(found.statistic) / (len(before) * len(after)) - 1
    z = stats.norm.isf(max(float(found.pvalue), 1e-300) / 2) * math.sqrt(share)
    return Shift(delta, LARGE_DELTA, float(2 * stats.norm.sf(z)))


def bias(errors: Floats, scale: float, threshold: float, share: float = 1.0) -> Shift:
    """The mean error over `scale` (the mean size of the actuals), and Student's p-value that it is zero."""
    relative = float(errors.mean()) / scale if scale > 0 else 0.0
    size = max(len(errors) * share, 2.0)
    deviation = float(errors.std(ddof=1)) if len(errors) > 1 else 0.0
    if deviation == 0:
        return Shift(relative, threshold, 0.0 if relative else 1.0)
    return Shift(
        relative,
        threshold,
        float(2 * stats.t.sf(abs(float(errors.mean())) / (deviation / math.sqrt(size)), size - 1)),
    )


def coverage(inside: NDArray[np.bool_], nominal: float, tolerance: float, share: float = 1.0) -> Shift:
    """How far fewer actuals than `nominal` (0 to 1) fell into their interval, with the exact binomial
    p-value.
    """
    size = max(round(len(inside) * share), 1)
    hits = round(float(inside.mean()) * size)
    p = float(stats.binomtest(hits, size, nominal, alternative="less").pvalue)
    return Shift(max(nominal - float(inside.mean()), 0.0), tolerance, p)


def worse(
    live: float, reference: float, errors: Floats, judged: int, threshold: float, share: float = 1.0
) -> Shift:
    """How much higher the live error is than the backtest's, as a fraction of the latter.

    The p-value is a normal one: both are means of about as many sizes of errors as were judged live and in
    the backtest.
    """
    if not (math.isfinite(live) and math.isfinite(reference) and reference > 0):
        return Shift(0.0, threshold, 1.0)
    sizes = np.abs(errors)
    spread = float(sizes.std()) / float(sizes.mean()) if sizes.mean() > 0 else 0.0
    noise = live * spread * math.sqrt(1 / max(len(sizes) * share, 1) + 1 / max(judged, 1))
    p = float(stats.norm.sf((live - reference) / noise)) if noise > 0 else float(live <= reference)
    return Shift(live / reference - 1, threshold, p)


def beaten(own: Floats, other: Floats, threshold: float) -> Shift:
    """How much larger our errors are than the other's, as a fraction, with Wilcoxon's (1945) signed-rank
    p-value.
    """
    ours, theirs = np.abs(own), np.abs(other)
    difference = ours - theirs
    if theirs.sum() == 0 or not np.any(difference):
        return Shift(0.0, threshold, 1.0)
    p = float(stats.wilcoxon(difference, alternative="greater", method="asymptotic").pvalue)
    return Shift(float(ours.sum() / theirs.sum()) - 1, threshold, p)


def effective(values: Floats) -> float:
    """The share of a sample that counts, 0.05 to 1: (1 - r) / (1 + r) for a first-order autocorrelation r
    above 0.
    """
    centred = values - values.mean()
    power = float((centred**2).sum())
    if len(values) < 8 or power == 0:
        return 1.0
    r = min(max(float((centred[1:] * centred[:-1]).sum()) / power, 0.0), 0.9)
    return max((1 - r) / (1 + r), 0.05)


def without_season(values: Floats, season: int, known: int) -> Floats:
    """Values less the median of their place in the season, as the first `known` of them have it."""
    if season < 2 or known < 2 * season:
        return values
    place = np.arange(len(values)) % season
    typical = np.array([np.median(values[:known][place[:known] == step]) for step in range(season)])
    return np.asarray(values - typical[place], float)


def _edges(before: Floats) -> Floats:
    """Inner edges of the bins: between the values where they are few, else the deciles."""
    values = np.unique(before)
    if len(values) <= BINS:
        return np.asarray((values[1:] + values[:-1]) / 2, float)
    return np.unique(np.quantile(before, np.linspace(0, 1, BINS + 1)[1:-1]))


def _shares(values: Floats, edges: Floats) -> Floats:
    """The share of values in each bin, with half a value added to every bin so that none is empty."""
    counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) + 0.5
    return np.asarray(counts / counts.sum(), float)
