"""Small charts as SVG text, coloured by the page's style sheet.
Every text that comes from data is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from manymodels_spark.reporting.figures import Grid, Histogram

LEVELS = 7
CELL, WIDE = 18, 640
SPARK = (260, 48)


def number(value: float | None) -> str:
    """A number in readable form: three significant digits, thousands apart; a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}"


def histogram(found: Histogram, label: str) -> Markup:
    """Bars of a histogram with its median marked; the axis has the bounds and the median."""
    width, height, base = 640, 200, 160
    step = width / len(found.counts)
    most = max(found.counts) or 1
    bars = []
    for index, count in enumerate(found.counts):
        tall = count / most * (base - 24)
        reach = f"{number(found.edges[index])} to {number(found.edges[index + 1])}"
        more = " or more" if found.clipped and index == len(found.counts) - 1 else ""
        bars.append(
            f'<rect class="bar" x="{index * step + 1:.1f}" y="{base - tall:.1f}" width="{step - 2:.1f}" '
            f'height="{tall:.1f}" rx="2">'
            f"<title>{reach}{more}: {count:,} partitions</title></rect>"
        )
    low, high = found.edges[0], found.edges[-1]
    at = min(max((found.median - low) / (high - low), 0), 1) * width
    anchor = "start" if at < width * 0.8 else "end"
    shift = 6 if anchor == "start" else -6
    last = number(high) + ("+" if found.clipped else "")
    return Markup(
        f'<svg class="histogram" viewBox="-4 0 {width + 8} {height}" role="img" '
        f'aria-label="{escape(label)}">{"".join(bars)}'
        f'<line class="axis" x1="0" y1="{base}" x2="{width}" y2="{base}"/>'
        f'<line class="mark" x1="{at:.1f}" y1="4" x2="{at:.1f}" y2="{base}"/>'
        f'<text class="strong" x="{at + shift:.1f}" y="14" text-anchor="{anchor}">median '
        f"{number(found.median)}</text>"
        f'<text x="0" y="{base + 18}">{number(low)}</text>'
        f'<text x="{width}" y="{base + 18}" text-anchor="end">{last}</text>'
        f'<text x="{width / 2}" y="{base + 34}" text-anchor="middle">{escape(label)}</text></svg>'
    )


