"""A model brought up to date: rows that came since its training, without a refit. Pure pandas."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd

from manymodels_spark.modeling.predict import LoadedPartition
from manymodels_spark.spec.frequency import pandas_step


def brought_up_to_date(loaded: LoadedPartition, rows: pd.DataFrame) -> LoadedPartition:
    """The model as of the last of `rows`, or `loaded` itself where it cannot be brought there.

    A model of several members is updated as a whole: a member that cannot be leaves all as they were, and
    the forecast then goes on from the training's last row.

    Args:
        loaded: the opened payload of a forecast; left as it was.
        rows: the clean rows after its cutoff, sorted by time, with a float target and the known-future
            columns.

    Returns:
        A model that predicts the steps after the last row. It has the members' parameters and intervals of
        `loaded`.

    """
    time = str(loaded.problem.time)
    if loaded.cutoff is None or rows.empty:
        return loaded
    if not _is_every_step(rows[time], loaded.cutoff, loaded.problem.frequency):
        return loaded
    updated = []
    for family, model in loaded._members:
        try:
            newer = family.update(model, rows, loaded.problem)
        except Exception:  # a family that cannot do it predicts from the model as it was
            return loaded
        if newer is None:
            return loaded
        updated.append((family, newer))
    current = copy.copy(loaded)
    current._members, current._steps = updated, None
    current.cutoff = pd.Timestamp(rows[time].iloc[-1])
    return current


def _is_every_step(times: pd.Series, cutoff: pd.Timestamp, frequency: str) -> bool:
    """Whether the times are all the steps from the one after the cutoff to the last of them."""
    steps = pd.date_range(cutoff, times.iloc[-1], freq=pandas_step(frequency))
    return np.array_equal(steps[steps > cutoff].to_numpy(), times.to_numpy())
