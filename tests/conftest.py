"""What tests share: one Spark session for the whole run, and a real Postgres with a database per test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from integration.postgres import Server
    from pyspark.sql import SparkSession

REMOTE = "MANYMODELS_TEST_REMOTE"


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """The session with Delta; a Spark Connect one where MANYMODELS_TEST_REMOTE is set, e.g. to `local[2]`."""
    from manymodels_spark.session import get_session

    if remote := os.environ.get(REMOTE):
        os.environ["SPARK_REMOTE"] = remote
    session = get_session("manymodels-tests", "local[2]", **{"spark.sql.shuffle.partitions": "2"})
    yield session
    session.stop()


@pytest.fixture(scope="session")
def _postgres() -> Iterator[Server]:
    from integration.postgres import start

    server = start()
    yield server
    server.stop()


@pytest.fixture
def postgres_url(_postgres: Server) -> str:
    """`postgresql://user:password@127.0.0.1:port/database` of an empty database; `integration.postgres.jdbc` turns it."""
    return _postgres.new_database()
