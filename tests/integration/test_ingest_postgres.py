"""Ingest from a real database: in parallel, by watermark, whole or not at all when the connection breaks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from integration.postgres import jdbc
from pyspark.sql import functions as F

from manymodels_spark.errors import SourceError
from manymodels_spark.lake.sources import new_rows
from manymodels_spark.lake.tables import BRONZE
from manymodels_spark.stages.ingest.stage import ingest
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
