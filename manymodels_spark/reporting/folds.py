"""The predictions that a fit keeps of its folds, put beside the rows that they were of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import orjson
import pandas as pd

Time = TypeVar("Time")


def placed(folds: str | None, rows: Sequence[tuple[Time, float | None]]) -> list[list[tuple[Time, float]]]:
    """Each fold as (time, prediction), latest first. `folds` is the column of `fits`, `rows` (time, target)
    in order of time.

    A fit sees no row without a target, so those have no prediction. Folds that begin before the rows are left
    out; of fits that older versions made (null) there are none.
    """
    known = [time for time, value in rows if value is not None and math.isfinite(value)]
    place = {pd.Timestamp(time): number for number, time in enumerate(known)}  # type: ignore[arg-type]
    starts = [
        (place.get(pd.Timestamp(fold["start"])), fold["predictions"]) for fold in orjson.loads(folds or "[]")
    ]
    return [
        list(zip(known[start:], predictions, strict=False))
        for start, predictions in starts
        if start is not None
    ]
