"""JSON rows into the DataFrame that a model wants, checked by name and value; predictions into JSON."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from manymodels_spark.models.base import Problem
from manymodels_spark.predict import LoadedPartition
from manymodels_spark.serving.failures import ScoreError, invalid
from manymodels_spark.serving.schemas import Item

SHOWN = 10


def frame_of(
    item: Item, model: LoadedPartition, others: Collection[str], most: int, latest: pd.Timestamp | None,
    texts: Collection[str] = (),
) -> pd.DataFrame | None:  # fmt: skip
    """The rows of an item as a DataFrame, None where it has none. `others` are columns allowed beside the inputs,
    `texts` the inputs that hold text.

    Raises ScoreError (422, 413) for unknown, missing or ill-typed columns and for times that are no steps.
    """
    rows = _table(item, most)
    if rows is None:
        return None
    problem = model.problem
    wanted = [*([problem.time] if problem.task == "forecast" and problem.time else []), *_needed(problem)]
    allowed = {*wanted, *problem.inputs, *others, *([problem.time] if problem.time else [])}
    _refuse("unknown column", [str(name) for name in rows.columns if name not in allowed], f"The model takes {_listed(wanted)}")
    _refuse("missing column", [name for name in wanted if name not in rows], f"The model takes {_listed(wanted)}")
    if problem.task != "forecast":
        _numbers(rows, [name for name in problem.inputs if name not in texts], (int, float, type(None)), "a number or null")
        return rows
    _numbers(rows, problem.known_future, (int, float), "a number")
    return rows.assign(**{str(problem.time): _times(rows[problem.time], model, latest)})


def last_step(model: LoadedPartition, steps: int) -> pd.Timestamp | None:
    """The last time that may be asked for: `steps` after the cutoff; None for tasks without time."""
    if model.cutoff is None or model.problem.task != "forecast":
        return None
    try:
        latest: pd.Timestamp = min(model.cutoff + steps * step_of(model.problem), pd.Timestamp.max)
    except (OverflowError, pd.errors.OutOfBoundsDatetime):
        return pd.Timestamp.max
    return latest


def step_of(problem: Problem) -> Any:
    """One step of the model's calendar as an offset; plain weeks go on from the cutoff's own day."""
    return pd.tseries.frequencies.to_offset("7D" if problem.frequency == "W" else problem.frequency)


def predictions_of(table: pd.DataFrame, item: Item, problem: Problem) -> Any:
    """The predictions in the orientation asked for; what is not finite becomes null. Times are ISO 8601 text."""
    names = [name for name in table.columns if item.intervals or not name.startswith(("lower_", "upper_"))]
    columns = [_values(table[name]) for name in names]
    if item.orient == "split":
        return {"columns": names, "data": [list(row) for row in zip(*columns, strict=True)]}
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _table(item: Item, most: int) -> pd.DataFrame | None:
    split, records = item.dataframe_split, item.dataframe_records
    count = len(split.data) if split is not None else 0 if records is None else len(records)
    if count > most:
        raise ScoreError(413, "too_many_rows", f"{count} rows in one item, at most {most} are taken. Send them in parts")
    if split is not None:
        repeated = sorted({name for name in split.columns if split.columns.count(name) > 1})
        _refuse("repeated column", repeated, "Each column is expected once")
        if any(len(row) != len(split.columns) for row in split.data):
            raise invalid(f"dataframe_split.data: {len(split.columns)} values are expected in every row, one per column")
        frame = pd.DataFrame(split.data, columns=split.columns)
    elif records is not None:
        frame = pd.DataFrame.from_records(records)
    else:
        return None
    if frame.empty:
        raise invalid("the rows are empty: give at least one row with the model's columns, or leave them out")
    return frame


def _needed(problem: Problem) -> list[str]:
    return list(problem.known_future) if problem.task == "forecast" else list(problem.inputs)


def _numbers(rows: pd.DataFrame, names: Collection[str], kinds: tuple[type, ...], expected: str) -> None:
    for name in names:
        if rows[name].dtype.kind not in "iufb" and not all(isinstance(value, kinds) for value in rows[name]):
            raise invalid(f"column {name!r}: {expected} in every row is expected")
        if rows[name].dtype.kind == "f" and type(None) not in kinds and rows[name].isna().any():
            raise invalid(f"column {name!r}: {expected} in every row is expected")


def _times(values: pd.Series, model: LoadedPartition, latest: pd.Timestamp | None) -> pd.Series:
    """Steps after the cutoff, none later than `latest`."""
    if not all(isinstance(value, str) for value in values):
        raise invalid(f"column {values.name!r}: times are expected as ISO 8601 text, e.g. 2026-11-24T03:00:00")
    try:
        times = pd.to_datetime(values, format="ISO8601")
    except pd.errors.OutOfBoundsDatetime:
        raise invalid(f"column {values.name!r}: times between the years 1678 and 2262 are expected") from None
    except (ValueError, TypeError, OverflowError):
        raise invalid(f"column {values.name!r}: times are expected as ISO 8601 text, e.g. 2026-11-24T03:00:00") from None
    if getattr(times.dt, "tz", None) is not None or times.isna().any():
        raise invalid(f"column {values.name!r}: times without a zone are expected, in the time zone of the training rows")
    if latest is not None and times.max() > latest:
        raise invalid(f"column {values.name!r}: {times.max()} is too far ahead. The last step answered is {latest}")
    return times


def _values(column: pd.Series) -> list[Any]:
    if column.dtype.kind == "M":
        return [str(text) for text in np.datetime_as_string(column.to_numpy(), unit="s")]
    return column.tolist()


def _refuse(what: str, names: list[str], expected: str) -> None:
    if names:
        plural = "s" if len(names) > 1 else ""
        raise invalid(f"{what}{plural} {_listed(names)}. {expected}")


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name[:80]) for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "") if names else "no columns"
