"""The steps on which a partition is closed (`prepare.closed`), resolved for one partition and kept in its
payload. Pure pandas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from manymodels_spark.errors import FitError, Reason
from manymodels_spark.families.public_holidays import is_holiday
from manymodels_spark.spec.frequency import step_of
from manymodels_spark.spec.model import Spec

Mask = NDArray[np.bool_]
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# `auto`: a weekday without a row is closed where the rows span this many weeks.
LEAST_WEEKS = 4
_SAYS_CLOSED = ("true", "1", "1.0", "closed", "yes")
_DAY = 86_400


@dataclass(frozen=True)
class ClosedRule:
    """When one partition is closed: weekdays (0 is Monday), a place's holidays, or what a column says.

    `zone` is that of the wall clock where times are kept in UTC (steps below a day), else None. `predict` is
    `zero` or `leave_out`, for closed steps of a forecast.
    """

    weekdays: tuple[int, ...] = ()
    place: str | None = None
    column: str | None = None
    zone: str | None = None
    predict: str = "zero"

    @classmethod
    def of(cls, spec: Spec, place: str | None, times: pd.DatetimeIndex) -> ClosedRule | None:
        """The spec's rule for a partition in `place` that has rows at `times`; None where it has none."""
        closed = spec.prepare.closed
        if not closed or spec.task != "forecast":
            return None
        below_a_day = step_of(spec.columns.frequency).seconds < _DAY
        zone = spec.prepare.timezone if below_a_day and spec.prepare.timezone != "UTC" else None
        weekdays = {WEEKDAYS.index(name) for name in closed.weekdays}
        if closed.auto:
            weekdays |= _never_open(_local(times, zone))
        return cls(
            weekdays=tuple(sorted(weekdays)),
            place=place if closed.holidays else None,
            column=closed.column,
            zone=zone,
            predict=closed.predict,
        )

    def mask(self, times: pd.DatetimeIndex, rows: pd.DataFrame | None, time: str) -> Mask:
        """Whether each of the times is closed, shape (len(times),).

        Args:
            times: the steps asked for.
            rows: rows with the column `time` and the rule's column; steps that they do not name, or where the
                column is empty, are open by it.
            time: name of the time column of `rows`.

        Raises:
            FitError: MISSING_FEATURE where the rule reads a column that `rows` lack.

        """
        local = _local(times, self.zone)
        closed = np.isin(local.dayofweek.to_numpy(), self.weekdays)
        if self.place is not None:
            closed |= is_holiday(local, self.place) > 0
        if self.column is not None:
            closed |= self._said(times, rows, time)
        return closed

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON holds them."""
        return {**asdict(self), "weekdays": list(self.weekdays)}

    @classmethod
    def of_dict(cls, values: Mapping[str, Any] | None) -> ClosedRule | None:
        """The inverse of `as_dict`; None for a payload without a rule."""
        return cls(**{**values, "weekdays": tuple(values["weekdays"])}) if values else None

    def _said(self, times: pd.DatetimeIndex, rows: pd.DataFrame | None, time: str) -> Mask:
        if rows is None or self.column not in rows:
            raise FitError(
                Reason.MISSING_FEATURE,
                f"column {self.column} (prepare.closed.column) is missing: it says which steps are closed",
            )
        said = says_closed(rows[self.column]) & rows[time].notna().to_numpy()
        return np.asarray(times.isin(pd.DatetimeIndex(rows[time][said])), dtype=np.bool_)


def says_closed(values: pd.Series) -> Mask:
    """Whether each value of a column says closed: true, 1, `closed` or `yes`; shape (len(values),)."""
    texts = values.astype(object).map(lambda value: str(value).strip().lower() in _SAYS_CLOSED)
    return texts.to_numpy(dtype=np.bool_)


def _never_open(times: pd.DatetimeIndex) -> set[int]:
    if len(times) == 0 or (times[-1].normalize() - times[0].normalize()).days < 7 * LEAST_WEEKS:
        return set()
    return set(range(7)) - set(times.dayofweek)


def _local(times: pd.DatetimeIndex, zone: str | None) -> pd.DatetimeIndex:
    return times if zone is None else times.tz_localize("UTC").tz_convert(zone).tz_localize(None)
