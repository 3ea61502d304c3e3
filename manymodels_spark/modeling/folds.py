"""Which rows a backtest trains on and which it tests: rolling-origin folds of a series, folds of a table that
go forward in time, keep groups together, or are shuffled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from manymodels_spark.errors import FitError, Reason
from manymodels_spark.modeling.closed import Mask
from manymodels_spark.spec.frequency import pandas_step
from manymodels_spark.spec.model import Spec

Positions = NDArray[np.int64]
# Fewer rows of a table are no backtest.
LEAST_ROWS = 10


@dataclass(frozen=True)
class Fold:
    """Positions of the rows to train on and of those to test on; `gap` steps of a series lie between them."""

    train: Positions
    test: Positions
    gap: int = 0


def folds_of(rows: pd.DataFrame, spec: Spec, seed: int, known: Mask | None = None) -> list[Fold]:
    """The folds that clean rows allow, latest first.

    Args:
        rows: of a forecast one for each step of the grid, of a table sorted by its time where it has one.
        spec: says the task, the horizon and `backtest`.
        seed: shuffles tables without time, and groups.
        known: which steps of a series are known, shape (len(rows),); by default all.

    Raises:
        FitError: TOO_SHORT where not even one fold fits.

    """
    if spec.task == "forecast":
        return _rolling(np.ones(len(rows), bool) if known is None else known, spec)
    if len(rows) < LEAST_ROWS:
        raise FitError(Reason.TOO_SHORT, f"{len(rows)} rows, {LEAST_ROWS} needed for a fold")
    labels = rows[spec.columns.target].to_numpy(dtype=str) if spec.task == "classification" else None
    groups = _groups(rows, spec.columns.group)
    if spec.columns.time in rows:
        return _forward(pd.DatetimeIndex(rows[spec.columns.time]), spec, labels, groups)
    if groups is not None:
        return _grouped(groups, spec.backtest.folds, seed, labels)
    return _shuffled(len(rows), spec.backtest.folds, seed, labels)


def apart(folds: Sequence[Fold]) -> list[frozenset[int]]:
    """For each fold those that share no tested row with it: what was chosen or calibrated by them has not
    seen it.
    """
    tested = [frozenset(fold.test.tolist()) for fold in folds]
    return [
        frozenset(number for number, other in enumerate(tested) if own.isdisjoint(other)) for own in tested
    ]


def distinct_share(folds: Sequence[Fold]) -> float:
    """Different tested rows over all tested rows: below 1 where folds overlap."""
    tested = [position for fold in folds for position in fold.test.tolist()]
    return len(set(tested)) / len(tested)


def _rolling(known: Mask, spec: Spec) -> list[Fold]:
    """Rolling origins (Tashman 2000). An origin is passed over where no step of its horizon is known."""
    horizon, gap, count = spec.horizon, spec.backtest.gap, len(known)
    step = spec.backtest.step or horizon
    least = horizon + 1
    folds: list[Fold] = []
    for end in range(count, horizon + gap + least - 1, -step):
        test = np.arange(end - horizon, end)
        train = np.arange(end - horizon - gap)
        if known[test].any() and known[train].any():
            folds.append(Fold(train, test, gap))
        if len(folds) == spec.backtest.folds:
            break
    if not folds:
        rows, needed = int(known.sum()), 2 * horizon + gap + 1
        steps = "" if rows == count else f" on {count} steps"
        raise FitError(Reason.TOO_SHORT, f"{rows} rows{steps}, {needed} needed for 1 fold of {horizon}")
    return folds


def _forward(
    times: pd.DatetimeIndex, spec: Spec, labels: NDArray[np.str_] | None, groups: NDArray[Any] | None
) -> list[Fold]:
    """Blocks of equal size at the end of the rows, each tested by what lies `gap` steps and more before it.

    Rows of one time are never divided, and no group is on both sides. A block is left out where too little,
    or one class only, lies before it. With one fold a fifth of the rows is held out.
    """
    count = len(times)
    size = max(count // max(spec.backtest.folds + 1, 5), 1)
    ends = [count - number * size for number in range(spec.backtest.folds + 1)]
    edges = [int(times.searchsorted(times[end], "left")) if end < count else count for end in ends]
    step = pd.tseries.frequencies.to_offset(pandas_step(spec.columns.frequency))
    folds = []
    for end, start in pairwise(edges):
        first = times[start] - spec.backtest.gap * step
        train, test = np.arange(int(times.searchsorted(first, "left"))), np.arange(start, end)
        if groups is not None:
            train = train[~np.isin(groups[train], groups[test])]
        classes = 2 if labels is None else len(np.unique(labels[train]))
        if len(test) and len(train) > 1 and classes > 1:
            folds.append(Fold(train, test))
    if not folds:
        known = "" if labels is None else ", nor rows of two classes before the rows tested"
        raise FitError(Reason.TOO_SHORT, f"{count} rows allow no fold forward in time{known}")
    return folds


def _grouped(groups: NDArray[Any], wanted: int, seed: int, labels: NDArray[np.str_] | None) -> list[Fold]:
    """Whole groups held out, the largest first given to the smallest fold; with one fold a fifth of them."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    distinct = len(np.unique(groups))
    if distinct < 2:
        raise FitError(Reason.TOO_SHORT, f"all {len(groups)} rows are of one group, 2 needed for a fold")
    count = min(wanted if wanted > 1 else 5, distinct)
    makers = (GroupKFold, StratifiedGroupKFold)
    split = makers[labels is not None](count, shuffle=True, random_state=seed % 2**32)
    found = split.split(np.zeros(len(groups)), labels, groups)
    folds = [
        Fold(train, test)
        for train, test in found
        if len(test) and (labels is None or len(np.unique(labels[train])) > 1)
    ]
    if not folds:
        raise FitError(Reason.TOO_SHORT, f"no group can be held out of {distinct} that leaves two classes")
    return folds[:wanted]


def _groups(rows: pd.DataFrame, name: str | None) -> NDArray[Any] | None:
    """A number for each row's group; a row without one is a group of its own."""
    if name is None or name not in rows:
        return None
    numbers = pd.factorize(rows[name].astype(object).map(repr, na_action="ignore"), sort=True)[0]
    missing = numbers < 0
    return np.where(missing, numbers.max() + 1 + np.arange(len(numbers)), numbers)


def _shuffled(rows: int, wanted: int, seed: int, labels: NDArray[np.str_] | None) -> list[Fold]:
    """K folds of a seeded shuffle, at most one per two rows; with one fold, a fifth of the rows is held out.

    Classes are spread evenly over the folds, and the only row of a class is never held out: nothing could
    know it.
    """
    everyone = order = np.random.default_rng(seed).permutation(rows)
    if labels is not None:
        _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
        order = order[np.argsort(inverse[order], kind="stable")]
        order = order[counts[inverse[order]] > 1]
    if len(order) == 0:
        raise FitError(
            Reason.TOO_SHORT, f"{rows} rows of {rows} classes, a class of two rows is needed for a fold"
        )
    count = min(wanted, max(len(order) // 2, 1)) if wanted > 1 else 5
    tests = [np.sort(order[number::count]) for number in range(count)][:wanted]
    return [Fold(np.setdiff1d(everyone, test), test) for test in tests if len(test)]
