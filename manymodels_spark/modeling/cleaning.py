"""The rows of one partition, made ready for a fit or refused with a reason. Pure pandas."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from manymodels_spark.errors import FitError, Reason
from manymodels_spark.spec.clock import kept_zone
from manymodels_spark.spec.model import Spec

_NUMBERS = (int, float, str, Decimal, np.number, np.bool_)
_ZONE = re.compile(r":\d\d(\.\d+)?\s*(Z|UTC|GMT|[+-]\d\d:?(\d\d)?)$", re.IGNORECASE)


def clean(rows: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """Rows sorted by time, with a float target (or labels as text), and only the columns that count.

    Rows of a table without a target are left out. A series begins and ends with a row that has one; between
    them it is NaN where it is not known. Rows of a table without times come in an order of their own, the
    same for the same rows in any order: folds are drawn by position.

    Raises:
        FitError: with the reason, where the partition cannot be fitted.

    """
    wanted, given = columns_of_fit(spec), list(rows.columns)
    missing = [name for name in wanted if name not in given]
    if missing:
        raise FitError(
            Reason.MISSING_FEATURE, f"column {', '.join(missing)} is missing in the partition's rows"
        )
    # A tenth of what `rows[wanted]` takes.
    frame, columns = rows.take([given.index(name) for name in wanted], axis=1), spec.columns
    if columns.time:
        frame = _in_order(frame, columns.time, spec)
    else:
        frame = frame.iloc[np.argsort(_hashes(frame), kind="stable")]
    values = frame[columns.target]
    target = _labels(values) if spec.task == "classification" else _numbers(values, spec)
    frame = frame if target is values else frame.assign(**{columns.target: target})
    known = target.notna().to_numpy() if spec.task == "classification" else ~np.isnan(target.to_numpy())
    if spec.task == "forecast":
        first, last = np.flatnonzero(known)[[0, -1]]
        frame = frame if last - first == len(frame) - 1 else frame.iloc[first : last + 1]
    elif not known.all():
        frame = frame[known]
    return _with_inputs(frame, spec)


def columns_of_fit(spec: Spec) -> list[str]:
    """The columns that a fit reads of a partition's rows, without repeats."""
    columns = spec.columns
    also = spec.prepare.closed.column if spec.task == "forecast" else columns.group
    named = [columns.time, columns.target, *columns.inputs, also]
    return list(dict.fromkeys(name for name in named if name))


def require_classes(rows: pd.DataFrame, spec: Spec) -> None:
    """Raises FitError(ONE_CLASS) where clean rows of a classification hold one class: a fallback may do."""
    if spec.task == "classification" and rows[spec.columns.target].nunique() < 2:
        raise FitError(
            Reason.ONE_CLASS, f"all {len(rows)} rows are of class {rows[spec.columns.target].iat[0]!r}"
        )


def _hashes(frame: pd.DataFrame) -> NDArray[Any]:
    """A number for each row that depends on nothing but its values."""
    texts = {str(name): column.map(repr) for name, column in frame.items() if column.dtype == object}
    return pd.util.hash_pandas_object(frame.assign(**texts), index=False).to_numpy()


def _in_order(frame: pd.DataFrame, time: str, spec: Spec) -> pd.DataFrame:
    given = frame[time]
    times = _times(given, kept_zone(spec))
    values = times.to_numpy()
    missing = np.isnat(values)
    if missing.any():
        if spec.prepare.bad_times == "quarantine":
            raise FitError(
                Reason.BAD_TIMES, f"{int(missing.sum())} of {len(times)} rows have no valid {time}"
            )
        frame, times, values = frame[~missing], times[~missing], values[~missing]
    if (values[1:] < values[:-1]).any():
        order = np.argsort(values, kind="stable")
        frame, times, values = frame.iloc[order], times.iloc[order], values[order]
    copies = int((values[1:] == values[:-1]).sum())
    if copies and spec.task == "forecast":
        raise FitError(Reason.DUPLICATE_TIMES, f"{copies} duplicate timestamps in column {time}")
    frame = frame if times is given else frame.assign(**{time: times})
    # Rows of a table may share a time, and come in the same order whatever theirs was.
    return frame.iloc[np.lexsort((_hashes(frame), values))] if copies else frame


