"""Ingest from a real database: in parallel, by watermark, whole or not at all when the connection breaks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from integration.postgres import jdbc
from pyspark.sql import functions as F

from manymodels_spark.errors import SourceError
from manymodels_spark.lake.sources import new_rows
from manymodels_spark.lake.sources.database import _read
from manymodels_spark.lake.tables import BRONZE, SILVER
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.runs.job import Job

pytestmark = [pytest.mark.spark, pytest.mark.services]
MakeJob = Callable[..., Job]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def database(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A table with the worst of names: reserved words, quotes, a space."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            'CREATE TABLE "order" ("select" text, "qu""ote" numeric(12, 4), "group" timestamptz, "unit s" '
            "float8, date date, id bigint)"
        )
        yield connection


def add(database: psycopg.Connection[Any], count: int, moment: datetime = NOON, first: int = 0) -> None:
    rows = [("é'b", 1.5, moment, float(n), "2026-01-01", n) for n in range(first, first + count)]
    with database.cursor() as cursor:
        cursor.executemany('INSERT INTO "order" VALUES (%s, %s, %s, %s, %s, %s)', rows)


def job_of(make_job: MakeJob, url: str, **options: Any) -> Job:
    return make_job(
        partition_by=["select", 'qu"ote'],
        columns={"time": "date", "target": "unit s"},
        source={"jdbc": {**jdbc(url), "table": '"order"', **options}},
    )


def ids(job: Job) -> list[int]:
    return sorted(row["id"] for row in job.lake.read(BRONZE).select("id").collect())


def test_the_bounds_of_parallel_reads_are_found_and_no_row_is_lost(
    make_job: MakeJob, postgres_url: str, database: psycopg.Connection[Any]
) -> None:
    add(database, 50, first=-10)
    database.execute('INSERT INTO "order" (date) VALUES (NULL)')
    for column in ("id", "group", 'qu"ote', "select"):
        job = job_of(make_job, postgres_url, partition_column=column, partitions=4)
        batch = new_rows(job.spark, job.spec.source, None)
        assert batch is not None
        wanted = {"id": 4}.get(column, 1)  # one value has no ranges, and text has none
        assert batch.rows.select(F.spark_partition_id()).distinct().count() == wanted
        assert batch.rows.count() == 51


def test_only_what_is_new_is_copied_with_what_came_late_and_a_batch_again_adds_nothing(
    make_job: MakeJob, postgres_url: str, database: psycopg.Connection[Any]
) -> None:
    add(database, 3)
    job = job_of(make_job, postgres_url, watermark="group", late="2h")
    assert ingest(job).counts == {"rows": 3, "new": 3}
    assert ingest(job).counts == {"rows": 3, "new": 0}
    add(database, 2, NOON - timedelta(hours=1), first=10)
    add(database, 2, NOON + timedelta(days=1), first=20)
    assert ingest(job).counts == {"rows": 7, "new": 4}
    add(database, 1, NOON, first=30)
    assert ingest(job).counts == {"rows": 7, "new": 0}, "a day late is beyond the two hours"
    assert ingest(job, full_refresh=True).counts == {"rows": 8, "new": 8}


def test_a_column_that_changed_is_refused_and_a_new_one_is_kept(
    make_job: MakeJob, postgres_url: str, database: psycopg.Connection[Any]
) -> None:
    add(database, 2)
    job = job_of(make_job, postgres_url, watermark="group")
    ingest(job)
    database.execute('ALTER TABLE "order" ADD COLUMN "new one" int')
    add_new = 'INSERT INTO "order" VALUES (%s, 1, %s, 1, %s, 9, 7)'
    database.execute(add_new, ["x", NOON + timedelta(days=1), "2026-01-02"])
    ingest(job)
    assert [row["new one"] for row in job.lake.read(BRONZE).orderBy("id").select("new one").collect()] == [
        None,
        None,
        7,
    ]

    database.execute('ALTER TABLE "order" ALTER COLUMN "unit s" TYPE text')
    database.execute(add_new, ["x", NOON + timedelta(days=2), "2026-01-03"])
    with pytest.raises(SourceError, match=r"column 'unit s' was double and is string now(.|\n)*--full"):
        ingest(job)
    database.execute('ALTER TABLE "order" DROP COLUMN "new one"')
    with pytest.raises(SourceError, match="column 'new one' vanished"):
        ingest(job)
    assert len(ids(job)) == 3


def test_a_database_that_breaks_off_in_mid_read_leaves_the_lake_as_it_was(
    make_job: MakeJob, postgres_url: str, database: psycopg.Connection[Any]
) -> None:
    add(database, 4)
    job = job_of(make_job, postgres_url, watermark="group")
    ingest(job)
    add(database, 2_000, NOON + timedelta(days=1), first=100)
    database.execute(  # a row takes a millisecond, and they come a few at a time
        'CREATE VIEW slow AS SELECT * FROM "order" WHERE pg_sleep(0.001) IS NOT NULL'
    )
    slow = job_of(make_job, postgres_url, watermark="group", table="slow", fetch_size=5)

    done = threading.Event()
    breaking = threading.Thread(target=_break_off, args=[postgres_url, done])
    breaking.start()
    try:
        with pytest.raises(SourceError) as caught:
            ingest(slow)
    finally:
        done.set()
        breaking.join()

    assert "s3cret-for-tests" not in str(caught.value)
    assert ids(job) == [0, 1, 2, 3]
    assert ingest(job).counts == {"rows": 2_004, "new": 2_000}, "and the next run copies it all"


def _break_off(url: str, done: threading.Event) -> None:
    """End every session that is reading rows of the view: Spark tries again, and then gives up."""
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query ~ "
        "'FROM slow' "
        "AND query !~* 'min\\(|1=0|limit' AND state IN ('active', 'idle in transaction')"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        while not done.wait(0.05):
            connection.execute(kill)


def test_a_watermark_that_is_no_column_is_named(
    make_job: MakeJob, postgres_url: str, database: psycopg.Connection[Any]
) -> None:
    with pytest.raises(
        SourceError, match=r"source.jdbc.watermark: no column 'updated'.*It has: select, qu\"ote, group"
    ):
        ingest(job_of(make_job, postgres_url, watermark="updated"))


@pytest.fixture
def clocks(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Hours around Madrid's change of clocks in March, as instants and as wall times, in a database whose
    own sessions are in New York.
    """
    name = postgres_url.rpartition("/")[2]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET timezone = 'America/New_York'")
        connection.execute("CREATE TABLE readings (site text, at timestamptz, wall timestamp, units float8)")
        yield connection


