"""Daily sales of one item in one store: trend, week, year, promotions and prices, with counted noise around
them.

Every component draws from a generator of its own, seeded by (seed, store, item, component), so that a longer
series begins with the shorter one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

START = "2023-01-01"
Floats = NDArray[np.float64]
_LEVEL, _WEEK, _YEAR, _PROMOTION, _PRICE, _NOISE, _STOCK, _LIFE = range(8)


@dataclass(frozen=True)
class Shape:
    """What one item in one store sells: units a day, growth a year, strength of week, year, promotion and
    price.
    """

    level: float
    growth: float
    week: Floats
    year: float
    phase: float
    uplift: float
    price: float
    intermittent: bool

    @classmethod
    def of(cls, seed: int, store: int, item: int) -> Shape:
        """The shape of an item in a store; items differ more than stores do, and every twelfth sells
        seldom.
        """
        rng, of_item = _rng(seed, store, item, _LEVEL), _rng(seed, 0, item, _LEVEL)
        intermittent = bool(of_item.random() < 1 / 12)
        level = float(np.exp(of_item.normal(3.0, 0.7)) * np.exp(rng.normal(0, 0.3)))
        week = 1 + of_item.uniform(0.1, 0.5) * np.sin(2 * np.pi * (np.arange(7) - of_item.integers(0, 7)) / 7)
        return cls(
            level=0.4 if intermittent else level,
            growth=float(rng.normal(0.03, 0.08)),
            week=week,
            year=float(of_item.uniform(0.0, 0.4)),
            phase=float(of_item.uniform(0, 2 * np.pi)),
            uplift=float(of_item.uniform(0.2, 1.0)),
            price=float(np.round(np.exp(of_item.normal(1.5, 0.6)), 2)),
            intermittent=intermittent,
        )


def plan(seed: int, store: int, item: int, days: int) -> pd.DataFrame:
    """date, promotion (0 or 1), price: what the shop decides beforehand, and so knows of days to come."""
    shape = Shape.of(seed, store, item)
    dates = pd.date_range(START, periods=days)
    weeks = _rng(seed, 0, item, _PROMOTION).random(days // 7 + 2) < 0.12
    promotion = weeks[np.arange(days) // 7].astype(np.int64)
    steps = _rng(seed, store, item, _PRICE).normal(0, 0.02, days // 90 + 2)
    price = shape.price * np.exp(np.cumsum(steps))[np.arange(days) // 90] * (1 - 0.2 * promotion)
    return pd.DataFrame({"date": dates, "promotion": promotion, "price": price.round(2)})


def expected_units(seed: int, store: int, item: int, known: pd.DataFrame) -> Floats:
    """The mean of each day's units given the plan: what a perfect model would predict."""
    shape = Shape.of(seed, store, item)
    day = (known["date"] - pd.Timestamp(START)).dt.days.to_numpy()
    trend = (1 + shape.growth) ** (day / 365.25)
    year = 1 + shape.year * np.sin(2 * np.pi * day / 365.25 + shape.phase)
    promoted = 1 + shape.uplift * known["promotion"].to_numpy()
    return np.asarray(
        shape.level * trend * shape.week[known["date"].dt.dayofweek.to_numpy()] * year * promoted
    )


def sales_of(seed: int, store: int, item: int, days: int) -> pd.DataFrame:
    """date, units, promotion, price, with stock-outs, returns, missing days, late starts and early ends."""
    known = plan(seed, store, item, days)
    mean = expected_units(seed, store, item, known)
    noise = _rng(seed, store, item, _NOISE)
    spread = noise.gamma(20.0, 1 / 20.0, days)
    units = _rng(seed, store, item, _WEEK).poisson(mean * spread).astype(np.float64)
    events = _rng(seed, store, item, _STOCK).random((days, 3))
    empty = np.convolve(events[:, 0] < 0.002, np.ones(4), "full")[:days] > 0
    units[empty] = 0.0
    returned = events[:, 1] < 0.002
    units[returned] = -np.ceil(units[returned] / 4) - 1
    table = known.assign(units=units)[["date", "units", "promotion", "price"]]
    begin, end = _life(seed, store, item)
    return table.iloc[begin:end][events[begin:end, 2] > 0.004].reset_index(drop=True)


def _life(seed: int, store: int, item: int) -> tuple[int, int | None]:
    """First and last day on sale: one in fifteen came late, one in thirty was given up."""
    rng = _rng(seed, store, item, _LIFE)
    late, early = rng.random(2)
    begin = int(rng.integers(200, 700)) if late < 1 / 15 else 0
    return begin, int(rng.integers(850, 1000)) if early < 1 / 30 else None


def _rng(seed: int, store: int, item: int, component: int) -> np.random.Generator:
    return np.random.default_rng([seed, store, item, component])
