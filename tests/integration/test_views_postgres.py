"""The views for reports in a real Postgres: they are made, made again with other columns, and give the
numbers by hand.
"""

from __future__ import annotations

import psycopg
import pytest
from star_builders import BY_HAND, ROWS, STAR, TABLES

from manymodels_spark.errors import WarehouseError
from manymodels_spark.powerbi.measures import measures
from manymodels_spark.spec.places import Postgres
from manymodels_spark.warehouse import open_warehouse, views

pytestmark = pytest.mark.services


def test_measures_on_the_views_are_those_by_hand_and_views_can_be_made_again(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for table, columns in TABLES.items():
            kinds = columns.replace("DOUBLE", "double precision").replace("VARCHAR", "text")
            connection.execute(f"CREATE TABLE sales_{table} ({kinds})")
        connection.execute(ROWS)
    with open_warehouse(Postgres(url=postgres_url), "sales") as warehouse:
        assert {f"sales_{table}" for table in TABLES} <= warehouse.tables()
        for _ in range(2):
            for view in views.star(STAR, views.POSTGRES, "public"):
                warehouse.put_view(view.name, view.select(views.POSTGRES))
        found = {
            one.name: warehouse.fetch(f"SELECT {one.sql} AS n FROM sales_{one.table}")["n"].iat[0]
            for one in measures((80,))
        }
        assert {name: float(value) for name, value in found.items()} == pytest.approx(BY_HAND)
        dates = (
            warehouse.fetch("SELECT year, quarter, month, weekday FROM sales_dim_date ORDER BY date")
            .to_numpy()
            .tolist()
        )
        assert dates == [[2026, 1, 3, 2], [2026, 2, 4, 3], [2026, 2, 4, 4]]
        warehouse.put_view("sales_dim_date", "SELECT 1 AS other")
        with pytest.raises(WarehouseError, match="Postgres refused view sales_dim_date"):
            warehouse.put_view("sales_dim_date", "SELECT nothing FROM nowhere")
        assert warehouse.fetch("SELECT other FROM sales_dim_date")["other"].iat[0] == 1, (
            "the refused one changed nothing"
        )
