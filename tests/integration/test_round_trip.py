"""From a database through the whole lake into every warehouse:
keys, instants and decimals arrive as they were sent.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from builders import make_spec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from integration.postgres import jdbc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from synapse_stand_in import StandIn

from manymodels_spark.lake.tables import BRONZE, PREDICTIONS, SILVER
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.model import Spec
from manymodels_spark.spec.places import DuckDB, Postgres, Synapse, Warehouse
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.load.stage import load
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.promote.stage import promote
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.score.stage import score
from manymodels_spark.stages.train.stage import train
from manymodels_spark.warehouse import synapse, synapse_sql

pytestmark = [pytest.mark.spark, pytest.mark.services]

TRIPS = "MANYMODELS_TEST_TRIPS"
HOUR, ROWS, HORIZON = timedelta(hours=1), 6, 2
KEYS = ("select", 'qu"ote', "group", "ca.fé `x`")
TIME, TARGET, PRICE = "at.", "unit s", "the `price`"
TABLE = (
    'CREATE TABLE "order" ("select" text, "qu""ote" numeric(38, 6), "group" timestamptz, "ca.fé `x`" date, '
    '"at." timestamptz, '
    '"unit s" numeric(18, 4), "the `price`" numeric(18, 4))'
)
TEXTS = [
    "select",
    "a/b",
    "../x",
    'a "b" `c` [d] %s',
    "it's",
    "\\",
    "\\N",
    "",
    " ",
    " lead",
    "null",
    "1",
    "é",
    "e\u0301",
    "a\tb\nc",
    "👩‍👩‍👧",
    "\u202ecba",
    "日付",
    "x" * 300,
]
# Madrid's clock shows 2:30 twice on one night, an hour apart, and never on another.
TWICE = [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)]
NIGHTS = [
    datetime(2026, 3, 28, 23, tzinfo=UTC),
    datetime(2026, 10, 24, 22, tzinfo=UTC),
    datetime(2024, 2, 28, 20, tzinfo=UTC),
]
MOMENTS = [*TWICE, datetime(2026, 3, 29, 0, 59, 59, 999_999, tzinfo=UTC), datetime(1883, 11, 18, tzinfo=UTC)]
DATES = [date(2026, 3, 29), date(2024, 2, 29), date(1, 1, 1), date(1582, 10, 15), date(9999, 12, 31)]
LARGEST, WIDEST = Decimal("99999999999999.9999"), Decimal(f"{'9' * 32}.999999")
AMOUNTS = [
    LARGEST,
    -LARGEST,
    Decimal("0.0001"),
    Decimal("0.1000"),
    Decimal("100.0000"),
    Decimal("0.0000"),
    Decimal("-0.0001"),
]

Key = tuple[str, Decimal, datetime, date]
Step = tuple[datetime, datetime, float]


@dataclass(frozen=True)
class Series:
    """A partition as it stands in the source: its key, its first hour and its values, a price beside each."""

    key: Key
    start: datetime
    units: tuple[Decimal, ...]
    price: Decimal

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """Its rows in the source, columns as in `TABLE`."""
        return [(*self.key, self.start + n * HOUR, value, self.price) for n, value in enumerate(self.units)]

    @property
    def steps(self) -> set[Step]:
        """Cutoff, time and value of what a naive forecast makes of it."""
        last = self.start + (ROWS - 1) * HOUR
        return {(last, last + n * HOUR, float(self.units[-1])) for n in range(1, HORIZON + 1)}


def amounts() -> st.SearchStrategy[Decimal]:
    return st.sampled_from(AMOUNTS) | st.decimals(-LARGEST, LARGEST, places=4)


def texts() -> st.SearchStrategy[str]:
    return st.sampled_from(TEXTS) | st.text(
        st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20
    )


def moments() -> st.SearchStrategy[datetime]:
    return st.sampled_from(MOMENTS) | st.datetimes(
        datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)
    )


def table() -> st.SearchStrategy[list[Series]]:
    """Partitions for every special text, and as many others."""
    numbers = st.sampled_from(AMOUNTS) | st.decimals(-WIDEST, WIDEST, places=6)
    keys = st.tuples(texts(), numbers, moments(), st.sampled_from(DATES) | st.dates())
    values = st.tuples(*[amounts()] * ROWS)
    drawn = st.lists(
        st.builds(Series, keys, st.sampled_from(NIGHTS), values, amounts()),
        min_size=40,
        max_size=60,
        unique_by=lambda one: one.key,
    )
    return drawn.map(lambda series: list({one.key: one for one in [*_special(), *series]}.values()))


def _special() -> Iterator[Series]:
    """Each special value in a key, and keys that differ in one place alone, by as little as can be."""
    for number, one in enumerate(TEXTS):
        key = (
            one,
            AMOUNTS[number % len(AMOUNTS)],
            MOMENTS[number % len(MOMENTS)],
            DATES[number % len(DATES)],
        )
        yield Series(
            key,
            NIGHTS[number % len(NIGHTS)],
            tuple(Decimal(f"{number}.{n:04}") for n in range(ROWS)),
            Decimal("0.1"),
        )
    for moment in TWICE:
        yield Series(("twice", Decimal(1), moment, DATES[0]), NIGHTS[0], (Decimal("1.0001"),) * ROWS, LARGEST)
    for amount in ("0", "1", "-0.000001", f"{'9' * 32}.999998", f"{'9' * 32}.999999"):
        yield Series(
            ("near", Decimal(amount), TWICE[0], DATES[0]),
            NIGHTS[1],
            (LARGEST, -LARGEST) * (ROWS // 2),
            LARGEST,
        )


@pytest.fixture
def clock_of_madrid(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process has the clock of Madrid; one that was started for the trips has its own."""
    with monkeypatch.context() as patch:
        if TRIPS not in os.environ:
            patch.setenv("TZ", "Europe/Madrid")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("clock_of_madrid")
