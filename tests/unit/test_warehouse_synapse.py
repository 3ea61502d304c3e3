"""The Synapse warehouse without a Synapse: statements by golden files and parsers, the load's logic run in
DuckDB.

Nothing here tells what Synapse itself says to a statement; `docs/synapse.md` lists what could not be checked.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import mssql_python
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlglot
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlfluff.core import Linter
from sqlglot import exp
from synapse_stand_in import Killed, StandIn

from manymodels_spark.errors import WarehouseError
from manymodels_spark.spec.places import Synapse
from manymodels_spark.warehouse import synapse, synapse_pool, synapse_sql, views
from manymodels_spark.warehouse.base import LEDGER, Export, Warehouse
from manymodels_spark.warehouse.digest import batch_checksum
from manymodels_spark.warehouse.synapse_names import Layout, name, text, url

KEY = ("partition_id", "cutoff")
MONDAY, TUESDAY = datetime(2026, 11, 23), datetime(2026, 11, 24)
GOLDEN = Path(__file__).parent / "golden" / "synapse"
WAYS = ("delete_insert", "switch", "rename")
STAGING = "abfss://lake@account.dfs.core.windows.net"
Row = tuple[str, datetime | None, float | None]


@pytest.fixture(autouse=True)
def _tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work tables get the same names in every run, so that golden files hold and statements are parsed
    once.
    """
    numbers = iter(range(10_000))
    monkeypatch.setattr(synapse, "_today", lambda: date(2026, 11, 24))
    monkeypatch.setattr(synapse, "_token", lambda: f"20261124{next(numbers):08x}")
    monkeypatch.setattr("secrets.token_hex", lambda size: "c1a1")


@pytest.fixture
def pool(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path)


def opened(*pools: StandIn, way: str = "delete_insert", spec: str = "retail", **changes: object) -> Warehouse:
    """The warehouse on a connection; on the next one each time that it connects again."""
    part = Synapse.model_validate(
        {"server": "w.sql.azuresynapse.net", "database": "forecasts", "load": way, **changes}
    )
    left = iter([*pools, *pools[-1:] * 10])
    return synapse.open_synapse(part, spec, lambda _: next(left))


def written(pool: StandIn, folder: str, table: pa.Table) -> tuple[str, ...]:
    place = pool.lake / "lake" / folder
    place.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, place / "part-0.parquet")
    return (f"{STAGING}/{folder}/*.parquet",)


def predictions(rows: list[Row]) -> pa.Table:
    ids, cutoffs, values = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "partition_id": pa.array(ids, pa.string()),
            "cutoff": pa.array(cutoffs, pa.timestamp("us")),
            "prediction": pa.array(values, pa.float64()),
        }
    )


def export(pool: StandIn, values: list[Row], version: int = 0, **changes: object) -> Export:
    table = predictions(values)
    fields: dict[str, object] = {
        "key": KEY,
        "rows": len(values),
        "files": written(pool, f"v{version}/rows", table),
        **changes,
    }
    return Export("lake-1", version, table.schema, **fields)  # type: ignore[arg-type]


def changed(pool: StandIn, rows: list[Row], keys: list[Row], version: int, base: int = 0) -> Export:
    files = written(pool, f"v{version}/keys", predictions(keys).select(list(KEY)))
    return export(pool, rows, version, replaces=files, base=base)


def values(pool: StandIn, table: str = "p") -> list[float | None]:
    """What a reader sees, through a connection of its own."""
    return [
        row[0]
        for row in pool.database.execute(f"SELECT prediction FROM dbo.{table} ORDER BY prediction").fetchall()
    ]


def ledger(pool: StandIn) -> list[tuple[Any, ...]]:
    return pool.database.execute(
        f'SELECT "table", version, rows FROM dbo.{LEDGER} ORDER BY loaded_at'
    ).fetchall()


def tables(pool: StandIn) -> set[str]:
    found = pool.database.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'dbo'"
    )
    return {row[0] for row in found.fetchall()}


# --- what a load does, however it is put in place ---


@pytest.mark.parametrize("way", WAYS)
def test_a_version_is_loaded_once_and_no_work_table_stays(pool: StandIn, way: str) -> None:
    warehouse = opened(pool, way=way)
    first = export(pool, [("a", MONDAY, 1.0), ("b", MONDAY, 2.0)])

    assert warehouse.load("p", first, "run-1") is True
    assert warehouse.load("p", first, "run-2") is False

    assert values(pool) == [1.0, 2.0]
    last = warehouse.last("p")
    assert last is not None
    assert (last.spec, last.source, last.version, last.rows, last.run_id) == (
        "retail",
        "lake-1",
        0,
        2,
        "run-1",
    )
    assert tables(pool) == {"p", LEDGER, synapse_sql.JOURNAL, synapse_sql.LOCKS}


