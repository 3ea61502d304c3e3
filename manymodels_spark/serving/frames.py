"""JSON rows into what a model takes, checked by name and value; predictions into JSON.

Columns stay lists and arrays wherever a model takes them: for one row, a DataFrame costs more than its
prediction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray

from manymodels_spark.families.base import Problem
from manymodels_spark.modeling.predict import LoadedPartition
from manymodels_spark.serving.failures import invalid
from manymodels_spark.serving.schemas import Item, Split
from manymodels_spark.spec.frequency import pandas_step

SHOWN = 10
# So many rows of an answer are written at once.
PART = 200
DUMP = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS

Columns = dict[str, list[Any]]
_NUMBERS = frozenset({int, float, bool})
_TEXTS = frozenset({str})
_NULL = type(None)


def steps_of(item: Item, model: LoadedPartition, others: Collection[str], steps: int) -> pd.DataFrame | None:
    """The rows of a forecast's item as a DataFrame, None where it has none: times at most `steps` after the
    cutoff, and known-future columns. `others` are columns allowed with them.

    Raises ScoreError (422) for unknown, missing or ill-typed columns and for times that are no steps.
    """
    columns = _columns(item)
    if columns is None:
        return None
    problem = model.problem
    _check_names(columns, [str(problem.time), *problem.known_future], {*problem.inputs, *others})
    for name in problem.known_future:
        _check_types(name, columns[name], _NUMBERS, "a number")
    rows = pd.DataFrame(columns)
    return rows.assign(**{str(problem.time): _times(rows[problem.time], model, last_step(model, steps))})


def table_of(
    item: Item, model: LoadedPartition, others: Collection[str], texts: Collection[str]
) -> dict[str, NDArray[Any]] | None:
    """The rows of a table's item as its model's inputs, None where it has none: float64 with NaN for null,
    or, for `texts`, which may hold text, as pandas reads them. Raises ScoreError (422) as `steps_of` does.
    """
    columns = _columns(item)
    if columns is None:
        return None
    problem = model.problem
    _check_names(columns, list(problem.inputs), {*others, *([problem.time] if problem.time else [])})
    return {
        name: _texts(columns[name]) if name in texts else _floats(name, columns[name])
        for name in problem.inputs
    }


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
    return pd.tseries.frequencies.to_offset(pandas_step(problem.frequency))


def predictions_of(table: Mapping[str, Any], item: Item) -> Any:
    """The predictions in the orientation asked for; what is not finite becomes null. Times are ISO 8601
    text.

    Many rows are made and written in parts: an answer made in one go would keep every other thread waiting
    meanwhile, and once more when its values are freed.
    """
    names = [name for name in table if item.intervals or not name.startswith(("lower_", "upper_"))]
    columns, split = [np.asarray(table[name]) for name in names], item.orient == "split"
    rows = _values(names, columns, split) if len(columns[0]) <= PART else _written(names, columns, split)
    return {"columns": names, "data": rows} if split else rows


def _written(names: list[str], columns: list[NDArray[Any]], split: bool) -> orjson.Fragment:
    parts = (
        _values(names, [column[start : start + PART] for column in columns], split)
        for start in range(0, len(columns[0]), PART)
    )
    return orjson.Fragment(b"[" + b",".join(orjson.dumps(part, option=DUMP)[1:-1] for part in parts) + b"]")


def _values(names: list[str], columns: list[NDArray[Any]], split: bool) -> list[Any]:
    """The rows, as lists (split) or by name."""
    rows = zip(*map(_plain, columns), strict=True)
    return [list(row) for row in rows] if split else [dict(zip(names, row, strict=True)) for row in rows]


def _columns(item: Item) -> Columns | None:
    """The rows turned into columns: what a row of records does not name is None."""
    split, records = item.dataframe_split, item.dataframe_records
    if split is None and records is None:
        return None
    if split is not None:
        columns = _turned(split)
    else:
        names = dict.fromkeys(name for record in records or () for name in record)
        columns = {name: [record.get(name) for record in records or ()] for name in names}
    if not columns or not item.rows:
        raise invalid("the rows are empty: give at least one row with the model's columns, or leave them out")
    return columns


def _turned(split: Split) -> Columns:
    if len(set(split.columns)) < len(split.columns):
        repeated = sorted(name for name, times in Counter(split.columns).items() if times > 1)
        _refuse("repeated column", repeated, "Each column is expected once")
    if any(len(row) != len(split.columns) for row in split.data):
        raise invalid(
            f"dataframe_split.data: {len(split.columns)} values are expected in every row, one per column"
        )
    return {
        name: list(values) for name, values in zip(split.columns, zip(*split.data, strict=True), strict=False)
    }


def _check_names(columns: Columns, required: list[str], others: Collection[str]) -> None:
    if columns.keys() == set(required):
        return
    allowed = {*required, *others}
    _refuse(
        "unknown column",
        [name for name in columns if name not in allowed],
        f"The model takes {_listed(required)}",
    )
    _refuse(
        "missing column",
        [name for name in required if name not in columns],
        f"The model takes {_listed(required)}",
    )


def _check_types(name: str, values: list[Any], kinds: frozenset[type], expected: str) -> None:
    if not kinds.issuperset(map(type, values)):
        raise invalid(f"column {name!r}: {expected} in every row is expected")


def _floats(name: str, values: list[Any]) -> NDArray[np.float64]:
    _check_types(name, values, _NUMBERS | {_NULL}, "a number or null")
    return np.array(values, dtype=np.float64)


def _texts(values: list[Any]) -> NDArray[Any]:
    """What may be text as pandas reads it: a column of nothing but numbers is one of numbers."""
    if (_TEXTS | {_NULL}).issuperset(map(type, values)):
        return np.array(values, dtype=object)
    return pd.Series(values).to_numpy()


def _times(values: pd.Series, model: LoadedPartition, latest: pd.Timestamp | None) -> pd.Series:
    """Steps after the cutoff, none later than `latest`."""
    if not all(isinstance(value, str) for value in values):
        raise invalid(
            f"column {values.name!r}: times are expected as ISO 8601 text, e.g. 2026-11-24T03:00:00"
        )
    try:
        times = pd.to_datetime(values, format="ISO8601")
    except pd.errors.OutOfBoundsDatetime:
        raise invalid(f"column {values.name!r}: times between the years 1678 and 2262 are expected") from None
    except (ValueError, TypeError, OverflowError):
        raise invalid(
            f"column {values.name!r}: times are expected as ISO 8601 text, e.g. 2026-11-24T03:00:00"
        ) from None
    if getattr(times.dt, "tz", None) is not None or times.isna().any():
        raise invalid(
            f"column {values.name!r}: times without a zone are expected, in the time zone of the training "
            "rows"
        )
    if latest is not None and times.max() > latest:
        raise invalid(
            f"column {values.name!r}: {times.max()} is too far ahead. The last step answered is {latest}"
        )
    return times


def _plain(column: NDArray[Any]) -> list[Any]:
    found: list[Any] = (
        np.datetime_as_string(column, unit="s") if column.dtype.kind == "M" else column
    ).tolist()
    return found


def _refuse(what: str, names: list[str], expected: str) -> None:
    if names:
        plural = "s" if len(names) > 1 else ""
        raise invalid(f"{what}{plural} {_listed(names)}. {expected}")


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name[:80]) for name in names[:SHOWN])
    return (
        shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "") if names else "no columns"
    )
