"""The numbers behind the report's pictures: picks, bins and grids from the table of partitions.
No markup here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from manymodels_spark.reporting.records import column

PICKED = 15
BINS = 24
GRID = 40


@dataclass(frozen=True)
class Histogram:
    """Counts between `edges` (one more than counts);
    what lies beyond the last edge is counted in the last bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    median: float
    clipped: bool


@dataclass(frozen=True)
class Grid:
    """The median of the metric per cell, shape (rows, columns), NaN where no partition has one."""

    row_name: str
    column_name: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray
    left_out: int


@dataclass(frozen=True)
class Picks:
    """The partitions worth a look, by id: lowest and highest error,
    and most changed since the model before.
    """

    best: list[str]
    worst: list[str]
    changed: list[str]

    @property
    def ids(self) -> list[str]:
        """All of them, once each: the worst first."""
        return list(dict.fromkeys([*self.worst, *self.changed, *self.best]))


def pick(partitions: pd.DataFrame, count: int, *, higher_is_better: bool) -> Picks:
    """The `count` best, worst and most changed partitions; ties in the order of their ids.

    Of few partitions at most half are best and half are worst, so that none is both.
    """
    known = finite(partitions, "metric").sort_values("partition_id")
    half = len(known) // 2
    ranked = known.sort_values("metric", ascending=not higher_is_better, kind="stable")["partition_id"]
    best = ranked.head(min(count, half)).tolist()
    worst = ranked.iloc[::-1].head(min(count, len(known) - half)).tolist()
    moved = finite(known, "previous")
    moved = moved.assign(_by=(moved["metric"] - moved["previous"]).abs())
    moved = moved[moved["_by"] > 0].sort_values("_by", ascending=False, kind="stable")
    return Picks(best, worst, moved["partition_id"].head(count).tolist())


def finite(partitions: pd.DataFrame, name: str) -> pd.DataFrame:
    """The partitions whose column is a finite number."""
    known: pd.DataFrame = partitions.loc[np.isfinite(partitions[name].to_numpy(float))]
    return known


def histogram(values: Sequence[float] | np.ndarray, bins: int = BINS) -> Histogram | None:
    """Bins from the lowest value to the 99th percentile,
    so that one wild partition does not flatten all others.
    """
    found = np.asarray(values, float)
    found = found[np.isfinite(found)]
    if not len(found):
        return None
    low, high = float(found.min()), float(np.quantile(found, 0.99))
    if high <= low:
        high = low + (abs(low) or 1.0) * 0.1
    counts, edges = np.histogram(
        np.clip(found, low, high), bins=min(bins, max(4, len(found))), range=(low, high)
    )
    return Histogram(
        tuple(map(float, edges)), tuple(map(int, counts)), float(np.median(found)), float(found.max()) > high
    )


def grid(partitions: pd.DataFrame, rows: str, columns: str, limit: int = GRID) -> Grid | None:
    """The median metric by two partition columns;
    of each only the `limit` values with most partitions are shown.
    """
    known = finite(partitions, "metric")
    by_row, by_column = column(rows), column(columns)
    kept_rows, kept_columns = _frequent(known[by_row], limit), _frequent(known[by_column], limit)
    shown = known[known[by_row].isin(kept_rows) & known[by_column].isin(kept_columns)]
    if shown.empty:
        return None
    cells = shown.groupby([by_row, by_column], sort=False)["metric"].median().unstack(by_column)
    cells = cells.reindex(index=kept_rows, columns=kept_columns)
    return Grid(
        rows, columns, tuple(kept_rows), tuple(kept_columns), cells.to_numpy(float), len(known) - len(shown)
    )


@dataclass(frozen=True)
class Slice:
    """One value of a partition column: how many partitions have a metric, and its quartiles."""

    value: str
    partitions: int
    low: float
    median: float
    high: float


def slices(partitions: pd.DataFrame, name: str, limit: int = 30) -> tuple[list[Slice], int]:
    """The metric by the values of one partition column, highest median first,
    and how many values are not shown.
    """
    grouped = finite(partitions, "metric").groupby(column(name), sort=True)["metric"]
    found = [
        Slice(str(value), len(rows), *(float(q) for q in np.quantile(rows, [0.25, 0.5, 0.75])))
        for value, rows in grouped
    ]
    found.sort(key=lambda one: -one.median)
    return found[:limit], max(len(found) - limit, 0)


def title_of(row: Mapping[str, Any], partition_by: Sequence[str], longest: int = 120) -> str:
    """A row of the table of partitions as a person reads its key."""
    text = "  ".join(f"{name}={row[column(name)]}" for name in partition_by)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def natural(text: str) -> tuple[int, float, str]:
    """A sort key that puts 2 before 10, and numbers before words."""
    try:
        number = float(text)
    except ValueError:
        return 1, 0.0, text
    return (0, number, text) if math.isfinite(number) else (1, 0.0, text)


def _frequent(values: pd.Series, limit: int) -> list[str]:
    return sorted(values.value_counts().head(limit).index.tolist(), key=natural)