@pytest.mark.parametrize("way", WAYS)
def test_only_the_affected_keys_are_replaced(pool: StandIn, way: str) -> None:
    warehouse = opened(pool, way=way)
    warehouse.load(
        "p",
        export(pool, [("a", MONDAY, 1.0), ("b", None, 2.0), ("b", TUESDAY, 3.0), ("B", TUESDAY, 4.0)]),
        "r",
    )

    forward = changed(
        pool, [("c", MONDAY, 9.0)], [("b", None, 0.0), ("B", TUESDAY, 0.0), ("c", MONDAY, 0.0)], 4
    )
    assert warehouse.load("p", forward, "r") is True

    assert values(pool) == [1.0, 3.0, 9.0], "b without a cutoff and B went, c came, a and b of Tuesday stay"
    assert ledger(pool) == [("p", 0, 4), ("p", 4, 1)]


@pytest.mark.parametrize("way", WAYS)
def test_a_whole_version_replaces_all_rows(pool: StandIn, way: str) -> None:
    warehouse = opened(pool, way=way)
    warehouse.load("p", export(pool, [("a", MONDAY, 1.0)]), "r")

    warehouse.load("p", export(pool, [("b", MONDAY, 5.0), ("c", MONDAY, None)], 1), "r")
    assert values(pool) == [5.0, None]

    warehouse.load("p", export(pool, [], 2, files=()), "r")
    assert values(pool) == []


@pytest.mark.parametrize("way", WAYS)
def test_keys_without_rows_only_take_rows_away(pool: StandIn, way: str) -> None:
    warehouse = opened(pool, way=way)
    warehouse.load("p", export(pool, [("a", MONDAY, 1.0), ("b", MONDAY, 2.0)]), "r")

    warehouse.load("p", changed(pool, [], [("a", MONDAY, 0.0)], 1), "r")

    assert values(pool) == [2.0]


@pytest.mark.parametrize("way", WAYS)
def test_an_export_that_another_load_overtook_is_refused(pool: StandIn, way: str) -> None:
    warehouse = opened(pool, way=way)
    warehouse.load("p", export(pool, [("a", MONDAY, 1.0)], 3), "r")

    with pytest.raises(WarehouseError, match="another load was quicker"):
        warehouse.load("p", changed(pool, [("a", MONDAY, 2.0)], [("a", MONDAY, 0.0)], 5, base=2), "r")
    assert values(pool) == [1.0]


@pytest.mark.parametrize("way", WAYS)
def test_a_load_that_is_overtaken_while_it_stages_changes_nothing(pool: StandIn, way: str) -> None:
    warehouse = opened(pool, way=way)
    warehouse.load("p", export(pool, [("a", MONDAY, 1.0)]), "r")
    quicker = changed(pool, [("a", MONDAY, 3.0)], [("a", MONDAY, 0.0)], 2)
    slower = changed(pool, [("a", MONDAY, 2.0)], [("a", MONDAY, 0.0)], 1)
    other = opened(pool.another(), way=way)
    seen: list[bool] = []

    def overtake(_: int, statement: str) -> None:
        if statement.startswith("COPY INTO") and not seen:
            seen.append(True)
            assert other.load("p", quicker, "quick") is True

    pool.after = overtake
    assert warehouse.load("p", slower, "slow") is False, "version 2 is there, so 1 is as good as loaded"
    assert values(pool) == [3.0]
    assert ledger(pool) == [("p", 0, 1), ("p", 2, 1)]


@pytest.mark.parametrize("way", WAYS)
def test_files_with_other_rows_than_the_lake_said_leave_the_table_as_it_was(pool: StandIn, way: str) -> None:
    warehouse = opened(pool, way=way)
    warehouse.load("p", export(pool, [("a", MONDAY, 1.0)]), "r")

    with pytest.raises(WarehouseError, match="2 rows were exported and 1 arrived"):
        warehouse.load("p", export(pool, [("a", MONDAY, 2.0)], 1, rows=2), "r")
    assert values(pool) == [1.0]
    assert "p__rows" not in " ".join(tables(pool)), "the staged rows are cleared away"