def heat_map(found: Grid, metric: str) -> Markup:
    """One cell per pair of values, darker for higher; each cell shows its pair and number on hover."""
    bounds, size = levels(found.values), max(CELL, min(2 * CELL, WIDE // len(found.columns)))
    left = 12 + 7 * min(max(len(value) for value in found.rows), 18)
    top = 12 + 7 * min(max(len(value) for value in found.columns), 18)
    parts = [
        f'<text class="tick" transform="translate({left + j * size + size // 2 + 4},{top - 6}) '
        f'rotate(-90)">{_short(value)}</text>'
        for j, value in enumerate(found.columns)
    ]
    for i, row in enumerate(found.rows):
        y = top + i * size
        parts.append(
            f'<text class="tick" x="{left - 6}" y="{y + size // 2 + 4}" '
            f'text-anchor="end">{_short(row)}</text>'
        )
        for j, name in enumerate(found.columns):
            value = float(found.values[i, j])
            title = f"{found.row_name}={row}, {found.column_name}={name}: {metric} {number(value)}"
            parts.append(
                f'<rect class="{_level(value, bounds)}" x="{left + j * size + 1}" y="{y + 1}" '
                f'width="{size - 2}" '
                f'height="{size - 2}" rx="2"><title>{escape(title)}</title></rect>'
            )
    width, height = left + len(found.columns) * size + 4, top + len(found.rows) * size + 4
    label = f"{metric} by {found.row_name} (rows) and {found.column_name} (columns)"
    return Markup(
        f'<svg class="fixed" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def levels(values: np.ndarray) -> list[float]:
    """The bounds between the colours of a heat map: even steps between the 5th and the 95th percentile."""
    known = values[np.isfinite(values)]
    low, high = (float(q) for q in np.quantile(known, [0.05, 0.95])) if len(known) else (0.0, 1.0)
    return [float(bound) for bound in np.linspace(low, high, LEVELS + 1)[1:-1]]


def legend(bounds: Sequence[float]) -> Markup:
    """The colours of a heat map with the bounds between them."""
    width = 48
    parts = [
        f'<rect class="h{i}" x="{i * width}" y="0" width="{width - 2}" height="12" rx="2"/>'
        for i in range(len(bounds) + 1)
    ]
    parts += [
        f'<text class="tick" x="{(i + 1) * width - 1}" y="26" text-anchor="middle">{number(bound)}</text>'
        for i, bound in enumerate(bounds)
    ]
    full = width * (len(bounds) + 1)
    return Markup(
        f'<svg class="fixed" width="{full}" height="30" viewBox="0 0 {full} 30" role="img" '
        f'aria-label="colours">{"".join(parts)}</svg>'
    )


def share(part: float, label: str, promised: float | None = None) -> Markup:
    """A bar from 0 to 1, with a mark at what was promised."""
    width = max(0.0, min(part, 1.0)) * 100
    mark = (
        ""
        if promised is None
        else f'<rect class="goal" x="{promised * 100 - 0.5:.2f}" width="1" height="8"/>'
    )
    return Markup(
        '<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">'
        f'<rect class="track" width="100" height="8"/><rect class="bar" width="{width:.2f}" '
        f'height="8"/>{mark}</svg>'
    )


def span(low: float, middle: float, high: float, most: float) -> Markup:
    """A range with its middle on a scale from 0 (or below, where `low` is) to `most`."""
    least = min(0.0, low)
    scale = 100 / ((most - least) or 1.0)
    x1, x2, at = ((value - least) * scale for value in (low, high, middle))
    return Markup(
        '<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" '
        f'aria-label="{number(low)} to {number(high)}"><rect class="track" width="100" height="8"/>'
        f'<rect class="soft" x="{x1:.2f}" width="{max(x2 - x1, 0.5):.2f}" height="8"/>'
        f'<rect class="bar" x="{max(at - 0.6, 0):.2f}" width="1.2" height="8"/></svg>'
    )


@dataclass(frozen=True)
class Series:
    """What a small chart shows: a history with its folds (the place where each begins, its values), a
    forecast, its interval.
    """

    history: Sequence[float | None]
    folds: Sequence[tuple[int, Sequence[float | None]]]
    forecast: Sequence[float | None]
    band: Sequence[tuple[float, float]]

    def known(self) -> list[float]:
        """Every number in it."""
        folds = (value for _, values in self.folds for value in values)
        every = (*self.history, *folds, *self.forecast, *(edge for pair in self.band for edge in pair))
        return [value for value in every if value is not None and math.isfinite(value)]


def spark(series: Series, label: str) -> Markup:
    """A series in the size of a few lines of text, on one scale."""
    history, forecast, band = series.history, series.forecast, series.band
    known = series.known()
    if not known:
        return Markup()
    low, high = min(known), max(known)
    count = max(len(history) + len(forecast) - 1, 1)

    def at(place: int, value: float) -> str:
        share = (value - low) / ((high - low) or 1.0)
        return f"{place / count * SPARK[0]:.1f},{SPARK[1] - 2 - share * (SPARK[1] - 4):.1f}"

    start = len(history)
    edges = [at(start + n, pair[1]) for n, pair in enumerate(band)] + [
        at(start + n, band[n][0]) for n in reversed(range(len(band)))
    ]
    area = f'<polygon class="band" points="{" ".join(edges)}"/>' if band else ""
    folds = "".join(f'<path class="fold" d="{_path(values, place, at)}"/>' for place, values in series.folds)
    return Markup(
        f'<svg class="spark" viewBox="0 0 {SPARK[0]} {SPARK[1]}" role="img" '
        f'aria-label="{escape(label)}">{area}'
        f'<path class="history" d="{_path(history, 0, at)}"/>{folds}<path class="forecast" '
        f'd="{_path(forecast, start, at)}"/></svg>'
    )


def _path(values: Sequence[float | None], start: int, at: Callable[[int, float], str]) -> str:
    """The commands of a line that breaks where a value is missing."""
    parts, drawn = [], False
    for place, value in enumerate(values, start):
        known = value is not None and math.isfinite(value)
        if value is not None and known:
            parts.append(f"{'L' if drawn else 'M'}{at(place, value)}")
        drawn = known
    return "".join(parts)


def _level(value: float, bounds: Sequence[float]) -> str:
    return "none" if not math.isfinite(value) else f"h{int(np.searchsorted(bounds, value, side='right'))}"


def _short(text: str) -> str:
    return escape(text if len(text) <= 18 else f"{text[:17]}…")
