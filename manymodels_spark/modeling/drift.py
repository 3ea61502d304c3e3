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

    @property
    def large(self) -> bool:
        """Whether the change would matter; whether it may be chance is decided over all partitions."""
        return abs(self.value) > self.threshold


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


def bias(
    errors: Floats, scale: float, threshold: float, share: float = 1.0, before: Floats | None = None
) -> Shift:
    """The mean error over `scale` (the mean size of the predictions), with Student's p-value that it is zero.

    With errors from `before` their spread is the yardstick: a few new errors say little about their own, and
    a change may have changed it.
    """
    yardstick = errors if before is None else before
    relative = float(errors.mean()) / scale if scale > 0 else 0.0
    deviation = float(yardstick.std(ddof=1)) if len(yardstick) > 1 else 0.0
    if deviation == 0:
        return Shift(relative, threshold, 0.0 if relative else 1.0)
    freedom = max(len(yardstick) * share, 2.0) - 1
    size = max(len(errors) * share, 1.0)
    return Shift(
        relative,
        threshold,
        float(2 * stats.t.sf(abs(float(errors.mean())) / (deviation / math.sqrt(size)), freedom)),
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


def without_season(values: Floats, season: int, known: int, inputs: Floats | None = None) -> Floats:
    """Values less what their place in the season and the `inputs` (a column each, such as promotions)
    explain, by least squares on the first `known` of them; their mean stays.
    """
    columns = [np.ones(len(values))]
    if season >= 2 and known >= 3 * season:
        place = np.arange(len(values)) % season
        columns += [(place == step).astype(float) for step in range(1, season)]
    if inputs is not None and known >= 3 * (len(columns) + inputs.shape[1]):
        columns += [column for column in inputs.T if np.ptp(column[:known]) > 0]
    design = np.column_stack(columns)
    found = np.linalg.lstsq(design[:known], values[:known], rcond=None)[0]
    return np.asarray(values - design @ found + values[:known].mean(), float)


def without_year(values: Floats, year: int, span: int, width: int) -> tuple[Floats, int]:
    """The last `span` values less their yearly season, and how many former years told it: 0 where there is no
    whole one, and then the values as they are.

    What the same weeks of former years were above or below their mean (running means of `width`) is divided
    out, or subtracted where the level is not above 0. `year` is in steps, a multiple of the shorter season.
    """
    start, half = len(values) - span, width // 2
    years = (start - half) // year if year > 0 and start > half else 0
    if years < 1:
        return values[start:], 0
    # Each point's neighbours within half a width; fewer at the newest end, which no former year reaches.
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(start, len(values))
    former = [
        (sums[places - back * year + half + 1] - sums[places - back * year - half]) / (2 * half + 1)
        for back in range(1, years + 1)
    ]
    profile = np.mean(former, axis=0)
    middle = float(profile.mean())
    if middle > 0 and profile.min() > 0.1 * middle:
        return np.asarray(values[start:] * middle / profile, float), years
    return np.asarray(values[start:] - profile + middle, float), years


def false_discovery(p: Floats) -> Floats:
    """The least rate of false discoveries at which each of many tests counts (Benjamini, Hochberg 1995)."""
    order = np.argsort(p)
    ratios = p[order] * len(p) / np.arange(1, len(p) + 1)
    found = np.empty(len(p))
    found[order] = np.minimum(np.minimum.accumulate(ratios[::-1])[::-1], 1.0)
    return found


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
