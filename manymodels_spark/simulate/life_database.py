"""A chain's life in an embedded source database: its tables on a first day, and what each day adds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.simulate.chain import FIRST_NIGHT, Chain
from manymodels_spark.simulate.database import connect, insert
from manymodels_spark.simulate.life import AHEAD, Life

if TYPE_CHECKING:
    import duckdb

# A life is simulated to this many days after the day that is written, so that its calendar knows more.
_BEYOND = AHEAD + 30
_TABLES = {
    "sales": "store INTEGER, item INTEGER, date DATE, units DOUBLE, stock_out INTEGER, closed INTEGER, "
    "promotion INTEGER, price DOUBLE, updated_at TIMESTAMP",
    "footfall": "store INTEGER, zone VARCHAR, hour_utc TIMESTAMP, hour_local TIMESTAMP, visitors DOUBLE",
    "weekly_orders": "country VARCHAR, category VARCHAR, week DATE, orders DOUBLE",
    "monthly_revenue": "country VARCHAR, category VARCHAR, month DATE, revenue DOUBLE",
    "wells": "reading_id BIGINT, field VARCHAR, well INTEGER, reading TIMESTAMP, pressure DOUBLE, "
    "vibration DOUBLE, temperature DOUBLE, flow DOUBLE, pump_type VARCHAR, status VARCHAR, "
    "failure_within_7d VARCHAR, updated_at TIMESTAMP",
}
_CALENDAR = "store INTEGER, item INTEGER, date DATE, closed INTEGER, promotion INTEGER, price DOUBLE"
_LIFE = "seed INTEGER, stores INTEGER, items INTEGER, history INTEGER, day DATE"


def write_life(path: Path, chain: Chain, day: str | pd.Timestamp = FIRST_NIGHT) -> int:
    """Write all that the chain's source has at the end of a day into a DuckDB file, in place of its tables.

    Args:
        path: The file; its folder must exist.
        chain: Seed, stores, items and days of history; its own number of days does not matter.
        day: The last day that is written.

    Returns:
        The number of rows of table `sales`.

    Raises:
        ValueError: The day lies before the chain's first.
        ManyModelsError: DuckDB is not installed.

    """
    life, today = _life(chain, day), pd.Timestamp(day)
    with connect(path) as connection:
        for name, columns in {**_TABLES, "_life": _LIFE}.items():
            connection.execute(f"CREATE OR REPLACE TABLE {name} ({columns})")
        connection.execute(
            "INSERT INTO _life VALUES (?, ?, ?, ?, ?)",
            [chain.seed, chain.stores, chain.items, chain.history, today.date()],
        )
        return _add(connection, life, life.until(today), today)


def extend_life(path: Path, day: str | pd.Timestamp | None = None) -> tuple[pd.Timestamp, int]:
    """Let time pass in the source until the end of `day`, by default of the next one.

    Returns:
        The day that it is now, and the rows that came into table `sales`: those of the days, late ones and
        corrections of earlier days.

    Raises:
        ManyModelsError: The file was not written by `write_life`, or the day has passed already.

    """
    with connect(path) as connection:
        chain, before = _written(path, connection)
        today = before + pd.Timedelta(days=1) if day is None else pd.Timestamp(day)
        if today <= before:
            raise ManyModelsError(
                f"{path} has all until {before:%Y-%m-%d} already. Expected a later day than that; --replace "
                "writes it anew"
            )
        life = _life(chain, today)
        fresh = life.between(before + pd.Timedelta(days=1), today)
        added = _add(connection, life, fresh, today)
        connection.execute("UPDATE _life SET day = ?", [today.date()])
        return today, added


def _written(path: Path, connection: duckdb.DuckDBPyConnection) -> tuple[Chain, pd.Timestamp]:
    """The chain that a file was made of, and its last day."""
    tables = {row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if "_life" not in tables:
        raise ManyModelsError(
            f"{path} was not written by `manymodels demo-data --life`. Choose another --path, or --replace it"
        )
    ((seed, stores, items, history, day),) = connection.execute("SELECT * FROM _life").fetchall()
    return Chain(seed=seed, stores=stores, items=items, history=history), pd.Timestamp(day)


def _life(chain: Chain, day: str | pd.Timestamp) -> Life:
    """A life that is long enough for a day and its calendar."""
    start = FIRST_NIGHT - pd.Timedelta(days=chain.history)
    days = max((pd.Timestamp(day) - start).days, chain.history) + _BEYOND
    return Life(Chain(chain.seed, chain.stores, chain.items, chain.history, days))


def _add(
    connection: duckdb.DuckDBPyConnection, life: Life, rows: dict[str, pd.DataFrame], today: pd.Timestamp
) -> int:
    for name, columns in _TABLES.items():
        insert(connection, name, columns, rows[name])
    connection.execute(f"CREATE OR REPLACE TABLE calendar ({_CALENDAR})")
    insert(connection, "calendar", _CALENDAR, life.calendar(today))
    return len(rows["sales"])
