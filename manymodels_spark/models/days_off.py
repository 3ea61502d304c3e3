"""Public holidays of a country or of one of its regions, `ES` or `ES-MD`, from the package `holidays`."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def mistake(place: str) -> str | None:
    """What is wrong with a place as a spec names it, or None."""
    import holidays

    country, _, region = place.partition("-")
    known = holidays.list_supported_countries(include_aliases=True)
    if country not in known:
        return f"no holidays are known for country {country!r}. Use an ISO code, e.g. ES, or ES-MD for a region"
    if region and region not in known[country]:
        regions = ", ".join(f"{country}-{name}" for name in known[country]) or "none"
        return f"no region {region!r} in {country}. Known: {regions}"
    return None


def is_holiday(times: pd.DatetimeIndex, place: str) -> NDArray[np.float64]:
    """1.0 where a time falls on a holiday, else 0.0; shape (len(times),)."""
    days = times.normalize()
    off = [day for year in sorted(set(times.year)) for day in _of_year(place, int(year))]
    return np.asarray(days.isin(pd.DatetimeIndex(off)), dtype=np.float64)


@lru_cache(maxsize=512)
def _of_year(place: str, year: int) -> tuple[pd.Timestamp, ...]:
    import holidays

    country, _, region = place.partition("-")
    return tuple(pd.Timestamp(day) for day in sorted(holidays.country_holidays(country, subdiv=region or None, years=year)))
