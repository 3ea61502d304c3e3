"""The steps of a forecast, and what is known of them ahead. Pure pandas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from manymodels_spark.errors import FitError, Reason
from manymodels_spark.spec.frequency import pandas_step

# Steps from the cutoff that are predicted at most.
LONGEST = 100_000


def steps_after(
    cutoff: pd.Timestamp,
    frequency: str,
    *,
    wanted: pd.DatetimeIndex | None,
    ahead: int,
    since: pd.Timestamp | None,
) -> pd.DatetimeIndex:
    """All steps from the one after the cutoff to the last one asked for.

    Args:
        cutoff: the last time that the model knows.
        frequency: of the spec.
        wanted: times asked for, or None for `ahead` steps.
        ahead: steps asked for.
        since: count them from here, by default from the cutoff.

    Raises:
        FitError: BAD_TIMES where there is none, more than `LONGEST`, or one beyond the year 2262.

    """
    step = pd.tseries.frequencies.to_offset(pandas_step(frequency))
    try:
        if wanted is not None:
            last = wanted.max()
        else:
            start = max(cutoff, since) if since is not None else cutoff
            following = pd.date_range(start, periods=min(ahead, LONGEST + 1) + 2, freq=step)
            last = following[following > start][min(ahead, LONGEST + 1) - 1]
        times = pd.date_range(cutoff, last, freq=step)
    except pd.errors.OutOfBoundsDatetime as error:
        raise FitError(
            Reason.BAD_TIMES, f"{ahead} steps of {pandas_step(frequency)} reach beyond the year 2262"
        ) from error
    times = times[times > cutoff]
    if len(times) > LONGEST:
        raise FitError(
            Reason.BAD_TIMES,
            f"more than {LONGEST} steps from the cutoff {cutoff} are asked for, and at most that many are "
            f"predicted",
        )
    if len(times) == 0:
        raise FitError(Reason.BAD_TIMES, f"no step after the cutoff {cutoff} is asked for")
    return times


def with_times(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows with their times read.

    Raises:
        FitError: MISSING_FEATURE without the column, BAD_TIMES where a value is no time or has a zone, since
            the model's times have none.

    """
    if name not in rows:
        raise FitError(Reason.MISSING_FEATURE, f"column {name} is missing in the steps to predict")
    times = pd.to_datetime(rows[name], errors="coerce", format="mixed")
    if times.isna().any():
        raise FitError(
            Reason.BAD_TIMES, f"{int(times.isna().sum())} of {len(times)} rows have no valid {name}"
        )
    if times.dt.tz is not None:
        raise FitError(Reason.BAD_TIMES, f"{name} has time zone {times.dt.tz}; give local times without one")
    return rows.assign(**{name: times})


def required(
    names: Sequence[str], times: pd.DatetimeIndex, future: pd.DataFrame | None, time: str
) -> pd.DataFrame:
    """Known-future columns at these times, NaN where nothing is said; of two rows of a time the later counts.

    Raises:
        FitError: MISSING_FEATURE where there are no rows, or none with these columns.

    """
    if future is None:
        raise FitError(
            Reason.MISSING_FEATURE,
            f"the model requires {', '.join(names)} of the steps to predict, and none were given",
        )
    missing = [name for name in names if name not in future]
    if missing:
        raise FitError(
            Reason.MISSING_FEATURE, f"column {', '.join(missing)} is missing in the steps to predict"
        )
    known = future.drop_duplicates(time, keep="last").set_index(time)
    return known.reindex(times)[list(names)].astype(np.float64)
