"""The simulated source: the same seed gives the same rows, more days continue the days before, faults are
planted.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.simulate import (
    append_days,
    expected_units,
    sales_of,
    write_parquet,
    write_source_database,
)
from manymodels_spark.simulate.sales import plan


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    pd.testing.assert_frame_equal(sales_of(7, 3, 5, 300), sales_of(7, 3, 5, 300))
    assert not sales_of(7, 3, 5, 300)["units"].equals(sales_of(8, 3, 5, 300)["units"])


@pytest.mark.parametrize("item", range(1, 9))
def test_more_days_continue_the_days_before(item: int) -> None:
    longer = sales_of(7, 1, item, 500)
    shorter = sales_of(7, 1, item, 400)
    pd.testing.assert_frame_equal(longer.head(len(shorter)), shorter)


def test_the_units_lie_around_what_is_said_to_be_expected() -> None:
    known = plan(7, 2, 3, 1000)
    mean = expected_units(7, 2, 3, known)
    rows = sales_of(7, 2, 3, 1000).merge(known.assign(mean=mean), on="date")
    usual = rows[rows["units"] > 0]
    assert usual["units"].mean() == pytest.approx(usual["mean"].mean(), rel=0.05)


def test_the_faults_are_where_they_are_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "demo.duckdb"
    write_source_database(path, stores=2, items=4, days=120)
    facts = (
        "SELECT item, count(*), count(units), count(*) FILTER (isinf(units)) FROM sales WHERE store = 2 "
        "GROUP BY item ORDER BY item"
    )
    found = {row[0]: row[1:] for row in query(path, facts)}
    assert found[4][1] == 0, "no value at all"
    assert found[3][0] == 1, "a single row"
    assert found[2][2] > 0, "infinite values"
    assert found[1][1] == found[1][0], "a sound one"
    assert query(path, "SELECT count(DISTINCT store), min(store) FROM sales WHERE item IS NULL") == [(1, 1)]
    assert (
        query(
            path,
            "SELECT count(*) FROM (SELECT store, item, date FROM sales GROUP BY ALL HAVING count(*) > 1)",
        )[0][0]
        > 0
    )
    assert query(path, "SELECT max(date) - (SELECT max(date) FROM sales) FROM calendar") == [(90,)]


def test_another_day_adds_a_row_for_all_that_are_on_sale(tmp_path: Path) -> None:
    path = tmp_path / "demo.duckdb"
    write_source_database(path, stores=1, items=5, days=100, broken=False)
    last = query(path, "SELECT max(date) FROM sales")[0][0]
    added = append_days(path, 2)
    assert query(path, f"SELECT count(*) FROM sales WHERE date > '{last}'") == [(added,)]
    assert 8 <= added <= 10
    with duckdb.connect(str(tmp_path / "other.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE _made_with (stores INTEGER, items INTEGER, days INTEGER, seed INTEGER)"
        )
    with pytest.raises(ManyModelsError, match="was not written by `manymodels demo-data`"):
        append_days(tmp_path / "other.duckdb", 1)


def test_parquet_files_hold_whole_partitions(tmp_path: Path) -> None:
    rows = write_parquet(tmp_path, partitions=7, days=50, files=3)
    tables = [pd.read_parquet(path) for path in sorted(tmp_path.glob("*.parquet"))]
    assert sum(map(len, tables)) == rows
    keys = [set(map(tuple, table[["store", "item"]].drop_duplicates().to_numpy())) for table in tables]
    assert len(set.union(*keys)) == 7
    assert sum(map(len, keys)) == 7, "no partition lies in two files"
    assert np.isfinite(tables[0]["units"]).all()
