"""The Postgres warehouse against a real server: whole or not at all, once, and naming what it refuses."""

from __future__ import annotations

import threading
import time
from datetime import date, datetime
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manymodels_spark.errors import WarehouseError
from manymodels_spark.spec.places import Postgres
from manymodels_spark.warehouse.base import Export
from manymodels_spark.warehouse.postgres import PostgresWarehouse

KEY = ("partition_id", "cutoff")
MONDAY, TUESDAY = datetime(2026, 11, 23), datetime(2026, 11, 24)
Row = tuple[str, datetime | None, float | None]


@pytest.fixture
def warehouse(postgres_url: str) -> PostgresWarehouse:
    return PostgresWarehouse(Postgres(url=postgres_url, schema="fore casts"), "retail")


def predictions(rows: list[Row]) -> pa.Table:
    ids, cutoffs, values = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "partition_id": pa.array(ids, pa.string()),
            "cutoff": pa.array(cutoffs, pa.timestamp("us")),
            "prediction": pa.array(values, pa.float64()),
        }
    )


def written(folder: Path, name: str, table: pa.Table) -> tuple[str, ...]:
    pq.write_table(table, folder / name)
    return (str(folder / name),)


def export(folder: Path, rows: list[Row], version: int = 0, **changes: object) -> Export:
    table = predictions(rows)
    files = written(folder, f"v{version}.parquet", table)
    fields: dict[str, object] = {"key": KEY, **changes}
    return Export("lake-1", version, table.schema, table.num_rows, files, **fields)  # type: ignore[arg-type]


def values(warehouse: PostgresWarehouse) -> list[float]:
    return sorted(warehouse.fetch('SELECT prediction FROM "fore casts".p')["prediction"].tolist())


def create(warehouse: PostgresWarehouse, prediction: str) -> None:
    warehouse.fetch(
        f'CREATE TABLE "fore casts".p (partition_id text, cutoff timestamp, prediction {prediction})'
    )


def test_a_version_is_loaded_once(warehouse: PostgresWarehouse, tmp_path: Path) -> None:
    first = export(tmp_path, [("a", MONDAY, 1.0), ("b", MONDAY, 2.0)])

    assert warehouse.load("p", first, "run-1") is True
    assert warehouse.load("p", first, "run-2") is False
    assert values(warehouse) == [1.0, 2.0]
    last = warehouse.last("p")
    assert last is not None
    assert (last.version, last.rows, last.run_id, last.spec) == (0, 2, "run-1", "retail")


def test_two_loads_of_one_version_at_the_same_time_load_it_once(
    warehouse: PostgresWarehouse, postgres_url: str, tmp_path: Path
) -> None:
    first = export(tmp_path, [(f"id-{number}", MONDAY, 1.0) for number in range(2000)])
    outcomes: list[bool] = []

    def run() -> None:
        with PostgresWarehouse(Postgres(url=postgres_url, schema="fore casts"), "retail") as other:
            outcomes.append(other.load("p", first, "run"))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == [False, False, False, True]
    assert len(values(warehouse)) == 2000


def test_only_the_affected_keys_are_replaced(warehouse: PostgresWarehouse, tmp_path: Path) -> None:
    warehouse.load("p", export(tmp_path, [("a", MONDAY, 1.0), ("b", None, 2.0), ("b", TUESDAY, 3.0)]), "r")
    keys = written(
        tmp_path, "keys.parquet", predictions([("b", None, 0.0), ("c", MONDAY, 0.0)]).select(list(KEY))
    )

    assert warehouse.load("p", export(tmp_path, [("c", MONDAY, 9.0)], 4, replaces=keys, base=0), "r") is True

    assert values(warehouse) == [1.0, 3.0, 9.0]


def test_a_refused_row_is_named_and_nothing_is_loaded(warehouse: PostgresWarehouse, tmp_path: Path) -> None:
    create(warehouse, "double precision CHECK (prediction >= 0)")
    rows: list[Row] = [(f"id-{number}", MONDAY, float(number)) for number in range(500)]
    rows[371] = ("id-371", TUESDAY, -4.5)

    with pytest.raises(
        WarehouseError, match=r"partition_id=id-371, cutoff=2026-11-24 .* column prediction = -4.5"
    ):
        warehouse.load("p", export(tmp_path, rows), "r")
    assert values(warehouse) == []
    assert warehouse.last("p") is None


