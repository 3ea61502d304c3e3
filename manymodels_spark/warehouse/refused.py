"""Finds the one row, and in it the one column, for which a warehouse refuses a load.

A database says what it did not like, seldom in which row of millions.
So the load is tried in halves, each taken back again, until one row is left.
This module must know no warehouse: it is given what tries and what reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

NUMBER = "__row"


@dataclass(frozen=True)
class Trial:
    """Rows numbered from 1 in the column `__row` of a table, and an insert that can be tried.

    `accepts` is given a query of rows to insert, takes the insert back in any case and says whether it went
    well; `fetch` gives the first row of a query as a dict.
    """

    table: str
    columns: Sequence[str]
    accepts: Callable[[str], bool]
    fetch: Callable[[str], Mapping[str, object]]
    quote: Callable[[str], str]

    def rows(self, first: int, last: int) -> str:
        """The query of some of the rows."""
        listed = ", ".join(self.quote(name) for name in self.columns)
        return f"SELECT {listed} FROM {self.table} WHERE {NUMBER} BETWEEN {first} AND {last}"

    def exchanged(self, row: int, column: str, other: int | None) -> str:
        """The query of one row with the value of one column taken from another row, or NULL."""
        taken = self.quote(column)
        given = f"(SELECT {taken} FROM {self.table} WHERE {NUMBER} = {other})" if other else "NULL"
        cells = [f"{given} AS {taken}" if name == column else self.quote(name) for name in self.columns]
        return f"SELECT {', '.join(cells)} FROM {self.table} WHERE {NUMBER} = {row}"


def refused_row(trial: Trial, count: int) -> tuple[Mapping[str, object], str | None] | None:
    """The refused row's values and its column where one is to blame;
    None where all rows together are accepted.
    """
    if count == 0 or trial.accepts(trial.rows(1, count)):
        return None
    row = _first(count, lambda first, last: trial.accepts(trial.rows(first, last)))
    if trial.accepts(trial.rows(row, row)):
        # No row is refused alone: one collides with an earlier one.
        row = _first(count, lambda _, last: trial.accepts(trial.rows(1, last)))
    return trial.fetch(trial.rows(row, row)), _column(trial, row, count)


def _first(count: int, accepted: Callable[[int, int], bool]) -> int:
    """The first row that is refused, by halving."""
    low, high = 1, count
    while low < high:
        middle = (low + high) // 2
        if accepted(low, middle):
            low = middle + 1
        else:
            high = middle
    return low


def _column(trial: Trial, row: int, count: int) -> str | None:
    """The column whose value, exchanged for that of a row that is accepted, makes the row acceptable."""
    others = (other for other in range(1, min(count, 20) + 1) if other != row)
    good = next((other for other in others if trial.accepts(trial.rows(other, other))), None)
    for name in trial.columns:
        if trial.accepts(trial.exchanged(row, name, good)):
            return name
    return None
