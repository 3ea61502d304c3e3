"""A chain's life day by day, as a source system sees it, and the truth behind it.

>>> life = Life(Chain(seed=7, history=400))
>>> life.until(life.first_night)["sales"]        # all that the source has in that night
>>> life.rows("2025-10-21")["sales"]             # what that day brings: its sales, late and corrected rows
>>> life.calendar("2025-10-21")                  # what is known of the days to come
>>> life.truth()                                 # expected demand, open, alive
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from manymodels_spark.simulate.chain import FIRST_NIGHT, Chain
from manymodels_spark.simulate.counters import footfall_of, monthly_revenue_of, weekly_orders_of
from manymodels_spark.simulate.sensors import readings_of
from manymodels_spark.simulate.tills import sales_of_chain

Day = str | pd.Timestamp
AHEAD, SURE = 60, 7
_TRUTH = ("arrives", "expected")


@dataclass(frozen=True)
class Life:
    """The tables that a chain's systems fill: sales, footfall, weekly_orders, monthly_revenue, wells.

    Pure: the same chain gives the same rows. A row belongs to the day on which it arrives in the source,
    which for late and corrected rows is later than the day that it is about.
    """

    chain: Chain = field(default_factory=Chain)

    @property
    def first_night(self) -> pd.Timestamp:
        """The first day after the history: what the source has then is what a first run reads."""
        return FIRST_NIGHT

    @cached_property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """All rows of the whole life by table, with `arrives` and, where it is known, `expected`."""
        chain = self.chain
        made = {
            "sales": sales_of_chain(chain),
            "footfall": footfall_of(chain),
            "weekly_orders": weekly_orders_of(chain),
            "monthly_revenue": monthly_revenue_of(chain),
            "wells": readings_of(chain),
        }
        return {name: table.sort_values("arrives", kind="stable") for name, table in made.items()}

    def rows(self, day: Day) -> dict[str, pd.DataFrame]:
        """The rows that arrive on one day, by table. Raises ValueError for a day outside of the life."""
        return self.between(day, day)

    def until(self, day: Day) -> dict[str, pd.DataFrame]:
        """All rows that have arrived by the end of a day, by table."""
        return self.between(self.chain.dates[0], day)

    def between(self, first: Day, last: Day) -> dict[str, pd.DataFrame]:
        """The rows that arrive from one day to another, both included, by table."""
        begin, end = self._day(first), self._day(last)
        return {name: _arrived(table, begin, end) for name, table in self.tables.items()}

    def calendar(self, day: Day, ahead: int = AHEAD) -> pd.DataFrame:
        """store, item, date, closed, promotion, price: of all days until `ahead` days after `day`, as known
        on that day.

        What lies more than a week ahead is planned, and a promotion may still be called off.
        """
        chain, today = self.chain, chain_day(self.chain, self._day(day))
        count = min(today + ahead + 1, chain.days)
        sure = (np.arange(chain.days) <= today + SURE)[:, None]
        promotion = np.where(sure, chain.promotion, chain.planned_promotion)
        return self._table(
            count,
            closed=(~chain.open).astype(np.int64),
            promotion=promotion,
            price=chain.price(promotion),
        )

    def truth(self) -> pd.DataFrame:
        """store, item, date, expected (mean demand), open, alive: of every day and partition."""
        chain = self.chain
        return self._table(chain.days, expected=chain.expected, open=chain.open, alive=chain.alive)

    def actuals(self) -> pd.DataFrame:
        """store, item, date, units: the sales of each day as they stand in the end, corrections included."""
        sales = self.tables["sales"].sort_values("updated_at", kind="stable")
        return sales.drop_duplicates(["store", "item", "date"], keep="last")[
            ["store", "item", "date", "units"]
        ]

    def _table(self, count: int, **columns: np.ndarray) -> pd.DataFrame:
        chain = self.chain
        keys = {"store": np.tile(chain.store, count), "item": np.tile(chain.item, count)}
        dates = np.repeat(chain.dates[:count], chain.partitions)
        return pd.DataFrame({**keys, "date": dates, **{n: a[:count].ravel() for n, a in columns.items()}})

    def _day(self, day: Day) -> pd.Timestamp:
        found = pd.Timestamp(day).normalize()
        chain_day(self.chain, found)
        return found


def chain_day(chain: Chain, day: pd.Timestamp) -> int:
    """The number of a day in a chain's life. Raises ValueError for a day outside of it."""
    number = (day - chain.dates[0]).days
    if not 0 <= number < chain.days:
        raise ValueError(
            f"{day:%Y-%m-%d} is no day of this life: it goes from {chain.dates[0]:%Y-%m-%d} to "
            f"{chain.dates[-1]:%Y-%m-%d}. Choose a day in it, or more `days`"
        )
    return int(number)


def _arrived(table: pd.DataFrame, begin: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    kept = table[(table["arrives"] >= begin) & (table["arrives"] <= end)]
    return kept.drop(columns=[name for name in _TRUTH if name in kept]).reset_index(drop=True)