def test_a_checksum_of_the_lake_is_that_of_the_pool_for_every_type(pool: StandIn) -> None:
    table = pa.table(
        {
            "partition_id": ["a", "ü 日本 😀", None],
            "cutoff": pa.array([MONDAY, datetime(1969, 12, 31, 23), None], pa.timestamp("us")),
            "prediction": [1.5, -0.1, None],
            "day": pa.array([date(1, 1, 1), date(9999, 12, 31), None]),
            "price": pa.array([Decimal("-0.50"), Decimal("12345.67"), None], pa.decimal128(9, 2)),
            "known": [True, False, None],
            "raw": [b"\x00\xff", b"", None],
            "number": pa.array([-(2**63), 2**63 - 1, None], pa.int64()),
            "small": pa.array([0.1, -3.0, None], pa.float32()),
        }
    )
    sent = batch_checksum(table, "utf-16-le")
    files = written(pool, "types", table)

    assert (
        opened(pool).load("p", Export("lake-1", 0, table.schema, 3, files, KEY, checksum=sent), "r") is True
    )

    other = batch_checksum(table.set_column(2, "prediction", pa.array([1.5, -0.2, None])), "utf-16-le")
    with pytest.raises(WarehouseError, match="differ from those exported in column prediction"):
        opened(pool).load("p", Export("lake-1", 1, table.schema, 3, files, KEY, checksum=other), "r")


def test_a_column_that_rounds_is_found_by_the_checksum(pool: StandIn) -> None:
    warehouse = opened(pool)
    pool.database.execute(
        "CREATE TABLE dbo.p (partition_id VARCHAR, cutoff TIMESTAMP, prediction DECIMAL(9, 1))"
    )

    with pytest.raises(WarehouseError, match="differ from those exported in column prediction"):
        warehouse.load("p", export(pool, [("a", MONDAY, 1.25), ("b", MONDAY, 2.0)]), "r")
    assert values(pool) == []


def test_a_refused_row_is_named_and_nothing_is_loaded(pool: StandIn) -> None:
    warehouse = opened(pool)
    pool.database.execute(
        "CREATE TABLE dbo.p (partition_id VARCHAR, cutoff TIMESTAMP, prediction DOUBLE CHECK (prediction "
        ">= 0))"
    )
    rows: list[Row] = [(f"id-{number}", MONDAY, float(number)) for number in range(300)]
    rows[171] = ("id-171", TUESDAY, -4.5)

    with pytest.raises(
        WarehouseError, match=r"partition_id=id-171, cutoff=2026-11-24 .* column prediction = -4.5"
    ):
        warehouse.load("p", export(pool, rows), "r")
    assert values(pool) == []
    assert warehouse.last("p") is None


@pytest.mark.parametrize("way", WAYS)
def test_a_new_column_is_added_and_older_rows_hold_null(pool: StandIn, way: str) -> None:
    warehouse = opened(pool, way=way)
    warehouse.load("p", export(pool, [("a", MONDAY, 1.0)]), "r")
    wider = predictions([("b", MONDAY, 2.0)]).append_column("promotion", pa.array([True]))
    keys = written(pool, "v1/keys", wider.select(list(KEY)))

    warehouse.load(
        "p", Export("lake-1", 1, wider.schema, 1, written(pool, "v1/rows", wider), KEY, keys, 0), "r"
    )

    assert pool.database.execute("SELECT partition_id, promotion FROM dbo.p ORDER BY 1").fetchall() == [
        ("a", None),
        ("b", True),
    ]


def test_rows_that_no_load_brought_are_not_taken_away_unless_asked(pool: StandIn) -> None:
    warehouse = opened(pool)
    columns = "'mine' AS partition_id, TIMESTAMP '2020-01-01' AS cutoff, 1.0::DOUBLE AS prediction"
    pool.database.execute(f"CREATE TABLE dbo.p AS SELECT {columns}")
    first = export(pool, [("a", MONDAY, 2.0)])

    with pytest.raises(WarehouseError, match="holds 1 rows that no load of this spec brought"):
        warehouse.load("p", first, "r")
    assert warehouse.load("p", first, "r", again=True) is True
    assert values(pool) == [2.0]


def test_two_specs_do_not_share_a_table(pool: StandIn) -> None:
    opened(pool).load("p", export(pool, [("a", MONDAY, 2.0)]), "r")

    with pytest.raises(WarehouseError, match="is loaded by spec retail already"):
        opened(pool, spec="supply").load("p", export(pool, [("a", MONDAY, 3.0)], 9), "r")


def test_a_table_dropped_by_hand_is_loaded_again(pool: StandIn) -> None:
    warehouse = opened(pool)
    first = export(pool, [("a", MONDAY, 2.0)])
    warehouse.load("p", first, "r")
    pool.database.execute("DROP TABLE dbo.p")

    assert warehouse.last("p") is None
    assert warehouse.load("p", first, "r") is True


