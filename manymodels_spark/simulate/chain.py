"""A chain of stores whose truth is known: when each store is open, which items it sells, and what a perfect
model would expect.

Arrays have the shape (days, stores) or (days, partitions); a partition is one item in one store, ordered by
store. Each component draws from a generator of its own in the order of days, so a longer life begins with
the shorter one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import holidays
import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

# The first day whose night is simulated: its weeks hold the end of daylight-saving time and holidays.
FIRST_NIGHT = pd.Timestamp("2025-10-20")
PLACES = (
    ("Europe/Madrid", "ES"),
    ("Europe/London", "GB"),
    ("Atlantic/Canary", "ES"),
    ("America/New_York", "US"),
)
RENOVATION_DAYS, SUNDAY = 21, 6
# Days from the first night on: when the second store closes for its renovation, and when the last one opens.
RENOVATION, OPENING = 3, 5
_LEVEL, _WEEK, _YEAR, _WALK, _PROMOTION, _PRICE, _LIVES, _PLANS = range(8)


@dataclass(frozen=True)
class Chain:
    """The stores and items of a chain over `days` days, of which `history` lie before the first night.

    Raises ValueError for fewer than 3 stores: one is renovated and another is new.
    """

    seed: int = 7
    stores: int = 6
    items: int = 10
    history: int = 400
    days: int = 800

    def __post_init__(self) -> None:
        if self.stores < 3 or self.items < 1 or not 60 <= self.history <= self.days:
            raise ValueError(
                f"stores {self.stores}, items {self.items}, history {self.history}, days {self.days}: "
                "expected 3 stores or more, 1 item or more, and 60 <= history <= days"
            )

    @property
    def partitions(self) -> int:
        """Stores times items."""
        return self.stores * self.items

    @cached_property
    def dates(self) -> pd.DatetimeIndex:
        """Every day of the chain's life."""
        return pd.date_range(FIRST_NIGHT - pd.Timedelta(days=self.history), periods=self.days)

    @property
    def store(self) -> Ints:
        """The number of each partition's store, from 1."""
        return np.repeat(np.arange(1, self.stores + 1), self.items)

    @property
    def item(self) -> Ints:
        """The number of each partition's item, from 1."""
        return np.tile(np.arange(1, self.items + 1), self.stores)

    def place(self, store: int) -> tuple[str, str]:
        """The time zone and the country of a store."""
        return PLACES[(store - 1) % len(PLACES)]

    @cached_property
    def open_stores(self) -> Flags:
        """Whether a store sells on a day, shape (days, stores)."""
        return np.column_stack([self._open(store) for store in range(1, self.stores + 1)])

    def _open(self, store: int) -> Flags:
        country = holidays.country_holidays(self.place(store)[1], years=sorted({*self.dates.year}))
        opened = (self.dates.dayofweek != SUNDAY) & ~self.dates.isin(pd.DatetimeIndex(list(country)))
        day = np.arange(self.days)
        for begin in self._renovations(store):
            opened &= (day < begin) | (day >= begin + RENOVATION_DAYS)
        return np.asarray(opened & (day >= self._opening(store)))

    def _renovations(self, store: int) -> Iterator[int]:
        if store == 2:
            yield self.history + RENOVATION
        if store == 3:
            yield self.history // 2

    def _opening(self, store: int) -> int:
        return self.history + OPENING if store == self.stores else 0

    @cached_property
    def lives(self) -> Ints:
        """The first day on sale and the day after the last one, shape (2, partitions).

        Of all partitions, but for the new store's, a tenth dies before the first night and a tenth in the 30
        nights after; a twentieth is launched before and a twentieth in the nights after.
        """
        rng, old = self.rng(_LIVES), self.partitions - self.items
        order = self.rng(_LIVES, 1).permutation(old)
        first = np.repeat([self._opening(store) for store in range(1, self.stores + 1)], self.items)
        last = np.full(self.partitions, np.iinfo(np.int64).max)
        share, nights = old / 20, self.history
        dead, dying, young, launched = np.split(order, [int(2 * share), int(4 * share), int(5 * share)])[:4]
        launched = launched[: max(1, int(share))]
        last[dead] = rng.integers(nights // 2, max(nights - 60, nights // 2 + 1), len(dead))
        last[dying] = rng.integers(nights, nights + 30, len(dying))
        first[young] = np.maximum(first[young], rng.integers(nights // 2, nights - 20, len(young)))
        first[launched] = np.maximum(first[launched], rng.integers(nights, nights + 30, len(launched)))
        return np.stack([first, np.maximum(last, first + 20)])

    @cached_property
    def alive(self) -> Flags:
        """Whether an item is on sale in its store, shape (days, partitions); also on days that are closed."""
        day = np.arange(self.days)[:, None]
        return np.asarray((day >= self.lives[0]) & (day < self.lives[1]))

    @cached_property
    def open(self) -> Flags:
        """Whether a partition's store is open, shape (days, partitions)."""
        return np.repeat(self.open_stores, self.items, axis=1)

    @cached_property
    def promotion(self) -> Ints:
        """1 in the weeks in which an item is promoted in all stores, shape (days, partitions)."""
        return self._weeks(self.rng(_PROMOTION), 0.12)

    @cached_property
    def planned_promotion(self) -> Ints:
        """The promotions as planned long before: some of them are called off in the end."""
        return np.asarray(self.promotion | self._weeks(self.rng(_PLANS), 0.02))

    def _weeks(self, rng: np.random.Generator, share: float) -> Ints:
        weeks = rng.random((self.days // 7 + 1, self.items)) < share
        return np.tile(weeks[np.arange(self.days) // 7].astype(np.int64), (1, self.stores))

    def price(self, promotion: Ints) -> Floats:
        """The price under some promotions, changed every 90 days, shape (days, partitions)."""
        rng = self.rng(_PRICE)
        base = np.tile(np.exp(rng.normal(1.5, 0.6, self.items)), self.stores)
        quarters = rng.normal(0, 0.02, (self.days // 90 + 1, self.partitions)).cumsum(axis=0)
        price = base * np.exp(quarters[np.arange(self.days) // 90]) * (1 - 0.2 * promotion)
        return np.asarray(price.round(2))

    @cached_property
    def expected(self) -> Floats:
        """The mean of each day's demand, shape (days, partitions): 0 where closed or not on sale.

        Level x week x year x promotion x a slow random walk, by which models grow old.
        """
        day = np.arange(self.days)[:, None]
        year, uplift = self.rng(_YEAR), self.rng(_YEAR, 1).uniform(0.2, 1.0, self.items)
        strength, phase = year.uniform(0, 0.25, self.items), year.uniform(0, 2 * np.pi, self.items)
        seasonal = np.tile(1 + strength * np.sin(2 * np.pi * day / 365.25 + phase), (1, self.stores))
        walk = self.rng(_WALK).normal(0, 0.006, (self.days, self.partitions)).cumsum(axis=0)
        demand = self._levels() * self._weekdays() * seasonal * np.exp(walk)
        demand *= 1 + np.tile(uplift, self.stores) * self.promotion
        return np.where(self.open & self.alive, demand, 0.0)

    def _levels(self) -> Floats:
        """Units a day of each partition; every fifth item sells seldom."""
        rng = self.rng(_LEVEL)
        items = np.where(np.arange(self.items) % 5 == 4, 0.5, np.exp(rng.normal(3.2, 0.5, self.items)))
        return np.asarray(np.tile(items, self.stores) * np.exp(rng.normal(0, 0.25, self.partitions)))

    def _weekdays(self) -> Floats:
        rng = self.rng(_WEEK)
        peak, size = rng.integers(0, 6, self.items), rng.uniform(0.1, 0.4, self.items)
        week = 1 + size * np.sin(2 * np.pi * (np.arange(6)[:, None] - peak) / 6)
        week = np.vstack([week, np.zeros(self.items)])
        return np.asarray(np.tile(week[self.dates.dayofweek.to_numpy()], (1, self.stores)))

    def rng(self, *component: int) -> np.random.Generator:
        """The generator of one component."""
        return np.random.default_rng([self.seed, *component])
