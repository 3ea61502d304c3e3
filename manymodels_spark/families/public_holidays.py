"""Public holidays of a country or of one of its regions, `ES` or `ES-MD`, from the package `holidays`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from manymodels_spark.errors import FitError, Reason
from manymodels_spark.keys import PartitionKey
from manymodels_spark.spec.model import Spec

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


def place_of(spec: Spec, key: PartitionKey, rows: pd.DataFrame) -> str | None:
    """Where a partition is, as the spec says or a column of its key or rows; None where nobody knows.

    Raises FitError where no holidays are known for what the column says.
    """
    where = spec.columns.holidays
    if where is None or isinstance(where, str):
        return where
    values = key.as_dict()
    place = values[where.column] if where.column in values else next(iter(rows[where.column].dropna()), None)
    if place is None:
        return None
    if wrong := mistake(str(place)):
        raise FitError(Reason.FIT_FAILED, f"column {where.column}: {wrong}")
    return str(place)


@lru_cache(maxsize=512)
def mistake(place: str) -> str | None:
    """What is wrong with a place as a spec names it, or None."""
    import holidays

    country, _, region = place.partition("-")
    known = holidays.list_supported_countries(include_aliases=True)
    if country not in known:
        return (
            f"no holidays are known for country {country!r}. Use an ISO code, e.g. ES, or ES-MD for a region"
        )
    if region and region not in known[country]:
        regions = ", ".join(f"{country}-{name}" for name in known[country]) or "none"
        return f"no region {region!r} in {country}. Known: {regions}"
    return None


def is_holiday(times: pd.DatetimeIndex, place: str) -> NDArray[np.float64]:
    """1.0 where a time falls on a holiday, else 0.0; shape (len(times),)."""
    import numpy as np
    import pandas as pd

    days = times.normalize()
    off = [day for year in sorted(set(times.year)) for day in _of_year(place, int(year))]
    return np.asarray(days.isin(pd.DatetimeIndex(off)), dtype=np.float64)


def holidays_between(place: str, first: str, last: str) -> list[pd.Timestamp]:
    """The holidays of a place from one day to another (ISO text); none where no place is of that name."""
    import pandas as pd

    if mistake(place):
        return []
    years = range(pd.Timestamp(first).year, pd.Timestamp(last).year + 1)
    found = [day for year in years for day in _of_year(place, year)]
    return [day for day in found if pd.Timestamp(first) <= day <= pd.Timestamp(last)]


@lru_cache(maxsize=512)
def _of_year(place: str, year: int) -> tuple[pd.Timestamp, ...]:
    import holidays
    import pandas as pd

    country, _, region = place.partition("-")
    return tuple(
        pd.Timestamp(day)
        for day in sorted(holidays.country_holidays(country, subdiv=region or None, years=year))
    )