def test_a_query_comes_back_as_a_data_frame(pool: StandIn) -> None:
    warehouse = opened(pool)
    warehouse.load("p", export(pool, [("a", MONDAY, 2.0)]), "r")

    found = warehouse.fetch("SELECT TOP (1) [partition_id] AS [id], [prediction] FROM [dbo].[p]")
    assert found.to_dict("records") == [{"id": "a", "prediction": 2.0}]


def test_a_session_that_ends_in_mid_load_says_what_became_of_the_table(pool: StandIn) -> None:
    warehouse = opened(pool)
    warehouse.load("p", export(pool, [("a", MONDAY, 1.0)]), "r")

    def expire(_: int, statement: str) -> None:
        if statement.startswith("INSERT INTO [dbo].[p]"):
            raise mssql_python.OperationalError("Login failed: the token has expired", "28000")

    pool.before = expire
    with pytest.raises(WarehouseError, match="could not load p: .*token has expired.*Run the load again"):
        warehouse.load("p", export(pool, [("a", MONDAY, 2.0)], 1), "r")
    assert values(pool) == [1.0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_token_that_expires_at_any_statement_is_renewed_and_the_load_begun_again(
    way: str, side: str, tmp_path: Path
) -> None:
    prepared = Prepared(tmp_path, way)
    forward = changed(prepared.pool(), [("b", MONDAY, 20.0)], [("b", MONDAY, 0.0)], 1)
    number, more = 0, True
    while more:
        pool = prepared.pool()
        sessions = [pool.another(), pool.another()]
        warehouse = opened(*sessions, way=way)
        start = len(sessions[0].statements)
        setattr(sessions[0], side, functools.partial(expire, sessions[0], start + number))

        assert warehouse.load("p", forward, "r2") in (True, False)

        more = len(sessions[1].statements) > 0
        assert values(pool) == [1.0, 20.0]
        assert [row[1:] for row in ledger(pool)] == [(0, 2), (1, 1)]
        number += 1
    assert number > 5


class Prepared:
    """A pool that was loaded once, and any number of copies of it."""

    def __init__(self, folder: Path, way: str) -> None:
        self.lake, self._saved = folder, folder / "prepared.duckdb"
        pool = StandIn(folder)
        opened(pool, way=way).load("p", export(pool, [("a", MONDAY, 1.0), ("b", MONDAY, 2.0)]), "r")
        pool.save(self._saved)

    def pool(self) -> StandIn:
        """The pool as it was when it had been loaded."""
        return StandIn(self.lake, saved=self._saved)


def expire(session: StandIn, number: int, at: int, statement: str) -> None:
    """The server ends the session, and takes its transaction back."""
    if at == number:
        if session.in_transaction:
            session.database.execute("ROLLBACK")
            session.in_transaction = False
        session.dead = True
        raise mssql_python.OperationalError("Login failed: the token has expired", "28000")


# --- killed anywhere ---


def kill(pool: StandIn, number: int, side: str, at: int, statement: str) -> None:
    """Die at a statement; after one that only reads is no other place than before the next."""
    if at == number and (side == "before" or not statement.startswith("SELECT")):
        pool.die()


def states(way: str, folder: Path) -> Iterator[tuple[int, str, StandIn, Export]]:
    """A pool for every statement of a load and both its sides, loaded up to the kill there."""
    prepared = Prepared(folder, way)
    keys: list[Row] = [("b", MONDAY, 0.0), ("c", MONDAY, 0.0)]
    forward = changed(prepared.pool(), [("b", MONDAY, 20.0), ("c", MONDAY, 3.0)], keys, 1)
    number, more = 0, True
    while more:
        for side in ("before", "after"):
            pool = prepared.pool()
            killed = pool.another()
            setattr(killed, side, functools.partial(kill, killed, number, side))
            try:
                opened(killed, way=way).load("p", forward, "killed")
                more = number < len(killed.statements)
            except Killed:
                yield number, side, pool, forward
        number += 1


@pytest.mark.parametrize("way", WAYS)
def test_killed_at_any_statement_the_table_is_old_or_new_and_the_next_run_finishes(
    way: str, tmp_path: Path
) -> None:
    old, new, absent = [1.0, 2.0], [1.0, 3.0, 20.0], 0
    kills = 0
    for number, side, pool, forward in states(way, tmp_path):
        kills += 1
        place = f"killed {side} statement {number}"
        if way == "rename" and "p" not in tables(pool):
            absent += 1
        else:
            assert values(pool) in (old, new), place
        next_run = opened(pool.another(), way=way)
        next_run.last("p")
        next_run.load("p", forward, "next")
        assert values(pool) == new, place
        assert ledger(pool) == [("p", 0, 2), ("p", 1, 2)], place
        assert not pool.database.execute(f"SELECT * FROM dbo.{synapse_sql.JOURNAL}").fetchall(), place

    assert kills > 30
    assert absent == (2 if way == "rename" else 0), "only between the two renames there is no table"


def test_work_tables_of_a_killed_load_are_cleared_days_later(pool: StandIn) -> None:
    warehouse = opened(pool)
    for table in (
        "p__rows_2026010100000000",
        "p__claimed_2026010100000000_c1a1",
        "p__rows_of_mine",
        "pq__rows_2026010100000000",
    ):
        pool.database.execute(f"CREATE TABLE dbo.{table} (a INT)")

    warehouse.load("p", export(pool, [("a", MONDAY, 1.0)]), "r")

    assert {"p__rows_of_mine", "pq__rows_2026010100000000"} == {
        table for table in tables(pool) if "__" in table
    }


def test_two_runs_that_finish_the_same_switch_do_not_empty_the_table(pool: StandIn) -> None:
    opened(pool, way="switch").load("p", export(pool, [("a", MONDAY, 1.0)]), "r")
    forward = changed(pool, [("b", MONDAY, 2.0)], [("b", MONDAY, 0.0)], 1)
    slow, other = opened(pool, way="switch"), opened(pool.another(), way="switch")
    seen: list[bool] = []

    def finish_elsewhere(_: int, statement: str) -> None:
        if " SWITCH TO " in statement and not seen:
            seen.append(True)
            other.last("p")

    pool.before = finish_elsewhere
    with pytest.raises(WarehouseError, match="Run the load again"):
        slow.load("p", forward, "slow")
    assert values(pool) == [1.0, 2.0]
    assert ledger(pool) == [("p", 0, 1), ("p", 1, 1)]


# --- the statements themselves ---

LINTER = Linter(dialect="tsql")


def require_t_sql(statement: str) -> None:
    """Sqlfluff is the gate; it does not know COPY INTO, which sqlglot reads."""
    if statement.startswith("COPY INTO"):
        tree = sqlglot.parse_one(statement, read="tsql")
        assert isinstance(tree, exp.Copy)
        assert tree.this.expressions, "it names its columns"
        assert all(file.name.startswith("https://") for file in tree.args["files"])
        assert {parameter.this.name for parameter in tree.args["params"]} >= {"FILE_TYPE"}
        return
    found = [str(violation.desc()) for violation in LINTER.parse_string(statement).violations]
    assert found == [], statement


def recorded(pool: StandIn, way: str) -> str:
    opened(pool, way=way).load("p", export(pool, [("a", MONDAY, 1.0)]), "run-0")
    pool.statements.clear()
    opened(pool, way=way).load("p", changed(pool, [("b", MONDAY, 2.0)], [("b", MONDAY, 0.0)], 1), "run-1")
    return ";\nGO\n".join([*pool.statements, ""])


@pytest.mark.parametrize("way", WAYS)
def test_the_statements_of_a_load_are_those_of_the_golden_file_and_parse(pool: StandIn, way: str) -> None:
    script = recorded(pool, way)
    golden = GOLDEN / f"{way}.sql"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(script, encoding="utf-8")

    assert script == golden.read_text(encoding="utf-8")
    for statement in pool.statements:
        require_t_sql(statement)


def test_the_first_load_of_a_pool_makes_its_tables(pool: StandIn) -> None:
    opened(pool, schema="fore casts").load("p", export(pool, [("a", MONDAY, 1.0)]), "run-0")

    made = [statement for statement in pool.statements if statement.startswith("CREATE")]
    assert made[0] == "CREATE SCHEMA [fore casts]"
    assert [re.split(r"[ (\n]+TABLE ", line, maxsplit=1)[1].split(" (")[0] for line in made[1:5]] == [
        "[fore casts].[manymodels_loads]",
        "[fore casts].[manymodels_pending]",
        "[fore casts].[manymodels_locks]",
        "[fore casts].[p]",
    ]
    assert made[4].endswith("WITH (DISTRIBUTION = HASH([partition_id]), CLUSTERED COLUMNSTORE INDEX)")
    for statement in pool.statements:
        require_t_sql(statement)


def test_the_serverless_endpoint_gets_a_view_of_the_delta_table(pool: StandIn) -> None:
    schema = pa.schema([*predictions([]).schema, pa.field("price", pa.decimal128(9, 2))])
    lake = Export("lake-1", 7, schema, 5, (f"{STAGING}/retail/predictions",))
    statements: list[str] = []

    warehouse = opened(ServerlessRecorder(pool.lake, statements), serverless=True)
    assert warehouse.reads == "delta"
    assert warehouse.last("p") is None
    assert warehouse.load("p", lake, "r") is True

    golden = GOLDEN / "serverless.sql"
    made = ";\nGO\n".join([statement for statement in statements if statement.startswith("CREATE")][1:])
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(made + "\n", encoding="utf-8")
    assert made + "\n" == golden.read_text(encoding="utf-8")
    assert "DATA_SOURCE = 'manymodels_account_lake'" in statements[-1]
    require_t_sql(statements[-1])


class ServerlessRecorder(StandIn):
    """A serverless endpoint that knows no data source yet, and notes what it is asked."""

    def __init__(self, lake: Path, seen: list[str], refuses: str = "nothing") -> None:
        super().__init__(lake)
        self.seen, self.refuses = seen, refuses

    def _run(self, statement: str) -> None:
        self.seen.append(statement)
        if self.refuses in statement:
            raise mssql_python.ProgrammingError("permission denied", statement)
        if "FROM sys." in statement:
            self.database.execute("SELECT 1 WHERE false")
        elif not any(word in statement for word in ("OPENROWSET", "CREDENTIAL", "CREATE SCHEMA")):
            super()._run(statement)


def test_who_may_make_no_data_source_is_told_what_an_administrator_runs(pool: StandIn) -> None:
    lake = Export("lake-1", 7, predictions([]).schema, 5, (f"{STAGING}/retail/predictions",))
    warehouse = opened(ServerlessRecorder(pool.lake, [], "EXTERNAL DATA SOURCE"), serverless=True)
    expected = (
        "refused a data source for https://account.dfs.core.windows.net/lake: .* runs once: CREATE DATABASE "
        "SCOPED CREDENTIAL .* WITH IDENTITY = 'Managed Identity'; CREATE EXTERNAL DATA SOURCE .* for each "
        "reader: GRANT REFERENCES ON"
    )
    with pytest.raises(WarehouseError, match=expected):
        warehouse.load("p", lake, "r")


def test_a_view_that_the_pool_refuses_says_what_to_grant(pool: StandIn) -> None:
    warehouse = opened(pool)

    def deny(_: int, statement: str) -> None:
        if statement.startswith("CREATE VIEW"):
            raise mssql_python.ProgrammingError("CREATE VIEW permission denied in database", "42000")

    pool.before = deny
    with pytest.raises(
        WarehouseError, match=r"refused view v: .*denied.*GRANT CREATE VIEW TO \[the identity\]"
    ):
        warehouse.put_view("v", "SELECT 1 AS [a]")


POOL = yaml.safe_load((Path(__file__).parents[1] / "data" / "synapse_pool.yaml").read_text(encoding="utf-8"))


def outside_the_list(statement: str) -> set[str]:
    """The functions and the kind of statement that a dedicated pool does not document."""
    plain = re.sub(r"\[(?:[^\]]|\]\])*\]|'(?:[^']|'')*'", "x", statement)
    called = {name.upper() for name in re.findall(r"\b([A-Za-z_]\w*)\s*\(", plain)}
    # What stands before a bracket and is no function: types, clauses, and options of a table or a COPY.
    called -= {"NVARCHAR", "VARCHAR", "VARBINARY", "BINARY", "DECIMAL", "DATETIME2", "FLOAT", "HASH"}
    called -= {
        "WITH",
        "AS",
        "AND",
        "OR",
        "NOT",
        "IN",
        "EXISTS",
        "WHERE",
        "FROM",
        "BY",
        "TOP",
        "TABLE",
        "JOIN",
        "X",
    }
    verb = next((kind for kind in POOL["statements"] if plain.upper().startswith(kind)), plain.split()[0])
    return (called - set(POOL["functions"])) | ({verb} - set(POOL["statements"]))


def every_kind() -> pa.Schema:
    kinds = [pa.bool_(), pa.int64(), pa.float64(), pa.date32(), pa.timestamp("us"), pa.decimal128(9, 2)]
    fields = [pa.field(f"c{number}", kind) for number, kind in enumerate([*kinds, pa.string(), pa.binary()])]
    return pa.schema(fields)


@pytest.mark.parametrize("way", WAYS)
def test_a_load_uses_only_what_a_dedicated_pool_documents(pool: StandIn, way: str) -> None:
    recorded(pool, way)
    digest = synapse_sql.digest("[dbo].[p]", every_kind(), Layout("ROUND_ROBIN", False, False))
    refused = synapse_sql.number("[dbo].[t]", "[dbo].[r]", ["a"], "__row")
    found = {statement: outside_the_list(statement) for statement in [*pool.statements, digest, refused]}
    assert {statement: names for statement, names in found.items() if names} == {}


def test_the_views_use_only_what_a_dedicated_pool_documents() -> None:
    star = views.Star("retail", ["store"], "date", [80], "retail_predictions")
    for view in views.star(star, views.SYNAPSE, "dbo"):
        assert outside_the_list(f"CREATE VIEW [v] AS\n{view.select(views.SYNAPSE)}") == set(), view.name


def test_what_a_pool_does_not_document_is_noticed() -> None:
    assert outside_the_list("SELECT DATEDIFF_BIG(DAY, [a], [b]), LEN('F(x)') FROM [t]") == {"DATEDIFF_BIG"}
    assert outside_the_list("MERGE INTO [t] USING [s] ON 1 = 1") == {"MERGE"}


@settings(max_examples=200)
@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)))
def test_days_seconds_and_microseconds_add_up_to_the_microseconds_since_1970(moment: datetime) -> None:
    # The three terms of SYNAPSE_CELLS["timestamp"], each within an INT as DATEDIFF and DATEPART give it.
    days = (moment.date() - date(1970, 1, 1)).days
    seconds = (moment.replace(microsecond=0) - datetime.combine(moment.date(), datetime.min.time())).seconds
    assert max(abs(days), seconds, moment.microsecond) < 2**31
    since = moment - datetime(1970, 1, 1)
    assert days * 86_400_000_000 + seconds * 1_000_000 + moment.microsecond == since // timedelta(
        microseconds=1
    )


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(NAMES, min_size=1, max_size=4, unique_by=lambda value: value.lower().upper()))
def test_any_name_of_a_column_stays_a_name_in_every_statement(tmp_path: Path, names: list[str]) -> None:
    names = [*names, "select]; DROP TABLE x --", "a 'b' \"c\" [d]"]
    table = pa.table({column: ["x'; DROP TABLE y --", None] for column in names})
    pool = StandIn(tmp_path)
    warehouse = opened(pool)
    files = written(pool, "names", table)

    warehouse.load("order] by '日", Export("lake-1", 0, table.schema, 2, files), "r'; --")

    columns = pool.database.execute("""SELECT * FROM dbo."order] by '日" """)
    assert [column[0] for column in columns.description] == names
    assert sorted(columns.fetchall(), key=str) == sorted(
        [(None,) * len(names), ("x'; DROP TABLE y --",) * len(names)], key=str
    )


