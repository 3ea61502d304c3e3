"""The embedded source database of the demonstration: raw sales with the faults of real data, a calendar and
wells.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.simulate.sales import plan, sales_of
from manymodels_spark.simulate.wells import wells

if TYPE_CHECKING:
    import duckdb

AHEAD = 90
_TABLES = {
    "sales": "store INTEGER, item INTEGER, date DATE, units DOUBLE, promotion INTEGER, price DOUBLE, "
    "updated_at TIMESTAMP",
    "calendar": "store INTEGER, item INTEGER, date DATE, promotion INTEGER, price DOUBLE",
    "wells": "field VARCHAR, well INTEGER, reading TIMESTAMP, pressure DOUBLE, temperature DOUBLE, "
    "vibration DOUBLE, flow DOUBLE, pump_type VARCHAR, failure_within_7d VARCHAR, "
    "workover INTEGER",
    "_made_with": "stores INTEGER, items INTEGER, days INTEGER, seed INTEGER",
}


def write_source_database(
    path: Path, *, stores: int, items: int, days: int, seed: int = 7, broken: bool = True
) -> None:
    """Write a DuckDB file with tables `sales`, `calendar` (90 days beyond the sales) and `wells`.

    With `broken`, four partitions are beyond use: one has no value at all, one a single row, one infinite
    values, and some rows of store 1 name no item. Replaces the file's tables.
    """
    sales = _sales(stores, items, days, seed)
    with connect(path) as connection:
        for table, columns in _TABLES.items():
            connection.execute(f"CREATE OR REPLACE TABLE {table} ({columns})")
        insert(connection, "sales", _TABLES["sales"], _with_faults(sales, items, seed) if broken else sales)
        insert(connection, "calendar", _TABLES["calendar"], _calendar(stores, items, days + AHEAD, seed))
        insert(connection, "wells", _TABLES["wells"], wells(4, 5, 400, seed))
        connection.execute("INSERT INTO _made_with VALUES (?, ?, ?, ?)", [stores, items, days, seed])


def append_days(path: Path, days: int) -> int:
    """Let `days` more days pass in the database; the number of rows of sales that they brought."""
    with connect(path) as connection:
        made = connection.execute("SELECT stores, items, days, seed FROM _made_with").fetchall()
        if not made:
            raise ManyModelsError(f"{path} was not written by `manymodels demo-data`")
        stores, items, before, seed = made[0]
        sales = _sales(stores, items, before + days, seed)
        fresh = sales[sales["date"] >= sales["date"].min() + pd.Timedelta(days=before)]
        insert(connection, "sales", _TABLES["sales"], fresh)
        connection.execute("DELETE FROM calendar")
        insert(
            connection, "calendar", _TABLES["calendar"], _calendar(stores, items, before + days + AHEAD, seed)
        )
        connection.execute("UPDATE _made_with SET days = ?", [before + days])
        return len(fresh)


def _sales(stores: int, items: int, days: int, seed: int) -> pd.DataFrame:
    frames = []
    for store in range(1, stores + 1):
        for item in range(1, items + 1):
            rows = sales_of(seed, store, item, days)
            frames.append(rows.assign(store=store, item=item))
    table = pd.concat(frames, ignore_index=True)
    return table.assign(updated_at=table["date"] + pd.Timedelta(hours=27))


def _calendar(stores: int, items: int, days: int, seed: int) -> pd.DataFrame:
    frames = [
        plan(seed, store, item, days).assign(store=store, item=item)
        for store in range(1, stores + 1)
        for item in range(1, items + 1)
    ]
    return pd.concat(frames, ignore_index=True)


def _with_faults(sales: pd.DataFrame, items: int, seed: int) -> pd.DataFrame:
    """Rows that were corrected later, rows without an item, and three partitions beyond any model."""
    rng = np.random.default_rng([seed, 99])
    last = sales["store"].max()
    of = [(sales["store"] == last) & (sales["item"] == item) for item in (items, items - 1, items - 2)]
    sales = sales.assign(units=sales["units"].mask(of[0]))
    sales = sales[~of[1] | ~sales.duplicated(["store", "item"])]
    infinite = sales.index[of[2].reindex(sales.index)][::50]
    sales.loc[infinite, "units"] = np.inf
    corrected = sales.sample(frac=0.001, random_state=seed)
    corrected = corrected.assign(
        units=corrected["units"] + 1, updated_at=corrected["updated_at"] + pd.Timedelta(hours=1)
    )
    nameless = sales[sales["store"] == 1].sample(min(25, items), random_state=seed).assign(item=None)
    table = pd.concat([sales, corrected, nameless], ignore_index=True)
    return table.iloc[rng.permutation(len(table))]


def insert(connection: duckdb.DuckDBPyConnection, table: str, columns: str, rows: pd.DataFrame) -> None:
    """Add rows to a table; `columns` are its columns with their types, as CREATE TABLE takes them."""
    names = [column.split()[0] for column in columns.split(", ")]
    connection.register("rows_to_insert", rows)
    connection.execute(f"INSERT INTO {table} SELECT {', '.join(names)} FROM rows_to_insert")
    connection.unregister("rows_to_insert")


def connect(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a source database. Raises ManyModelsError where DuckDB is not installed."""
    try:
        import duckdb
    except ImportError as error:
        raise ManyModelsError(
            "the demonstration database requires DuckDB. Install it: pip install 'manymodels-spark[local]'"
        ) from error
    return duckdb.connect(str(path))
