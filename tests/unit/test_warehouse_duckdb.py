"""The DuckDB warehouse: whole or not at all, once, and naming what it refuses."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manymodels_spark.errors import WarehouseError
from manymodels_spark.spec.places import DuckDB
from manymodels_spark.warehouse.base import Export
from manymodels_spark.warehouse.duckdb import DuckDBWarehouse

KEY = ("partition_id", "cutoff")
MONDAY, TUESDAY = datetime(2026, 11, 23), datetime(2026, 11, 24)


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBWarehouse:
    return DuckDBWarehouse(DuckDB(path=str(tmp_path / "w.duckdb")), "retail")


def written(folder: Path, name: str, table: pa.Table) -> tuple[str, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / name)
    return (str(folder / name),)


def predictions(rows: list[tuple[str, datetime, float | None]]) -> pa.Table:
    ids, cutoffs, values = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "partition_id": pa.array(ids, pa.string()),
            "cutoff": pa.array(cutoffs, pa.timestamp("us")),
            "prediction": pa.array(values, pa.float64()),
        }
    )


def export(folder: Path, table: pa.Table, version: int = 0, **changes: object) -> Export:
    files = written(folder, f"v{version}.parquet", table)
    fields: dict[str, object] = {"key": KEY, **changes}
    return Export("lake-1", version, table.schema, table.num_rows, files, **fields)  # type: ignore[arg-type]


def values(warehouse: DuckDBWarehouse) -> list[float]:
    return sorted(warehouse.fetch("SELECT prediction FROM p")["prediction"].tolist())


def test_a_version_is_loaded_once(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    first = export(tmp_path, predictions([("a", MONDAY, 1.0), ("b", MONDAY, 2.0)]))

    assert warehouse.load("p", first, "run-1") is True
    assert warehouse.load("p", first, "run-2") is False
    assert values(warehouse) == [1.0, 2.0]
    last = warehouse.last("p")
    assert last is not None
    assert (last.version, last.rows, last.run_id, last.spec) == (0, 2, "run-1", "retail")


def test_only_the_affected_keys_are_replaced(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    warehouse.load(
        "p", export(tmp_path, predictions([("a", MONDAY, 1.0), ("b", MONDAY, 2.0), ("b", TUESDAY, 3.0)])), "r"
    )
    keys = written(
        tmp_path, "keys.parquet", predictions([("b", MONDAY, 0.0), ("c", MONDAY, 0.0)]).select(list(KEY))
    )

    forward = export(tmp_path, predictions([("c", MONDAY, 9.0)]), 4, replaces=keys, base=0)
    assert warehouse.load("p", forward, "r") is True

    assert values(warehouse) == [1.0, 3.0, 9.0], "b of Monday left the lake, c came, the others stay"


def test_keys_that_are_null_are_replaced_too(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    nothing: list[tuple[str, datetime, float | None]] = [("a", None, 1.0)]  # type: ignore[list-item]
    warehouse.load("p", export(tmp_path, predictions(nothing)), "r")
    keys = written(tmp_path, "keys.parquet", predictions(nothing).select(list(KEY)))

    again = [(*row[:2], 2.0) for row in nothing]
    warehouse.load("p", export(tmp_path, predictions(again), 1, replaces=keys, base=0), "r")  # type: ignore[arg-type]

    assert values(warehouse) == [2.0]


def test_a_table_of_the_lake_that_was_created_anew_is_loaded_though_its_versions_start_again(
    warehouse: DuckDBWarehouse, tmp_path: Path
) -> None:
    warehouse.load("p", export(tmp_path, predictions([("a", MONDAY, 1.0)]), 7), "r")
    table = predictions([("a", MONDAY, 5.0)])
    anew = Export("lake-2", 0, table.schema, 1, written(tmp_path, "anew.parquet", table), KEY)

    assert warehouse.load("p", anew, "r") is True
    assert values(warehouse) == [5.0]


def test_an_export_that_another_load_overtook_is_refused(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    warehouse.load("p", export(tmp_path, predictions([("a", MONDAY, 1.0)]), 3), "r")
    late = export(tmp_path, predictions([("a", MONDAY, 2.0)]), 5, replaces=(), base=2)

    with pytest.raises(WarehouseError, match="another load was quicker"):
        warehouse.load("p", late, "r")
    assert values(warehouse) == [1.0]


def test_files_that_hold_other_rows_than_the_lake_said_leave_the_table_as_it_was(
    warehouse: DuckDBWarehouse, tmp_path: Path
) -> None:
    warehouse.load("p", export(tmp_path, predictions([("a", MONDAY, 1.0)])), "r")
    table = predictions([("a", MONDAY, 2.0)])
    short = Export("lake-1", 1, table.schema, 2, written(tmp_path, "short.parquet", table), KEY)

    with pytest.raises(WarehouseError, match="2 rows were exported and 1 arrived"):
        warehouse.load("p", short, "r")
    assert values(warehouse) == [1.0]
    assert warehouse.last("p").version == 0  # type: ignore[union-attr]


def test_a_column_that_cannot_hold_the_values_is_found_by_the_checksum(
    warehouse: DuckDBWarehouse, tmp_path: Path
) -> None:
    warehouse.fetch("CREATE TABLE p (partition_id VARCHAR, cutoff TIMESTAMP, prediction DECIMAL(9, 1))")

    with pytest.raises(WarehouseError, match="differ from those exported in column prediction"):
        warehouse.load("p", export(tmp_path, predictions([("a", MONDAY, 1.25), ("b", MONDAY, 2.0)])), "r")
    assert values(warehouse) == []


def test_a_refused_row_is_named_and_nothing_is_loaded(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    warehouse.fetch(
        "CREATE TABLE p (partition_id VARCHAR, cutoff TIMESTAMP, prediction DOUBLE CHECK (prediction >= 0))"
    )
    rows = [(f"id-{number}", MONDAY, float(number)) for number in range(500)]
    rows[371] = ("id-371", TUESDAY, -4.5)

    with pytest.raises(
        WarehouseError, match=r"partition_id=id-371, cutoff=2026-11-24 .* column prediction = -4.5"
    ):
        warehouse.load("p", export(tmp_path, predictions(rows)), "r")
    assert values(warehouse) == []
    assert warehouse.last("p") is None


def test_two_rows_that_collide_are_named_too(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    warehouse.fetch("CREATE TABLE p (partition_id VARCHAR PRIMARY KEY, cutoff TIMESTAMP, prediction DOUBLE)")
    rows = [(f"id-{number}", MONDAY, 1.0) for number in range(50)] + [("id-7", TUESDAY, 2.0)]

    with pytest.raises(WarehouseError, match="the row with partition_id=id-7, .* column partition_id"):
        warehouse.load("p", export(tmp_path, predictions(rows)), "r")


def test_a_new_column_is_added_and_older_rows_hold_null(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    warehouse.load("p", export(tmp_path, predictions([("a", MONDAY, 1.0)])), "r")
    wider = predictions([("b", MONDAY, 2.0)]).append_column("promotion", pa.array([True]))
    keys = written(tmp_path, "keys.parquet", wider.select(list(KEY)))

    warehouse.load("p", export(tmp_path, wider, 1, replaces=keys, base=0), "r")

    found = warehouse.fetch("SELECT partition_id, promotion FROM p ORDER BY 1")
    assert found["promotion"].isna().tolist() == [True, False]


def test_rows_that_no_load_brought_are_not_taken_away(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    warehouse.fetch(
        "CREATE TABLE p AS SELECT 'mine' AS partition_id, TIMESTAMP '2020-01-01' AS cutoff, 1.0::DOUBLE AS "
        "prediction"
    )
    first = export(tmp_path, predictions([("a", MONDAY, 2.0)]))

    with pytest.raises(WarehouseError, match="holds 1 rows that no load of this spec brought"):
        warehouse.load("p", first, "r")
    assert warehouse.load("p", first, "r", again=True) is True
    assert values(warehouse) == [2.0]


def test_two_specs_do_not_share_a_table(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    warehouse.load("p", export(tmp_path, predictions([("a", MONDAY, 2.0)])), "r")
    warehouse.spec = "supply"

    with pytest.raises(WarehouseError, match="is loaded by spec retail already"):
        warehouse.load("p", export(tmp_path, predictions([("a", MONDAY, 3.0)]), 9), "r")


def test_a_table_dropped_by_hand_is_loaded_again(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    first = export(tmp_path, predictions([("a", MONDAY, 2.0)]))
    warehouse.load("p", first, "r")
    warehouse.fetch("DROP TABLE p")

    assert warehouse.last("p") is None
    assert warehouse.load("p", first, "r") is True


def test_a_file_that_cannot_be_opened_says_what_to_check(tmp_path: Path) -> None:
    (tmp_path / "w.duckdb").write_text("this is no database, but long enough to look like a header " * 100)

    with pytest.raises(WarehouseError, match="cannot be opened.*warehouse: path"):
        DuckDBWarehouse(DuckDB(path=str(tmp_path / "w.duckdb")), "retail")


def test_paths_with_pattern_characters_are_names(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    folder = tmp_path / "a[1]*? =ü'b"
    assert warehouse.load("p", export(folder, predictions([("a", MONDAY, 2.0)])), "r") is True
    assert values(warehouse) == [2.0]


NAMES = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=12)
CELLS = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.string(): st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    pa.bool_(): st.booleans(),
    pa.decimal128(38, 9): st.decimals(-(10**28), 10**28, places=9),
    pa.date32(): st.dates(date(1, 1, 1), date(9999, 12, 31)),
    pa.timestamp("us"): st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),
    pa.binary(): st.binary(max_size=20),
}


@st.composite
def any_table(draw: st.DrawFn) -> pa.Table:
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique_by=lambda name: name.lower().upper()))
    names = [*names, draw(st.sampled_from(["select", 'a "b" `c` [d]', "tab\tname", "日付"])) + " "]
    rows = draw(st.integers(0, 8))
    columns = {}
    for name in names:
        kind = draw(st.sampled_from(list(CELLS)))
        columns[name] = pa.array(draw(st.lists(st.none() | CELLS[kind], min_size=rows, max_size=rows)), kind)
    return pa.table(columns)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=any_table())
def test_every_name_and_every_value_survives_the_trip(tmp_path: Path, table: pa.Table) -> None:
    with DuckDBWarehouse(DuckDB(path=":memory:"), "retail") as warehouse:
        name = 'order "by" 日'
        warehouse.load(name, export(tmp_path / "trip", table, key=()), "r")
        found = warehouse._connection.table('"' + name.replace('"', '""') + '"').to_arrow_table()

    assert found.column_names == table.column_names
    sent = sorted(tuple(map(repr, row)) for row in zip(*table.to_pydict().values(), strict=True))
    arrived = sorted(tuple(map(repr, row)) for row in zip(*found.to_pydict().values(), strict=True))
    assert arrived == sent


def test_an_instant_arrives_as_utc(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    moment = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    table = pa.table(
        {"moment": pa.array([moment], pa.timestamp("us", "Europe/Madrid")), "price": [Decimal("1.10")]}
    )
    files = written(tmp_path, "tz.parquet", table)
    schema = pa.schema([pa.field("moment", pa.timestamp("us")), pa.field("price", pa.decimal128(3, 2))])

    warehouse.replace_table("p", files, schema, 0, rows=1)

    assert warehouse._connection.execute("SELECT moment, price FROM p").fetchone() == (
        datetime(2026, 3, 29, 1, 30),
        Decimal("1.10"),
    )