@pytest.mark.parametrize("bad", ["", "a" * 129, "line\nbreak", "nul\x00"])
def test_names_that_sql_server_does_not_take_are_refused(bad: str) -> None:
    with pytest.raises(WarehouseError, match="is no name for Synapse. Expected 1 to 128 characters"):
        name(bad)


def test_a_table_whose_work_tables_would_have_no_name_is_refused(pool: StandIn) -> None:
    with pytest.raises(WarehouseError, match="has 100 characters; up to 96 are expected"):
        opened(pool).load("t" * 100, export(pool, []), "r")


def test_columns_that_differ_in_case_only_are_refused(pool: StandIn) -> None:
    table = pa.table({"Store": ["a"], "store": ["b"]})
    with pytest.raises(WarehouseError, match="columns 'Store' and 'store' are one name to Synapse"):
        opened(pool).load("p", Export("lake-1", 0, table.schema, 1, ()), "r")


def test_a_literal_cannot_be_left() -> None:
    assert text("it's") == "N'it''s'"
    with pytest.raises(WarehouseError, match="NUL"):
        text("a\x00b")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (
            "abfss://lake@account.dfs.core.windows.net/a b/*.parquet",
            "https://account.dfs.core.windows.net/lake/a b/*.parquet",
        ),
        (
            "https://account.blob.core.windows.net/lake/x.parquet",
            "https://account.blob.core.windows.net/lake/x.parquet",
        ),
    ],
)
def test_a_place_in_the_lake_is_an_https_address(location: str, expected: str) -> None:
    assert url(location) == expected


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("/data/lake", "reads from Azure storage only. Set warehouse.synapse.staging"),
        ("s3a://bucket/x", "reads from Azure storage only"),
        ("https://account.blob.core.windows.net/lake?sig=topsecret", "a shared access signature is a secret"),
    ],
)
def test_other_places_are_refused_with_what_to_set(location: str, says: str) -> None:
    with pytest.raises(WarehouseError, match=re.escape(says)) as caught:
        url(location)
    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (None, "HASH([partition_id])"),
        ("hash( [cutoff] )", "HASH([cutoff])"),
        ("round_robin", "ROUND_ROBIN"),
        ("REPLICATE", "REPLICATE"),
    ],
)
def test_the_distribution_comes_from_the_spec(given_: str | None, expected: str) -> None:
    assert Layout.of(given_, predictions([]).schema).distribution == expected


