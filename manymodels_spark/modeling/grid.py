"""One partition's rows on the grid of its frequency: a row for every step, and which of them are known.

A fit, its folds and its forecast count steps of the calendar and not rows. A step is known where a row with a
target lies and the partition is not closed; all others are interpolated for families that need every step,
and are never judged. Pure pandas.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.extensions import take

from manymodels_spark.errors import FitError, Reason
from manymodels_spark.families.base import Problem
from manymodels_spark.modeling.closed import ClosedRule, Mask
from manymodels_spark.modeling.outliers import capped
from manymodels_spark.spec.frequency import step_of
from manymodels_spark.spec.model import Spec

Floats = NDArray[np.float64]
# More steps are no gap but a wrong date or a wrong frequency.
LONGEST_GAP = 1_000_000
_DAY = 86_400_000_000_000
_WEEK_START = 3  # 1970-01-01 was a Thursday, 3 days after a Monday


@dataclass(frozen=True)
class Grid:
    """Rows of one partition, sorted; of a forecast one for each step from its first to its last row.

    `observed` says where a row with a target lies, `closed` where the partition is closed, each of shape
    (len(rows),). Targets are NaN where they are not known. `outliers` is the width of the fences at which
    targets to train on are capped, None for no fences.
    """

    rows: pd.DataFrame
    observed: Mask
    closed: Mask
    rule: ClosedRule | None = None
    outliers: float | None = None
    _training: dict[tuple[int, int, bool], pd.DataFrame] = field(default_factory=dict, repr=False)

    @cached_property
    def known(self) -> Mask:
        """Steps that are trained on and judged: observed and open."""
        return self.observed & ~self.closed

    def training(self, positions: NDArray[np.int64], problem: Problem, *, every_step: bool) -> pd.DataFrame:
        """The rows at these positions (in order) to train on, outliers capped by the fences of these rows.

        With `every_step` unknown steps are interpolated, from these rows only; else they are left out. Rows
        that follow each other are made once for all candidates, each of which gets a copy.
        """
        if not _follow_each_other(positions):
            return self._made(positions, problem, every_step)
        key = int(positions[0]), int(positions[-1]), every_step
        if key not in self._training:
            self._training[key] = self._made(positions, problem, every_step)
        return self._training[key].copy()

    def _made(self, positions: NDArray[np.int64], problem: Problem, every_step: bool) -> pd.DataFrame:
        rows, known = rows_at(self.rows, positions), self.known[positions]
        if self.outliers is not None:
            values = rows[problem.target].to_numpy(dtype=np.float64)
            rows = rows.assign(**{problem.target: capped(values, self.outliers)})
        if known.all():
            return rows
        if not every_step:
            return rows[known]
        values = rows[problem.target].to_numpy(dtype=np.float64)
        return rows.assign(**{problem.target: interpolated(values, known, problem.season)})


def rows_at(rows: pd.DataFrame, positions: NDArray[np.int64]) -> pd.DataFrame:
    """The rows at these positions, in order; where they follow each other a view, ten times as fast."""
    if _follow_each_other(positions):
        return rows.iloc[int(positions[0]) : int(positions[-1]) + 1]
    return rows.iloc[positions]


def _follow_each_other(positions: NDArray[np.int64]) -> bool:
    return int(positions[-1]) - int(positions[0]) + 1 == len(positions)


def table(rows: pd.DataFrame) -> Grid:
    """The rows of a tabular task, all of them known."""
    return Grid(rows, np.ones(len(rows), bool), np.zeros(len(rows), bool))


def on_grid(rows: pd.DataFrame, spec: Spec, problem: Problem) -> Grid:
    """Clean rows of a forecast on the grid of its frequency.

    Args:
        rows: as `cleaning.clean` gives them: sorted, without repeated times, with targets that may be NaN.
        spec: says the frequency and when the partition is closed.
        problem: says where the partition is, for its holidays.

    Raises:
        FitError: BAD_TIMES where the rows span more steps than a series can have, ALL_NULL where no row is
            both open and known.

    """
    time = str(problem.time)
    times = pd.DatetimeIndex(rows[time])
    made = missing_steps(times, problem.frequency)
    rule = ClosedRule.of(spec, problem.holidays, times)
    full = rows if len(made) == 0 else _with_steps(rows, made, problem)
    steps = times if len(made) == 0 else pd.DatetimeIndex(full[time])
    closed = np.zeros(len(full), bool) if rule is None else rule.mask(steps, rows, time)
    observed = ~np.isnan(full[problem.target].to_numpy())
    if not (observed & ~closed).any():
        raise FitError(Reason.ALL_NULL, f"none of {len(rows)} rows has a value on a step that is open")
    if closed.any():
        full = full.assign(**{problem.target: full[problem.target].where(~closed)})
    return Grid(full, observed, closed, rule)


def missing_steps(times: pd.DatetimeIndex, frequency: str) -> pd.DatetimeIndex:
    """The steps without a row between sorted times, those that a forecast from the row before would have.

    What holds a row gets no other: a step of fixed length where a row is within half of it, a day, month,
    quarter or year where a row is in it (as `prepare.gaps` fills them).

    Raises:
        FitError: BAD_TIMES where there are more than `LONGEST_GAP` of them beside gaps longer than that,
            which are wrong dates and are left.

    """
    at = times.to_numpy().astype("M8[ns]", copy=False).view(np.int64)
    if len(at) < 2:
        return times[:0]
    made = _in_periods(times, frequency) if step_of(frequency).months else _of_fixed_length(at, frequency)
    if len(made) > LONGEST_GAP:
        raise FitError(
            Reason.BAD_TIMES,
            f"{len(at)} rows span {len(made) + len(at)} steps of {frequency}: is columns.frequency right?",
        )
    return made[made.dayofweek < 5] if frequency == "B" else made


def interpolated(values: Floats, known: Mask, season: int) -> Floats:
    """Values with those that are not known filled: each season's mean shape is taken off, the rest is
    interpolated linearly (and carried on at the ends), and the shape put back.

    Shape (len(values),). Seasonal adjustment before a linear interpolation is the method `na_seadec` of
    Moritz and Bartz-Beielstein (2017), with the mean of each phase for the season.
    """
    if not known.any():
        return np.zeros(len(values))
    positions = np.arange(len(values))
    shape = _season_shape(values, known, season)[positions % season]
    rest = np.interp(positions, positions[known], (values - shape)[known])
    return np.where(known, values, rest + shape)


def _season_shape(values: Floats, known: Mask, season: int) -> Floats:
    """Each phase's mean less the mean of all; 0 for phases that are never known, and with under two
    seasons.
    """
    if season < 2 or int(known.sum()) < 2 * season:
        return np.zeros(max(season, 1))
    phase = (np.arange(len(values)) % season)[known]
    counts = np.bincount(phase, minlength=season)
    sums = np.bincount(phase, weights=values[known], minlength=season)
    means = np.divide(sums, counts, out=np.full(season, np.nan), where=counts > 0)
    return np.asarray(np.nan_to_num(means - np.nanmean(means)), dtype=np.float64)


def _with_steps(rows: pd.DataFrame, made: pd.DatetimeIndex, problem: Problem) -> pd.DataFrame:
    """The rows and the steps that were made, in order; known-future columns as the row before says."""
    time, count = str(problem.time), len(rows)
    times = np.concatenate([rows[time].to_numpy(), made.to_numpy()])
    order = np.argsort(times, kind="stable")
    source = np.where(order < count, order, -1)
    before = np.maximum.accumulate(source)
    columns: dict[str, Any] = {}
    for name, column in rows.items():
        values = column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array
        at = before if name in problem.known_future else source
        columns[str(name)] = times[order] if name == time else take(values, at, allow_fill=True)
    return pd.DataFrame(columns)


def _of_fixed_length(at: NDArray[np.int64], frequency: str) -> pd.DatetimeIndex:
    step = _DAY if frequency == "B" else step_of(frequency).seconds * 1_000_000_000
    gap = np.diff(at)
    if (gap == step).all():
        return pd.DatetimeIndex([])
    first, last = at[:-1] + step, at[1:] - step // 2
    if frequency in ("D", "B"):
        last = np.minimum(last, at[1:] // _DAY * _DAY)
    if frequency.startswith("W-"):
        # Three days on, since the row is within half a step of a nearer anchor.
        anchor = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN").index(frequency[2:])
        weekday = (at[:-1] // _DAY + _WEEK_START) % 7
        first = at[:-1] + _DAY * (4 + (anchor - weekday - 4) % 7)
    return pd.DatetimeIndex(_repeated(first, -((first - last) // step), step))


def _in_periods(times: pd.DatetimeIndex, frequency: str) -> pd.DatetimeIndex:
    """As `_of_fixed_length`, for months, quarters and years. Up to half a day before a period that is told by
    its start, or after one told by its end, a row is that period's.
    """
    ends = frequency.endswith("E")
    shifted = times - pd.Timedelta(hours=12) if ends else times + pd.Timedelta(hours=12)
    periods = shifted.to_period({"month": "M", "quarter": "Q", "year": "Y"}[step_of(frequency).unit])
    number = periods.asi8
    made = _repeated(number[:-1] + 1, np.diff(number) - 1, 1)
    if len(made) == 0:
        return times[:0]
    named = pd.PeriodIndex.from_ordinals(made, freq=periods.freq)  # type: ignore[attr-defined]
    days = named.end_time.normalize() if ends else named.start_time
    clock = (times - times.normalize())[:-1]
    return pd.DatetimeIndex(days + np.repeat(clock, _counts(np.diff(number) - 1)))


def _repeated(first: NDArray[np.int64], counts: NDArray[np.int64], step: int) -> NDArray[np.int64]:
    """`first`, `first + step`, ... so many from each."""
    counts = _counts(counts)
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(np.repeat(first, counts) + within * step, dtype=np.int64)


def _counts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where((counts < 0) | (counts > LONGEST_GAP), 0, counts)
