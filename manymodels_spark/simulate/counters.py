"""The chain's other series: visitors by the hour in local time, orders by week, revenue by month."""

from __future__ import annotations

import numpy as np
import pandas as pd

from manymodels_spark.simulate.chain import Chain

_VISITORS, _ORDERS, _REVENUE = range(40, 43)
OPENS, CLOSES = 9, 21
CATEGORIES = ("fresh", "dry", "home")


def footfall_of(chain: Chain) -> pd.DataFrame:
    """store, zone, hour_utc, hour_local, visitors, expected, `arrives`: a row for every hour that passes.

    `hour_local` is what a clock on the store's wall says, without an offset: it skips an hour in spring and
    has one twice in autumn. Visitors are 0 while a store is closed.
    """
    hours = pd.date_range(chain.dates[0], periods=chain.days * 24, freq="h")
    frames = [_of_store(chain, store, hours) for store in range(1, chain.stores + 1)]
    return pd.concat(frames, ignore_index=True)


def _of_store(chain: Chain, store: int, hours: pd.DatetimeIndex) -> pd.DataFrame:
    zone = chain.place(store)[0]
    local = hours.tz_localize("UTC").tz_convert(zone).tz_localize(None)
    day = chain.dates.get_indexer(local.normalize())
    opened = chain.open_stores[day, store - 1] & (day >= 0) & (local.hour >= OPENS) & (local.hour < CLOSES)
    rng = chain.rng(_VISITORS, store)
    profile = 1 + 0.6 * np.sin(np.pi * (local.hour - OPENS) / (CLOSES - OPENS))
    week = np.array([0.9, 0.85, 0.9, 1.0, 1.2, 1.4, 0.0])[local.dayofweek]
    expected = np.where(opened, rng.uniform(20, 60) * profile * week, 0.0)
    return pd.DataFrame(
        {
            "store": store,
            "zone": zone,
            "hour_utc": hours,
            "hour_local": local,
            "visitors": rng.poisson(expected).astype(np.float64),
            "expected": expected,
            "arrives": hours.normalize(),
        }
    )


def weekly_orders_of(chain: Chain) -> pd.DataFrame:
    """country, category, week (its Monday), orders, expected, `arrives` (the Sunday that ends the week)."""
    return _periods(chain, _ORDERS, "week", "orders", "W-SUN")


def monthly_revenue_of(chain: Chain) -> pd.DataFrame:
    """country, category, month (its first day), revenue, expected, `arrives` (the month's last day)."""
    return _periods(chain, _REVENUE, "month", "revenue", "M")


def _periods(chain: Chain, component: int, time: str, value: str, frequency: str) -> pd.DataFrame:
    """Whole periods of the chain's life for every country and category, with a trend and a year."""
    periods = pd.period_range(chain.dates[0], chain.dates[-1], freq=frequency)
    starts, ends = periods.start_time.normalize(), periods.end_time.normalize()
    whole = (starts >= chain.dates[0]) & (ends <= chain.dates[-1])
    starts, ends = starts[whole], ends[whole]
    countries = sorted({chain.place(store)[1] for store in range(1, chain.stores + 1)})
    keys = pd.MultiIndex.from_product([countries, CATEGORIES], names=["country", "category"])
    rng = chain.rng(component)
    level, growth, phase = (
        rng.uniform(200, 900, len(keys)),
        rng.normal(0.03, 0.05, len(keys)),
        rng.uniform(0, 6),
    )
    years = ((starts - chain.dates[0]).days / 365.25).to_numpy()[:, None]
    expected = level * (1 + growth) ** years * (1 + 0.2 * np.sin(2 * np.pi * years + phase))
    table = keys.to_frame(index=False).loc[np.tile(np.arange(len(keys)), len(starts))]
    noise = chain.rng(component, 1).normal(1, 0.05, expected.shape)
    columns = {time: np.repeat(starts, len(keys)), value: (expected * noise).round(1).ravel()}
    return table.reset_index(drop=True).assign(
        **columns, expected=expected.ravel(), arrives=np.repeat(ends, len(keys))
    )