@pytest.mark.parametrize("bad", ["HASH(a), HEAP) --", "HASH(nope)", "RANDOM"])
def test_a_distribution_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(WarehouseError, match="warehouse.synapse.distribution"):
        Layout.of(bad, predictions([]).schema)


def test_keys_without_the_column_of_the_distribution_are_staged_round_robin(pool: StandIn) -> None:
    warehouse = opened(pool, distribution="HASH(prediction)")
    warehouse.load("p", export(pool, [("a", MONDAY, 1.0)]), "r")
    warehouse.load("p", changed(pool, [("a", MONDAY, 2.0)], [("a", MONDAY, 0.0)], 1), "r")

    made = {
        line.split("__")[1][:4]: line
        for line in pool.statements
        if line.startswith("CREATE TABLE [dbo].[p__")
    }
    assert made["rows"].endswith("WITH (DISTRIBUTION = HASH([prediction]), HEAP)")
    assert made["keys"].endswith("WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)")


def test_a_small_table_is_a_heap_with_unbounded_text(pool: StandIn) -> None:
    table = pa.table({"id": ["a"], "scores": ["x" * 9000]})
    opened(pool).load("fits", Export("lake-1", 0, table.schema, 1, written(pool, "fits", table)), "r")

    (made,) = [line for line in pool.statements if line.startswith("CREATE TABLE [dbo].[fits] ")]
    assert "[scores] nvarchar(max) NULL" in made
    assert made.endswith("WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)")


