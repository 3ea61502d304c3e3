"""Series as text: a line of blocks for a course, and a chart of history, forecast and interval.

For terminals, and for notebooks as preformatted HTML.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich.console import Console, RenderableType
from rich.text import Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH, HEIGHT = 64, 8
_HISTORY, _FORECAST, _BAND = "white", "bold cyan", "blue"
# History is shown for so many horizons, and for as many steps at least.
_HORIZONS, _LEAST = 2, 36


def sparkline(values: Sequence[float]) -> str:
    """One block a value, the lowest for the least and the highest for the largest; blanks where none is."""
    known = [value for value in values if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((one - low) * scale)] if math.isfinite(one) else " " for one in values)


def forecast_chart(history: pd.DataFrame, forecast: pd.DataFrame, *, time: str, target: str) -> Text:
    """The last steps of `history` (time, target), and `forecast` (time, prediction, lower_*, upper_*) with
    its narrowest interval, as lines of text.
    """
    past = history[[time, target]].dropna().tail(max(_HORIZONS * len(forecast), _LEAST))
    names = [str(name) for name in forecast.columns]
    levels = [int(name[6:]) for name in names if name.startswith("lower_") and name[6:].isdigit()]
    level = min(levels, default=None)
    seen = past[target].to_numpy(float)
    middle = forecast["prediction"].to_numpy(float)
    low, high = (
        forecast[f"{side}_{level}"].to_numpy(float) if level is not None else middle
        for side in ("lower", "upper")
    )
    columns = min(WIDTH, len(seen) + len(middle))
    ahead = min(max(1, round(columns * len(middle) / (len(seen) + len(middle)))), len(middle))
    behind = min(columns - ahead, len(seen))
    drawn = _Grid(_binned(seen, behind), *(_binned(one, ahead) for one in (middle, low, high)))
    ends = (past[time].iloc[0], forecast[time].iloc[0], forecast[time].iloc[-1])
    text = drawn.text()
    text.append(_axis(ends, behind, ahead), "dim")
    if level is not None:
        text.append(f"\n{'':10}forecast ", _FORECAST)
        text.append(f"with its {level} % interval", _BAND)
    return text


def _binned(values: Floats, count: int) -> Floats:
    """The means of `count` spans of the values."""
    return np.array([np.nanmean(part) for part in np.array_split(values, count)]) if count else values


class _Grid:
    """A chart's cells: a dot for a value, shading where an interval is."""

    def __init__(self, seen: Floats, middle: Floats, low: Floats, high: Floats) -> None:
        every = np.concatenate([seen, middle, low, high])
        every = every[np.isfinite(every)]
        self.bottom, self.top = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
        if self.top <= self.bottom:
            self.top = self.bottom + 1.0
        self.seen, self.middle, self.low, self.high = seen, middle, low, high

    def text(self) -> Text:
        """The lines from top to bottom, the first, the middle and the last with their value."""
        text = Text()
        for row in range(HEIGHT):
            value = self.top - (self.top - self.bottom) * row / (HEIGHT - 1)
            label = f"{_figure(value):>8}" if row in (0, HEIGHT // 2, HEIGHT - 1) else " " * 8
            text.append(f"{label} ┤", "dim")
            for cell, style in self._cells(row):
                text.append(cell, style)
            text.append("\n")
        return text

    def _cells(self, row: int) -> Iterable[tuple[str, str]]:
        for value in self.seen:
            yield ("•", _HISTORY) if self._row(value) == row else (" ", "")
        for value, low, high in zip(self.middle, self.low, self.high, strict=True):
            if self._row(value) == row:
                yield "•", _FORECAST
            else:
                yield ("░", _BAND) if self._row(high) <= row <= self._row(low) else (" ", "")

    def _row(self, value: float) -> int:
        if not math.isfinite(value):
            return HEIGHT
        return round((self.top - value) / (self.top - self.bottom) * (HEIGHT - 1))


def _axis(ends: tuple[object, object, object], behind: int, ahead: int) -> str:
    """The times of the first row, of the forecast's first and of its last, below their columns."""
    first, start, last = (_moment(end) for end in ends)
    line = f"{'':10}{first}".ljust(10 + behind) + start
    room = 10 + behind + ahead - len(last)
    return line.ljust(room) + last if room > len(line) + 1 else f"{line} to {last}"


def _moment(value: object) -> str:
    moment = pd.Timestamp(value)  # type: ignore[arg-type]
    return f"{moment:%Y-%m-%d}" if moment == moment.normalize() else f"{moment:%Y-%m-%d %H:%M}"


def _figure(value: float) -> str:
    """A value in at most seven characters or so: `12.3k`, `0.04`, `1,234`."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:,.1f}M"
    value = round(value, 9)  # not the -7e-15 of a zero
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def as_html(parts: Iterable[RenderableType], width: int = 110) -> str:
    """What a terminal would show, as preformatted HTML."""
    console = Console(record=True, file=StringIO(), width=width, force_terminal=True)
    for part in parts:
        console.print(part, highlight=False)
    return console.export_html(
        inline_styles=True,
        code_format="<pre style='background:#16202c;color:#e4e7eb;padding:1em;line-height:1.2'>{code}</pre>",
    )
