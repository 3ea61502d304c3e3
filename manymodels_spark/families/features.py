"""Rows into numbers for scikit-learn: lags, calendar and known-future columns of a series; columns of a
table.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from manymodels_spark.families import deadline
from manymodels_spark.families.base import Problem
from manymodels_spark.families.byte_cache import ByteCache
from manymodels_spark.families.public_holidays import is_holiday

_CALENDARS: ByteCache[NDArray[np.float64]] = ByteCache(16_000_000)
_DAYS_OR_LESS = ("D", "B", "h", "min", "15min", "30min")


@dataclass(frozen=True)
class LagFeatures:
    """How a row of features is made of past targets, the calendar and known-future columns."""

    lags: list[int]
    known_future: tuple[str, ...] | list[str]
    calendar: bool
    holidays: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields, as JSON holds them."""
        return {**asdict(self), "known_future": list(self.known_future)}

    def matrix(
        self, target: NDArray[np.float64], rows: pd.DataFrame, problem: Problem
    ) -> NDArray[np.float64]:
        """Features of every row, shape (rows, features); the first `max(lags)` rows hold NaN lags."""
        known, count = self.known(rows, problem), len(self.lags)
        matrix = np.empty((len(target), count + known.shape[1]))
        for column, lag in enumerate(self.lags):
            matrix[:lag, column] = np.nan
            matrix[lag:, column] = target[:-lag]
        matrix[:, count:] = known
        return matrix

    def forecast(
        self, estimator: Any, tail: NDArray[np.float64], future: pd.DataFrame, problem: Problem
    ) -> NDArray[np.float64]:
        """One step after another: each prediction is a lag of the next ones; shape (len(future),).

        Steps up to the shortest lag do not need each other and are predicted together.
        """
        known = self.known(future, problem)
        values, n, block = tail, len(tail), self.lags[0]
        for start in range(0, len(future), block):
            deadline.check()
            size = min(block, len(future) - start)
            at = n + start + np.arange(size)
            lagged = np.column_stack([values[at - lag] for lag in self.lags])
            step = estimator.predict(np.column_stack([lagged, known[start : start + size]]))
            values = np.concatenate([values, step])
        return values[n:]

    def known(self, rows: pd.DataFrame, problem: Problem) -> NDArray[np.float64]:
        """What is known ahead: known-future columns, the calendar and holidays; shape (rows, columns)."""
        columns = [rows[name].to_numpy(dtype=np.float64) for name in self.known_future]
        if self.calendar and problem.time is not None:
            columns.append(_dated(rows[problem.time].to_numpy(), problem.frequency, self.holidays))
        return np.column_stack(columns) if columns else np.empty((len(rows), 0))


def _dated(times: NDArray[Any], frequency: str, holidays: str | None) -> NDArray[np.float64]:
    """The columns that depend on the dates alone, made once for all partitions that share them."""

    def make() -> NDArray[np.float64]:
        dates = pd.DatetimeIndex(times)
        columns = calendar(dates, frequency)
        if holidays and frequency in _DAYS_OR_LESS:
            columns.append(is_holiday(dates, holidays))
        return np.column_stack(columns)

    return _CALENDARS.get((times.tobytes(), str(times.dtype), frequency, holidays), make)


def newer_tail(
    tail: NDArray[np.float64] | None, rows: pd.DataFrame, problem: Problem, log: bool = False
) -> NDArray[np.float64] | None:
    """The last targets after these rows, as many as before, or their logarithms; None for a table, and where
    a target has no logarithm.
    """
    target = rows[problem.target].to_numpy(dtype=np.float64)
    if tail is None or (log and not (target > 0).all()):
        return None
    return np.concatenate([tail, np.log(target) if log else target])[-len(tail) :]


def calendar(times: pd.DatetimeIndex, frequency: str) -> list[NDArray[np.float64]]:
    """Day of week as six indicators, day of year as two waves, hour as two waves where the steps are that
    short.
    """
    columns: list[NDArray[np.float64]] = []
    if frequency in _DAYS_OR_LESS:
        day = times.dayofweek.to_numpy()
        columns += [(day == number).astype(np.float64) for number in range(6)]
    if frequency in ("h", "min", "15min", "30min"):
        columns += _waves((times.hour.to_numpy() + times.minute.to_numpy() / 60) / 24)
    return columns + _waves(times.dayofyear.to_numpy() / 365.25)


def tabular_columns(frame: pd.DataFrame) -> tuple[list[int], list[int]]:
    """Positions of the numeric columns and of the others."""
    numeric = [pd.api.types.is_numeric_dtype(frame[name]) for name in frame]
    positions = range(len(numeric))
    return [i for i in positions if numeric[i]], [i for i in positions if not numeric[i]]


def _waves(phase: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    return [np.sin(2 * np.pi * phase), np.cos(2 * np.pi * phase)]