@pytest.mark.parametrize("bad", ["evil.net;UID=sa", "a{b}", "", "-x"])
def test_a_server_cannot_bring_options_with_it(bad: str) -> None:
    with pytest.raises(WarehouseError, match="warehouse.synapse.server is no server's name"):
        synapse_pool.connect(Synapse.model_construct(server=bad, database="d"))


def test_an_unreachable_server_is_said_without_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def refuse(options: str, **more: object) -> None:
        seen.update(more, options=options)
        raise mssql_python.OperationalError("Login timeout expired", "HYT00")

    monkeypatch.setattr(mssql_python, "connect", refuse)
    monkeypatch.setenv("SYNAPSE_SERVER", "w.sql.azuresynapse.net")
    with pytest.raises(
        WarehouseError,
        match="Synapse at w.sql.azuresynapse.net, database fore}casts, cannot be reached: .*timeout",
    ):
        synapse_pool.connect(Synapse(server="${SYNAPSE_SERVER}", database="fore}casts"))

    assert (
        seen["options"]
        == "Server=w.sql.azuresynapse.net;Database={fore}}casts};Encrypt=yes;TrustServerCertificate=no"
    )
    assert seen["autocommit"] is True
    assert type(seen["token_provider"]).__name__ == "DefaultAzureCredential"


