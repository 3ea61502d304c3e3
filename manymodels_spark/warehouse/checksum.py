"""A checksum of a table that does not depend on the order of its rows,
and that names the column that differs.

Each warehouse computes the numbers by its own means, on what was exported and on what arrived; here they are
held, compared and written down. This module must know no warehouse.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from manymodels_spark.errors import WarehouseError


@dataclass(frozen=True)
class Checksum:
    """The count of the rows, a sum of the digests of each column's cells, and one over whole rows.

    The sums by column find a value that changed and say in which column; `mixed` finds values that were
    exchanged between two rows.
    """

    rows: int
    columns: tuple[int, ...]
    mixed: int

    @classmethod
    def of(cls, numbers: Sequence[object]) -> Checksum:
        """From one row of a query: count, one sum per column, mixed; NULL (an empty table) counts as 0."""
        rows, *columns, mixed = (int(str(number)) if number is not None else 0 for number in numbers)
        return cls(rows, tuple(columns), mixed)

    def __add__(self, other: Checksum) -> Checksum:
        """The checksum of the rows of both."""
        columns = tuple(left + right for left, right in zip(self.columns, other.columns, strict=True))
        return Checksum(self.rows + other.rows, columns, self.mixed + other.mixed)

    @property
    def text(self) -> str:
        """32 characters, for the ledger."""
        return hashlib.sha256(repr((self.rows, self.columns, self.mixed)).encode()).hexdigest()[:32]

    def require(self, arrived: Checksum, names: Sequence[str], table: str) -> None:
        """Raise WarehouseError, saying what differs, unless the rows that
        arrived are the rows that were sent.
        """
        if arrived == self:
            return
        if arrived.rows != self.rows:
            what = f"{self.rows} rows were exported and {arrived.rows} arrived"
        else:
            pairs = zip(names, self.columns, arrived.columns, strict=True)
            differing = [name for name, sent, found in pairs if sent != found]
            where = f"in column {', '.join(differing)}" if differing else "in which values belong to one row"
            what = f"the {self.rows} rows that arrived differ from those exported {where}"
        raise WarehouseError(
            f"{table}: {what}. Nothing was changed in the table. Run the load again; if it repeats, "
            "compare the column's type in the warehouse with the lake's"
        )
