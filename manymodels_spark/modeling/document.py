"""What a payload says: the members' states, the calendar they live on, intervals, bounds and quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from manymodels_spark.families import registry
from manymodels_spark.families.base import Family, Problem
from manymodels_spark.modeling.bounds import Bounds
from manymodels_spark.modeling.conformal import Intervals
from manymodels_spark.modeling.grid import Grid
from manymodels_spark.modeling.selection import how_of
from manymodels_spark.spec.model import Spec


def document_of(
    members: list[dict[str, Any]],
    grid: Grid,
    last: int,
    spec: Spec,
    problem: Problem,
    *,
    weights: list[float] | None = None,
    intervals: Intervals | None = None,
) -> dict[str, Any]:
    """The document that `payload.seal` stores.

    Args:
        members: as `member_of` makes them.
        grid: the rows that were fitted.
        last: position of the last row that trained the members.
        spec: says combination, bounds and quantiles.
        problem: what the families were given.
        weights: one a member, of a weighted combination.
        intervals: None where nothing was calibrated: a fallback, or classes.

    """
    document: dict[str, Any] = {
        "task": problem.task,
        "target": problem.target,
        "time": problem.time,
        "frequency": problem.frequency,
        "horizon": problem.horizon,
        "season": problem.season,
        "known_future": list(problem.known_future),
        "features": list(problem.features),
        "static": list(problem.static),
        "holidays": problem.holidays,
        "zone": problem.zone,
        "combine": how_of(spec),
        "closed": grid.rule.as_dict() if grid.rule else None,
        "bounds": Bounds.of(spec.predict).as_dict(),
        "probabilities": list(spec.predict.quantiles) if intervals else [],
        "intervals": intervals.as_dict() if intervals else None,
        "cutoff": time_at(grid, last, problem),
        "history": _history(grid, last, problem),
        "members": members,
    }
    return document if weights is None else {**document, "weights": weights}


def member_of(family: Family[Any], model: Any) -> dict[str, Any]:
    """One fitted model as it is stored."""
    return {
        "family": registry.name_of(type(family)),
        "version": family.version,
        "options": family.options.model_dump(mode="json"),
        "state": family.dump(model),
        "classes": family.classes(model),
    }


def time_at(grid: Grid, position: int, problem: Problem) -> str | None:
    """The time of a row as ISO text; None for tables without times."""
    if problem.time is None:
        return None
    return pd.DatetimeIndex(grid.rows[problem.time])[position].isoformat()


def _history(grid: Grid, last: int, problem: Problem) -> list[float | None]:
    """The last targets of a forecast, a value a step, None where it is not known: to be drawn."""
    if problem.task != "forecast":
        return []
    count = 3 * max(problem.horizon, problem.season)
    values = grid.rows[problem.target].to_numpy()[max(0, last + 1 - count) : last + 1]
    return [None if np.isnan(value) else float(value) for value in values]