def test_the_real_driver_says_that_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    class Credential:
        def get_token(self, *_: str) -> object:
            return type("Token", (), {"token": "topsecret", "expires_on": 2**31})()

    monkeypatch.setattr("azure.identity.DefaultAzureCredential", Credential)
    with pytest.raises(
        WarehouseError, match="Synapse at 127.0.0.1,1, database d, cannot be reached"
    ) as caught:
        synapse_pool.connect(Synapse(server="127.0.0.1,1", database="d"))
    assert "topsecret" not in str(caught.value)


def test_the_script_for_a_real_pool_finds_nothing_wrong_here(
    pool: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "synapse.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    script = script.replace("problems = [", "upload = to_stand_in\nproblems = [")
    for name_, value in {
        "SERVER": "w.sql.azuresynapse.net",
        "DATABASE": "d",
        "SCHEMA": "dbo",
        "STAGING": STAGING,
    }.items():
        monkeypatch.setenv(name_, value)
    monkeypatch.setattr(
        "manymodels_spark.warehouse.open_warehouse",
        lambda part, spec: synapse.open_synapse(part, spec, lambda _: pool),
    )

    with pytest.raises(SystemExit) as end:
        exec(
            compile(script, "synapse.md", "exec"),
            {"to_stand_in": lambda table, place: written(pool, place, table)},
        )
    assert (end.value.code, capsys.readouterr().out) == (False, "all three ways load, once and whole\n")