@settings(
    max_examples=int(os.environ.get(TRIPS, "1")),
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(sent=table())
def test_every_key_instant_and_decimal_arrives_in_every_warehouse(
    sent: list[Series],
    spark: SparkSession,
    postgres_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number = next(_numbers)
    folder = tmp_path / str(number)
    folder.mkdir()
    fill(postgres_url, sent)
    job = Job.of(spec_of(folder, postgres_url), spark)

    assert ingest(job).counts["new"] == len(sent) * ROWS
    assert in_bronze(job) == {row for one in sent for row in one.rows}
    assert prepare(job).counts["broken"] == 0
    assert in_silver(job) == {(*row[:5], float(row[5]), float(row[6])) for one in sent for row in one.rows}
    assert train(job).counts["fitted"] == len(sent)
    promote(job)
    assert score(job).counts == {
        "partitions": len(sent),
        "scored": len(sent),
        "fallback": 0,
        "unscored": 0,
        "rows": HORIZON * len(sent),
    }

    expected = {(*one.key, *step) for one in sent for step in one.steps}
    assert in_lake(job) == expected
    assert in_duckdb(job, folder) == expected
    assert in_postgres(job, postgres_url, f"warehouse {number}") == expected
    assert in_synapse(job, folder, monkeypatch) == expected


_numbers = count(1)


# The test above has the driver on that clock. Java and Spark's workers take their zone where they start: to
# start them once for each zone takes two minutes.
@pytest.mark.slow
@pytest.mark.parametrize("zone", ["Europe/Madrid", "UTC"])
def test_a_machine_whose_clock_shows_the_time_of_madrid_makes_no_difference(zone: str) -> None:
    """Other trips in a process of its own, all of which is in that zone."""
    name = test_every_key_instant_and_decimal_arrives_in_every_warehouse.__name__
    there = {**os.environ, "TZ": zone, TRIPS: "2"}
    command = [sys.executable, "-m", "pytest", f"{__file__}::{name}", "-x", "-p", "no:xdist"]
    answer = subprocess.run(
        command,
        env=there,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout[-5000:]
    assert "1 passed" in answer.stdout


def fill(url: str, sent: list[Series]) -> None:
    """The source's table; its database shows times as a clock in Madrid does."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET TimeZone = 'Europe/Madrid'")
        connection.execute('DROP TABLE IF EXISTS "order"')
        connection.execute(TABLE)
        with connection.cursor() as cursor:
            cursor.executemany(
                'INSERT INTO "order" VALUES (%s, %s, %s, %s, %s, %s, %s)',
                [row for one in sent for row in one.rows],
            )


def spec_of(folder: Path, url: str) -> Spec:
    return make_spec(
        folder,
        partition_by=list(KEYS),
        source={"jdbc": {**jdbc(url), "table": '"order"'}},
        horizon=HORIZON,
        candidates=["naive"],
        columns={"time": TIME, "target": TARGET, "frequency": "h", "features": [PRICE]},
    )


def in_bronze(job: Job) -> set[tuple[Any, ...]]:
    return collected(job.lake.read(BRONZE), *KEYS, TIME, TARGET, PRICE)


def in_silver(job: Job) -> set[tuple[Any, ...]]:
    return collected(job.lake.read(SILVER), *KEYS, TIME, TARGET, PRICE)


def in_lake(job: Job) -> set[tuple[Any, ...]]:
    return collected(job.lake.read(PREDICTIONS), *KEYS, "cutoff", TIME, "prediction")


def collected(rows: DataFrame, *names: str) -> set[tuple[Any, ...]]:
    """Rows as Python has them; instants by their microseconds,
    since Spark tells them in the zone of this process.
    """
    kinds = dict(rows.dtypes)
    cells = [
        F.unix_micros(quote(name)) if kinds[name] == "timestamp" else F.col(quote(name)) for name in names
    ]
    found = [tuple(row) for row in rows.select(*cells).collect()]
    instants = [kinds[name] == "timestamp" for name in names]
    assert len(set(found)) == len(found)
    return {
        tuple(_instant(cell) if is_so else cell for cell, is_so in zip(row, instants, strict=True))
        for row in found
    }


def _instant(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


SELECT = 'SELECT "select", "qu""ote", "group", "ca.fé `x`", cutoff, "at.", prediction FROM {}'


def fetched(rows: list[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    """A warehouse's rows; its times are in UTC and have no zone."""
    assert len(set(rows)) == len(rows)
    return {
        tuple(cell.replace(tzinfo=UTC) if isinstance(cell, datetime) else cell for cell in row)
        for row in rows
    }


def loaded(job: Job, warehouse: Warehouse) -> None:
    report = load(
        Job.of(job.spec.model_copy(update={"warehouse": warehouse}), job.spark), tables=["partitions"]
    )
    assert report.counts["rows"] == job.lake.read(PREDICTIONS).count()


def in_duckdb(job: Job, folder: Path) -> set[tuple[Any, ...]]:
    loaded(job, DuckDB(path=str(folder / "warehouse.duckdb")))
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        return fetched(connection.execute(SELECT.format("sales_predictions")).fetchall())


def in_postgres(job: Job, url: str, schema: str) -> set[tuple[Any, ...]]:
    loaded(job, Postgres(url=url, schema=schema))
    with psycopg.connect(url) as connection:
        return fetched(connection.execute(SELECT.format(f'"{schema}".sales_predictions')).fetchall())  # type: ignore[arg-type]


def in_synapse(job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch) -> set[tuple[Any, ...]]:
    pool = StandIn(folder)
    with monkeypatch.context() as patch:
        patch.setattr(
            synapse_sql,
            "url",
            lambda place: place.replace(f"file://{folder}", "https://a.dfs.core.windows.net"),
        )
        patch.setattr(
            "manymodels_spark.stages.load.stage.open_warehouse",
            lambda part, spec: synapse.open_synapse(part, spec, lambda _: pool),
        )
        loaded(job, Synapse(server="s", database="d", staging=f"file://{folder}/lake/export"))
    return fetched(pool.database.execute(SELECT.format("dbo.sales_predictions")).fetchall())
