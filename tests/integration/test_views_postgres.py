"""The views for reports in a real Postgres: they are made,
made again with other columns, and give the numbers by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from star_builders import BY_HAND, ROWS, STAR, TABLES

from manymodels_spark.errors import WarehouseError
from manymodels_spark.powerbi.measures import measures
from manymodels_spark.spec.places import Postgres
from manymodels_spark.warehouse import open_warehouse, views
from manymodels_spark.warehouse.base import Export

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


FIRST, WIDER, OTHER = "SELECT 1 AS a, 2 AS b", "SELECT 1 AS a, 2 AS b, 3 AS c", "SELECT 'x' AS b, 1 AS a"


@pytest.fixture
def administrator(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """The database's superuser, with a role `reader` and a schema `reports` for what others build."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for role in ("reader", "loader", "former owner"):
            connection.execute(f'DROP ROLE IF EXISTS "{role}"')
            connection.execute(f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'pw'")
        connection.execute("CREATE SCHEMA reports")
        yield connection
        for role in ("reader", "loader", "former owner"):
            connection.execute(f'DROP OWNED BY "{role}" CASCADE')
            connection.execute(f'DROP ROLE "{role}"')


def rights(connection: psycopg.Connection[Any], role: str) -> list[tuple[str, bool]]:
    """Which columns of the view a role may read, and the whole view under `*`."""
    asked = [("*", "has_table_privilege(%(role)s, 'public.v', 'SELECT')")]
    asked += [(c, f"has_column_privilege(%(role)s, 'public.v', '{c}', 'SELECT')") for c in ("a", "b")]
    query = f"SELECT {', '.join(sql for _, sql in asked)}"
    row = connection.execute(query, {"role": role}).fetchone()
    assert row is not None
    return list(zip([name for name, _ in asked], row, strict=True))


def test_a_view_that_is_replaced_keeps_its_readers_and_what_others_built_on_it(
    postgres_url: str, administrator: psycopg.Connection[Any]
) -> None:
    with open_warehouse(Postgres(url=postgres_url), "sales") as warehouse:
        warehouse.put_view("v", FIRST)
        administrator.execute("GRANT SELECT ON v TO reader WITH GRANT OPTION")
        administrator.execute("CREATE VIEW reports.mine AS SELECT a + b AS n FROM v")
        for select in (FIRST, WIDER):
            warehouse.require_replaceable({"v": ["a", "b", "c"]})
            warehouse.put_view("v", select)
        assert warehouse.fetch("SELECT n FROM reports.mine")["n"].tolist() == [3]
        assert warehouse.fetch("SELECT c FROM v")["c"].tolist() == [3]
    assert rights(administrator, "reader") == [("*", True), ("a", True), ("b", True)]


def test_a_view_with_other_columns_is_made_anew_with_owner_comment_options_and_rights(
    postgres_url: str, administrator: psycopg.Connection[Any]
) -> None:
    with open_warehouse(Postgres(url=postgres_url), "sales") as warehouse:
        warehouse.put_view("v", WIDER)
        administrator.execute("GRANT SELECT ON v TO PUBLIC")
        administrator.execute("GRANT SELECT (a), SELECT (c) ON v TO reader")
        administrator.execute("COMMENT ON VIEW v IS 'it''s 100 % ours'")
        administrator.execute("ALTER VIEW v SET (security_barrier = true)")
        administrator.execute('GRANT CREATE ON SCHEMA public TO "former owner"')
        administrator.execute('ALTER VIEW v OWNER TO "former owner"')
        warehouse.require_replaceable({"v": ["b", "a"]})
        warehouse.put_view("v", OTHER)
        assert warehouse.fetch("SELECT b, a FROM v").to_numpy().tolist() == [["x", 1]]
    facts = (
        "SELECT pg_get_userbyid(relowner), obj_description(oid), reloptions FROM pg_class WHERE relname = 'v'"
    )
    assert administrator.execute(facts).fetchone() == (
        "former owner",
        "it's 100 % ours",
        ["security_barrier=true"],
    )
    assert rights(administrator, "loader") == [("*", True), ("a", True), ("b", True)], "PUBLIC has it again"
    administrator.execute("REVOKE SELECT ON v FROM PUBLIC")
    assert rights(administrator, "reader") == [("*", False), ("a", True), ("b", False)]


def test_what_others_built_on_a_view_is_named_before_anything_is_loaded(
    postgres_url: str, administrator: psycopg.Connection[Any]
) -> None:
    with open_warehouse(Postgres(url=postgres_url), "sales") as warehouse:
        warehouse.put_view("v", FIRST)
        administrator.execute("CREATE VIEW reports.mine AS SELECT a FROM v")
        administrator.execute("CREATE MATERIALIZED VIEW reports.theirs AS SELECT b FROM v")
        expected = r"view public.v gets other columns .* built on it: reports.mine, reports.theirs. Drop that"
        with pytest.raises(WarehouseError, match=expected):
            warehouse.require_replaceable({"v": ["b", "a"], "w": ["a"]})
        with pytest.raises(WarehouseError, match=expected):
            warehouse.put_view("v", OTHER)
        assert warehouse.fetch("SELECT a, b FROM v").to_numpy().tolist() == [[1, 2]], "nothing changed"


def test_a_role_that_owns_its_schema_and_may_create_none_is_enough(
    postgres_url: str, administrator: psycopg.Connection[Any], tmp_path: Path
) -> None:
    url = postgres_url.replace("manymodels:s3cret-for-tests", "loader:pw")
    part = Postgres(url=url, schema="fore casts")
    expected = r'permission denied for database .*CREATE SCHEMA IF NOT EXISTS "fore casts"; ALTER SCHEMA'
    with pytest.raises(WarehouseError, match=expected):
        open_warehouse(part, "sales")

    administrator.execute('CREATE SCHEMA "fore casts" AUTHORIZATION loader')
    pq.write_table(pa.table({"n": [1, 2]}), tmp_path / "n.parquet")
    export = Export("lake", 0, pa.schema([("n", pa.int64())]), 2, (str(tmp_path / "n.parquet"),))
    for again in (False, True):
        with open_warehouse(part, "sales") as warehouse:
            assert warehouse.load("t", export, "r", again=again) is True
            warehouse.put_view("v", 'SELECT n FROM "fore casts".t')
            assert warehouse.fetch('SELECT sum(n) AS n FROM "fore casts".v')["n"].tolist() == [3]


def test_every_refusal_says_what_to_grant(postgres_url: str, administrator: psycopg.Connection[Any]) -> None:
    administrator.execute("CREATE SCHEMA shared")
    administrator.execute("GRANT USAGE ON SCHEMA shared TO loader")
    part = Postgres(url=postgres_url.replace("manymodels:s3cret-for-tests", "loader:pw"), schema="shared")
    expected = r'denied for schema shared.*ALTER SCHEMA "shared" OWNER TO "loader"'
    with pytest.raises(WarehouseError, match=expected):
        open_warehouse(part, "sales")
    administrator.execute("GRANT CREATE ON SCHEMA shared TO loader")
    administrator.execute("CREATE TABLE shared.t (n bigint)")
    administrator.execute("CREATE VIEW shared.v AS SELECT 1 AS n")
    export = Export("lake", 0, pa.schema([("n", pa.int64())]), 0, ())
    with open_warehouse(part, "sales") as warehouse:
        for refused in (
            lambda: warehouse.load("t", export, "r"),
            lambda: warehouse.put_view("v", "SELECT 2 AS n"),
            lambda: warehouse.fetch("SELECT * FROM shared.t"),
        ):
            with pytest.raises(WarehouseError, match='ALTER TABLE ... OWNER TO "loader"'):
                refused()
        with pytest.raises(WarehouseError, match=r"Postgres refused the query: relation \"nowhere\""):
            warehouse.fetch("SELECT * FROM nowhere")
