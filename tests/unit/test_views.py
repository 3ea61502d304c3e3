"""The views for reports: the same numbers in every dialect, as a person works them out; and the Power BI
project over them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import pytest
from builders import make_spec
from sqlfluff.core import Linter
from star_builders import BY_HAND, ROWS, STAR, TABLES
from synapse_stand_in import to_duckdb

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.families.checked_spec import load_spec
from manymodels_spark.powerbi.measures import measures
from manymodels_spark.powerbi.project import project_files
from manymodels_spark.stages.load.facts import put_views, refused_views, star_of
from manymodels_spark.warehouse import open_warehouse, views

ROOT = Path(__file__).resolve().parents[2]


def filled(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    for table, columns in TABLES.items():
        connection.execute(f"CREATE TABLE sales_{table} ({columns})")
    connection.execute(ROWS)
    return connection


@pytest.fixture(params=["duckdb", "synapse"])
def warehouse(request: pytest.FixtureRequest) -> duckdb.DuckDBPyConnection:
    """The tables with their views; `synapse` is the T-SQL of the views, transpiled."""
    connection = filled(duckdb.connect(":memory:"))
    dialect = views.DUCKDB if request.param == "duckdb" else views.SYNAPSE
    for view in views.star(STAR, dialect):
        select = view.select(dialect)
        connection.execute(
            f'CREATE VIEW "{view.name}" AS {select if request.param == "duckdb" else to_duckdb(select)}'
        )
    return connection


def test_every_partition_stands_once_with_how_it_stands(warehouse: duckdb.DuckDBPyConnection) -> None:
    rows = warehouse.execute(
        "SELECT partition_id, store, state, family, reason FROM sales_dim_partition ORDER BY 1"
    ).fetchall()
    assert rows == [
        ("p", 1, "in production", "theta", None),
        ("q", 1, "in production", "prophet", None),
        ("r", 2, "quarantined", None, "too_short"),
        ("s", 2, "no champion", None, None),
    ]


def test_models_keep_their_past_and_know_whether_they_are_champions(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    rows = warehouse.execute(
        "SELECT model_id, partition_id, CAST(is_champion AS BOOLEAN) FROM sales_dim_model ORDER BY 1"
    ).fetchall()
    assert rows == [("m1", "p", False), ("m2", "p", True), ("m3", "q", True)]


def test_dates_are_those_of_predictions_and_actuals_with_monday_first(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    rows = warehouse.execute(
        "SELECT CAST(date AS VARCHAR)[:10], year, quarter, month, day_of_month, weekday FROM "
        "sales_dim_date ORDER BY 1"
    ).fetchall()
    assert rows == [
        ("2026-03-31", 2026, 1, 3, 31, 2),
        ("2026-04-01", 2026, 2, 4, 1, 3),
        ("2026-04-02", 2026, 2, 4, 2, 4),
    ]


def test_predictions_meet_their_actuals_by_partition_and_time(warehouse: duckdb.DuckDBPyConnection) -> None:
    rows = warehouse.execute(
        "SELECT partition_id, days_ahead, error, abs_error, inside_80, CAST(is_newest AS BOOLEAN) FROM "
        "sales_fact_predictions "
        "ORDER BY partition_id, time"
    ).fetchall()
    assert rows == [
        ("p", 1, 2.0, 2.0, 1, False),
        ("p", 2, -5.0, 5.0, 0, False),
        ("p", 1, None, None, None, True),
        ("q", 1, None, None, None, True),
        ("s", 1, None, None, None, True),
    ]


def test_each_measure_s_sql_twin_gives_what_a_person_works_out(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = {
        one.name: warehouse.execute(f"SELECT {one.sql} FROM sales_{one.table}").fetchone()[0]
        for one in measures((80,))
    }
    assert found == {name: pytest.approx(value) for name, value in BY_HAND.items()}


def test_a_measure_s_dax_names_only_columns_and_measures_that_are_there() -> None:
    tables = {
        view.name.removeprefix("sales_"): {name for name, *_ in view.columns}
        for view in views.star(STAR, views.SYNAPSE)
    }
    told = measures((80,))
    for one in told:
        for table, column in re.findall(r"(\w+)\[(\w+)\]", one.dax):
            assert column in tables[table], one.name
        for name in re.findall(r"(?<!\w)\[([^\]]+)\]", one.dax):
            assert name in {other.name for other in told}, one.name
        assert one.dax.count("(") == one.dax.count(")"), one.name


def test_the_t_sql_of_all_views_parses() -> None:
    files = project_files(
        views.Star("a_b", ("odd name", "x y"), "time", (80, 95), "a_b_predictions"), "s", "d", "dbo"
    )
    assert [one.desc() for one in Linter(dialect="tsql").parse_string(files["views.sql"]).violations] == []


def test_a_spec_without_times_has_no_dates_actuals_or_errors() -> None:
    star = views.Star("wells", ("well",), None, (), "wells_predictions", labels=True)
    made = {view.name: view for view in views.star(star, views.DUCKDB)}
    assert set(made) == {
        f"wells_{name}"
        for name in ("dim_partition", "dim_model", "fact_predictions", "fact_metrics", "fact_runs")
    }
    assert "actual" not in {name for name, *_ in made["wells_fact_predictions"].columns}
    assert not any("fact_actuals" in name for name in project_files(star, "s", "d", "dbo"))


def test_a_role_shows_each_person_the_partitions_that_the_access_table_gives() -> None:
    files = project_files(STAR, "s", "d", "dbo", access=STAR.partition_by[0])
    column = STAR.partition_by[0]
    written = files["sales.SemanticModel/definition/roles/access.tmdl"]
    mine = 'IN SELECTCOLUMNS(FILTER(access, access[principal] = USERPRINCIPALNAME()), "value", access'
    assert f"tablePermission dim_partition = dim_partition[{column}] {mine}[{column}])" in written
    assert "tablePermission dim_model = LOOKUPVALUE(" in written, "which has no column of its own"
    tables = {view.name.removeprefix("sales_"): view for view in views.star(STAR, views.SYNAPSE)}
    for name, view in tables.items():
        of_partitions = {"partition_id", column} & {each for each, *_ in view.columns}
        assert (f"tablePermission {name} " in written) is bool(of_partitions), name
    assert "[sales_access]" in files["access.sql"] or '"sales_access"' in files["access.sql"]
    assert "ref role" in files["sales.SemanticModel/definition/model.tmdl"]
    assert not any("roles/" in name for name in project_files(STAR, "s", "d", "dbo"))


def test_a_role_by_another_column_is_refused_and_says_which_there_are() -> None:
    with pytest.raises(ManyModelsError, match="--access price: not a partition column. Expected one of"):
        project_files(STAR, "s", "d", "dbo", access="price")


def test_a_view_is_left_out_while_a_table_of_it_was_not_loaded() -> None:
    made = views.available(
        views.star(STAR, views.DUCKDB), STAR, ["sales_predictions", "sales_runs", "sales_partitions"]
    )
    assert [view.name for view in made] == ["sales_fact_runs"]


@pytest.fixture(scope="module")
def project() -> dict[str, str]:
    spec = load_spec(ROOT / "conf" / "retail.yaml")
    return project_files(star_of(spec), "WORKSPACE.sql.azuresynapse.net", "forecasts", "dbo")


def test_the_project_in_deploy_is_the_one_that_the_command_writes(project: dict[str, str]) -> None:
    folder = ROOT / "deploy" / "powerbi"
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"README.md"}
    assert present == set(project)
    assert [
        name for name, text in project.items() if (folder / name).read_text(encoding="utf-8") != text
    ] == []


def test_every_column_of_the_model_is_one_of_its_view(project: dict[str, str]) -> None:
    made = {
        view.name.removeprefix("retail_sales_"): view
        for view in views.star(star_of(load_spec(ROOT / "conf" / "retail.yaml")), views.SYNAPSE, "dbo")
    }
    tables = {Path(name).stem: text for name, text in project.items() if "/tables/" in name}
    assert set(tables) == set(made)
    for name, text in tables.items():
        assert re.findall(r"sourceColumn: (.+)", text) == [column for column, *_ in made[name].columns]
        assert f'Item = "retail_sales_{name}"' in text
        tags = re.findall(r"lineageTag: (\S+)", text)
        assert len(tags) == len(set(tags))


def test_relationships_join_facts_to_dimensions_that_have_the_column(project: dict[str, str]) -> None:
    text = project["retail_sales.SemanticModel/definition/relationships.tmdl"]
    pairs = re.findall(r"fromColumn: (\w+)\.(\w+)\n\ttoColumn: (\w+)\.(\w+)", text)
    assert ("fact_predictions", "date", "dim_date", "date") in pairs
    assert ("fact_metrics", "partition_id", "dim_partition", "partition_id") in pairs
    for fact, column, dimension, key in pairs:
        assert (
            f"sourceColumn: {column}\n"
            in project[f"retail_sales.SemanticModel/definition/tables/{fact}.tmdl"]
        )
        assert (
            f"sourceColumn: {key}\n"
            in project[f"retail_sales.SemanticModel/definition/tables/{dimension}.tmdl"]
        )


def test_every_field_of_the_report_is_in_the_model(project: dict[str, str]) -> None:
    visuals = [json.loads(text) for name, text in project.items() if name.endswith("visual.json")]
    roles = [role for visual in visuals for role in visual["visual"]["query"]["queryState"].values()]
    fields = [projection["field"] for role in roles for projection in role["projections"]]
    assert len(visuals) >= 12
    for field in fields:
        ((kind, found),) = field.items()
        table = project[
            f"retail_sales.SemanticModel/definition/tables/{found['Expression']['SourceRef']['Entity']}.tmdl"
        ]
        name = found["Property"]
        assert re.search(rf"\t{kind.lower()} '?{re.escape(name)}'?( =|\n)", table), name


def overlap(a: dict[str, int], b: dict[str, int]) -> bool:
    across = a["x"] < b["x"] + b["width"] and b["x"] < a["x"] + a["width"]
    return across and a["y"] < b["y"] + b["height"] and b["y"] < a["y"] + a["height"]


def test_visuals_lie_on_the_page_and_not_upon_each_other(project: dict[str, str]) -> None:
    for page in ("forecast", "health"):
        places = [
            json.loads(text)["position"] for name, text in project.items() if f"pages/{page}/visuals" in name
        ]
        for one in places:
            assert one["x"] + one["width"] <= 1280 and one["y"] + one["height"] <= 720
        assert not any(overlap(a, b) for n, a in enumerate(places) for b in places[n + 1 :])


def test_the_connection_file_names_server_and_database_and_no_secret(project: dict[str, str]) -> None:
    content = json.loads(project["retail_sales.pbids"])
    assert content["connections"][0]["details"] == {
        "protocol": "tds",
        "address": {"server": "WORKSPACE.sql.azuresynapse.net", "database": "forecasts"},
    }


def test_a_warehouse_gets_the_views_whose_tables_it_has_and_gets_them_again(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, backtest={"intervals": [80]})
    path = str(tmp_path / "warehouse.duckdb")
    filled(duckdb.connect(path)).close()
    with open_warehouse(spec.warehouse, "sales") as warehouse:
        assert put_views(warehouse, spec) == put_views(warehouse, spec) == {}
        made = warehouse.fetch("SELECT count(*) AS n FROM duckdb_views() WHERE view_name LIKE 'sales_%'")
        assert made["n"].tolist() == [8]
        found = warehouse.fetch(
            "SELECT state, count(*) AS n FROM sales_dim_partition GROUP BY state ORDER BY state"
        )
        assert found.to_numpy().tolist() == [["in production", 2], ["no champion", 1], ["quarantined", 1]]


def test_a_view_that_is_refused_is_reported_and_the_others_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(tmp_path, backtest={"intervals": [80]})
    filled(duckdb.connect(str(tmp_path / "warehouse.duckdb"))).close()
    with open_warehouse(spec.warehouse, "sales") as warehouse:
        put_view = warehouse.put_view

        def refuses_one(name: str, select: str) -> None:
            put_view(name, "SELECT nothing" if name == "sales_dim_date" else select)

        monkeypatch.setattr(warehouse, "put_view", refuses_one)
        refused = put_views(warehouse, spec)
        assert list(refused) == ["sales_dim_date"]
        made = warehouse.fetch("SELECT count(*) AS n FROM duckdb_views() WHERE view_name LIKE 'sales_%'")
        assert made["n"].tolist() == [7]
    assert refused_views(refused).startswith(
        ". The tables are loaded; 1 view was refused: DuckDB refused view sales_dim_date: Binder Error"
    )
    assert refused_views({}) == ""
