"""Data Factory's own queries on Postgres: rows that are committed late reach the lake."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from box.expressions import resolved
from box.factory import Factory

pytestmark = pytest.mark.services
NOON = datetime(2026, 1, 1, 12)


@pytest.fixture
def factory(postgres_url: str) -> Iterator[Factory]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA sales")
        connection.execute("CREATE TABLE sales.daily (store int, units int, updated_at timestamp(3))")
        yield Factory(connection)


def sell(factory: Factory, store: int, units: int, minutes: int, by: Any = None) -> None:
    moment = NOON + timedelta(minutes=minutes)
    (by or factory.database).execute("INSERT INTO sales.daily VALUES (%s, %s, %s)", (store, units, moment))


def arrived(factory: Factory) -> set[tuple[int, int]]:
    """(store, units) of all rows in the lake, those that came twice once."""
    return {row[:2] for rows in factory.files for row in rows}


def night(factory: Factory, overlap: int = 2880) -> None:
    factory.run("IngestAndRun", jobId="7", overlapMinutes=overlap)


@pytest.mark.parametrize(("overlap", "seen"), [(2880, True), (0, False)])
def test_a_row_that_is_committed_after_a_newer_one_was_read_reaches_the_lake(
    factory: Factory, postgres_url: str, overlap: int, seen: bool
) -> None:
    sell(factory, 1, 10, minutes=0)
    with psycopg.connect(postgres_url) as slow:
        sell(factory, 2, 20, minutes=5, by=slow)
        sell(factory, 3, 30, minutes=9)
        night(factory, overlap)
        assert arrived(factory) == {(1, 10), (3, 30)}, "the open transaction is not seen"
        slow.commit()
    sell(factory, 4, 40, minutes=20)
    night(factory, overlap)
    expected = {(1, 10), (3, 30), (4, 40)}
    assert arrived(factory) == (expected | {(2, 20)} if seen else expected)


def test_rows_are_read_again_within_the_overlap_only_and_the_job_starts_with_what_it_needs(
    factory: Factory,
) -> None:
    sell(factory, 1, 10, minutes=0)
    night(factory)
    sell(factory, 2, 20, minutes=3 * 1440)
    night(factory)
    night(factory)
    assert [len(rows) for rows in factory.files] == [1, 2, 1], (
        "the first row, once more within two days of it, then no more"
    )
    assert factory.watermark.startswith("2026-01-04T12:00:00")
    assert [one["engine"] for one in factory.started] == ["databricks"] * 3
    assert factory.started[0]["jobId"] == "7" and factory.started[0]["spec"].endswith("serverless.yaml")


def test_expressions_give_what_data_factory_documents() -> None:
    names = {"pipeline": lambda: {"parameters": {"a": "x]y"}}}
    assert (
        resolved("@concat('[', replace(pipeline().parameters.a, ']', ']]'), '] it''s')", names)
        == "[x]]y] it's"
    )
    assert resolved({"value": "@pipeline().parameters.a", "type": "Expression"}, names) == "x]y"
    assert resolved("plain", names) == "plain" and resolved(3, names) == 3
    with pytest.raises(KeyError):
        resolved("@nothing(1)", names)