def read(database: psycopg.Connection[Any], *hours: int) -> None:
    """A reading at each of these hours after 2026-03-28 22:00 in UTC."""
    for hour in hours:
        at = datetime(2026, 3, 28, 22, tzinfo=UTC) + timedelta(hours=hour)
        wall = at.astimezone(ZoneInfo("Europe/Madrid")).replace(tzinfo=None)
        database.execute("INSERT INTO readings VALUES ('a', %s, %s, %s)", [at, wall, float(hour)])


def site_job(make_job: MakeJob, url: str, time: str, name: str, frequency: str = "h", **options: Any) -> Job:
    return make_job(
        name=name,
        partition_by=["site"],
        columns={"time": time, "target": "units", "frequency": frequency},
        source={"jdbc": {**jdbc(url), "table": "readings", **options}},
        prepare={"timezone": "Europe/Madrid"},
    )


def prepared_times(job: Job, time: str) -> list[tuple[str, float]]:
    ingest(job)
    prepare(job)
    kept = job.lake.read(SILVER).orderBy(time).select(F.date_format(time, "dd HH:mm").alias("at"), "units")
    return [(row["at"], row["units"]) for row in kept.collect()]


def test_instants_and_wall_times_of_a_database_in_another_zone_are_the_same_hours(
    make_job: MakeJob, postgres_url: str, clocks: psycopg.Connection[Any]
) -> None:
    read(clocks, *range(6))
    hours = [(f"{28 + (22 + n) // 24} {(22 + n) % 24:02d}:00", float(n)) for n in range(6)]
    for time, watermark in (("at", "at"), ("wall", "wall")):
        job = site_job(make_job, postgres_url, time, f"hourly_{time}", watermark=watermark)
        assert prepared_times(job, time) == hours, f"{time}: kept in UTC, without a gap"
    by_day = site_job(make_job, postgres_url, "wall", "daily", "D")
    ingest(by_day)
    assert by_day.lake.read(BRONZE).schema["wall"].dataType.simpleString() == "timestamp_ntz"


@pytest.mark.parametrize("watermark", ["at", "wall"])
def test_a_watermark_with_or_without_a_zone_reads_what_is_new_and_no_more(
    make_job: MakeJob, postgres_url: str, clocks: psycopg.Connection[Any], watermark: str
) -> None:
    read(clocks, 0, 1, 2)
    job = site_job(make_job, postgres_url, watermark, "marked", watermark=watermark, late="1h", partitions=2)
    assert ingest(job).counts == {"rows": 3, "new": 3}
    assert ingest(job).counts == {"rows": 3, "new": 0}
    clocks.execute("DELETE FROM readings WHERE units < 1")  # to be seen if it were read again
    read(clocks, 3, 1)
    assert ingest(job).counts["new"] == 1, (
        "the hour itself, and what is later; of the hour before nothing new"
    )
    scan = _read(job.spark, job.spec.source, NOON)._jdf.queryExecution().toString()  # type: ignore[arg-type]
    assert f"GreaterThanOrEqual({watermark}," in scan, "the database compares"
