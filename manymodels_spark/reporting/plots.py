"""One partition as a picture: its history, its forecast and the intervals around it."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pandas as pd

from manymodels_spark.errors import ManyModelsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Folds = Sequence[Sequence[tuple[Any, float]]]

STEPS_OF_HISTORY = 6


def forecast_figure(
    history: pd.DataFrame, forecast: pd.DataFrame, *, time: str, target: str, title: str, folds: Folds = ()
) -> Figure:
    """A matplotlib figure of the last rows of `history` (time, target), `forecast` (time, prediction,
    lower_*, ...) and what the champion predicted on its `folds` ((time, prediction) of each).

    Raises ManyModelsError where matplotlib is not installed.
    """
    shown = history.sort_values(time).tail(max(60, STEPS_OF_HISTORY * len(forecast)))
    tried = [fold for fold in folds if fold[0][0] >= shown[time].min()]
    figure = _picture()
    axes = figure.subplots()
    axes.plot(shown[time], shown[target], color="#52606d", linewidth=1, label="history")
    for number, level in enumerate(sorted(_levels(forecast), reverse=True)):
        axes.fill_between(
            forecast[time],
            forecast[f"lower_{level}"],
            forecast[f"upper_{level}"],
            color="#2b7de9",
            alpha=0.15 + 0.1 * number,
            linewidth=0,
            label=f"{level} % interval",
        )
    for number, fold in enumerate(tried):
        axes.plot(*zip(*fold, strict=True), color="#e07b39", linewidth=1.2, label=None if number else "folds")
        axes.axvline(fold[0][0], color="#e07b39", linewidth=0.6, linestyle=":")
    axes.plot(forecast[time], forecast["prediction"], color="#2b7de9", linewidth=1.6, label="forecast")
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_ylabel(target)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=5, loc="upper left")
    return figure


def _picture() -> Figure:
    """A figure that a notebook shows by itself, without pyplot and its global state."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ManyModelsError("a plot requires matplotlib. Install it: pip install matplotlib") from error

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            buffer = BytesIO()
            self.savefig(buffer, format="png", dpi=110)
            return buffer.getvalue()

    return Picture(figsize=(10, 3.6), layout="constrained")


def _levels(forecast: pd.DataFrame) -> list[int]:
    return [int(str(name).removeprefix("lower_")) for name in forecast if str(name).startswith("lower_")]