def _times(values: pd.Series, timezone: str) -> pd.Series:
    """Times without zone: those with one are converted to the spec's, others are taken to be in it already.

    Text and mixed zones are read; what cannot be read is NaT, and so are bare numbers, of unknown unit.
    """
    if isinstance(values.dtype, np.dtype) and values.dtype.kind == "M":
        return values
    if pd.api.types.is_numeric_dtype(values):
        return pd.Series(pd.NaT, index=values.index, dtype="datetime64[ns]")
    if pd.api.types.is_datetime64_any_dtype(values):
        local: pd.Series = values.dt.tz_convert(timezone).dt.tz_localize(None)
        return local
    zoned = values.map(_has_zone).astype(bool)
    plain = pd.to_datetime(values.where(~zoned), errors="coerce", format="mixed")
    if not zoned.any():
        return plain
    instants = pd.to_datetime(values.where(zoned), errors="coerce", utc=True, format="mixed")
    return plain.fillna(instants.dt.tz_convert(timezone).dt.tz_localize(None))


def _has_zone(value: object) -> bool:
    if isinstance(value, str):
        return _ZONE.search(value.strip()) is not None
    return getattr(value, "tzinfo", None) is not None


def _numbers(values: pd.Series, spec: Spec) -> pd.Series:
    if values.dtype != np.float64 and not pd.api.types.is_float_dtype(values):
        numbers = _read(values)
        lost = numbers.isna() & values.notna()
        if lost.any():
            example = values[lost].iloc[0]
            raise FitError(
                Reason.NOT_NUMERIC,
                f"{int(lost.sum())} of {len(values)} targets are not numbers, e.g. {example!r}",
            )
        values = numbers
    values = values if values.dtype == np.float64 else values.astype(np.float64)
    array = values.to_numpy()
    if np.isinf(array).any():
        if spec.prepare.not_finite == "quarantine":
            raise FitError(
                Reason.NOT_FINITE, f"{int(np.isinf(array).sum())} of {len(array)} targets are infinite"
            )
        values = values.where(~np.isinf(array))
    if np.isnan(values.to_numpy()).all():
        raise FitError(Reason.ALL_NULL, f"none of {len(values)} rows has a value in {spec.columns.target}")
    return values


def _read(values: pd.Series) -> pd.Series:
    """Numbers and text that is a number; anything else, dates and lists too, is NaN."""
    if not pd.api.types.is_numeric_dtype(values):
        values = values.astype(object).map(lambda value: value if isinstance(value, _NUMBERS) else None)
    return pd.to_numeric(values, errors="coerce").astype(np.float64)


def _labels(values: pd.Series) -> pd.Series:
    if values.isna().all():
        raise FitError(Reason.ALL_NULL, f"none of {len(values)} rows has a label")
    return values.map(_label, na_action="ignore").astype(object)


def _label(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).lower() if isinstance(value, (bool, np.bool_)) else str(value)


def _with_inputs(frame: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """Known-future features of a forecast must be numbers in every row; tabular families fill what is
    missing.
    """
    if spec.task != "forecast" or not spec.columns.known_future:
        return frame
    numbers = {name: pd.to_numeric(frame[name], errors="coerce") for name in spec.columns.known_future}
    gaps = {name: int(values.isna().sum()) for name, values in numbers.items() if values.isna().any()}
    filled = frame.assign(
        **{name: values.astype(np.float64).ffill().bfill() for name, values in numbers.items()}
    )
    empty = [name for name in gaps if filled[name].isna().any()]
    if empty:
        raise FitError(
            Reason.MISSING_FEATURE, f"known_future column {', '.join(empty)} has no value in any row"
        )
    return filled