def test_a_row_too_large_for_its_column_is_named(warehouse: PostgresWarehouse, tmp_path: Path) -> None:
    create(warehouse, "numeric(4, 1)")

    with pytest.raises(WarehouseError, match=r"partition_id=b, .* column prediction = 12345.0"):
        warehouse.load("p", export(tmp_path, [("a", MONDAY, 1.0), ("b", MONDAY, 12345.0)]), "r")


def test_values_that_a_column_rounds_are_found_by_the_checksum(
    warehouse: PostgresWarehouse, tmp_path: Path
) -> None:
    create(warehouse, "numeric(9, 1)")

    with pytest.raises(WarehouseError, match="differ from those exported in column prediction"):
        warehouse.load("p", export(tmp_path, [("a", MONDAY, 1.25), ("b", MONDAY, 2.0)]), "r")
    assert values(warehouse) == []


def test_text_with_a_nul_character_is_named(warehouse: PostgresWarehouse, tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=r"column partition_id = 'b\\x00'.*NUL character"):
        warehouse.load("p", export(tmp_path, [("a", MONDAY, 1.0), ("b\x00", MONDAY, 2.0)]), "r")
    assert warehouse.last("p") is None


def test_a_connection_that_dies_in_mid_load_leaves_the_old_rows(
    warehouse: PostgresWarehouse, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.load("p", export(tmp_path, [("a", MONDAY, 1.0)]), "r")

    def cut(*_: object) -> None:
        pid = warehouse._connection.info.backend_pid
        with psycopg.connect(postgres_url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [pid])

    monkeypatch.setattr(warehouse, "_note", cut)
    with pytest.raises(WarehouseError, match="could not load p"):
        warehouse.load("p", export(tmp_path, [("a", MONDAY, 2.0)], 1), "r")

    with PostgresWarehouse(Postgres(url=postgres_url, schema="fore casts"), "retail") as again:
        assert values(again) == [1.0]
        assert again.load("p", export(tmp_path, [("a", MONDAY, 2.0)], 1), "r") is True
        assert values(again) == [2.0]


def test_an_unreachable_server_is_said_in_seconds_and_without_the_password() -> None:
    begin = time.monotonic()
    with pytest.raises(WarehouseError, match=r"127.0.0.1:1/sales cannot be reached as user ann") as caught:
        PostgresWarehouse(Postgres(url="postgresql://ann:topsecret@127.0.0.1:1/sales"), "retail")
    assert time.monotonic() - begin < 10
    assert "topsecret" not in str(caught.value)


NAMES = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=12)
TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=30)
CELLS = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.string(): TEXT | st.sampled_from(["", '"', "\\.", "\\N", "a,b\n\r", "null"]),
    pa.bool_(): st.booleans(),
    pa.decimal128(38, 9): st.decimals(-(10**28), 10**28, places=9),
    pa.date32(): st.dates(date(1, 1, 1), date(9999, 12, 31)),
    pa.timestamp("us"): st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),
    pa.binary(): st.binary(max_size=20),
}


@st.composite
def any_table(draw: st.DrawFn) -> pa.Table:
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    names = [*names, draw(st.sampled_from(["select", 'a "b" `c` [d] %s', "tab\tname", "日付"])) + " "]
    rows = draw(st.integers(0, 8))
    columns = {}
    for name in names:
        kind = draw(st.sampled_from(list(CELLS)))
        columns[name] = pa.array(draw(st.lists(st.none() | CELLS[kind], min_size=rows, max_size=rows)), kind)
    return pa.table(columns)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=any_table())
def test_every_name_and_every_value_survives_the_trip(
    warehouse: PostgresWarehouse, tmp_path: Path, table: pa.Table
) -> None:
    files = written(tmp_path, "trip.parquet", table)
    warehouse.fetch('DROP TABLE IF EXISTS "fore casts"."order ""by"" 日"')

    warehouse.load('order "by" 日', Export("lake", 0, table.schema, table.num_rows, files), "r")

    cursor = warehouse._connection.execute('SELECT * FROM "fore casts"."order ""by"" 日"')
    assert [column.name for column in cursor.description or ()] == table.column_names
    sent = sorted(tuple(map(repr, row)) for row in zip(*table.to_pydict().values(), strict=True))
    assert sorted(tuple(map(repr, row)) for row in cursor.fetchall()) == sent
