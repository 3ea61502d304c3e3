"""What tests share: one Spark session for the whole run, a real Postgres and an Azure storage account."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from integration.azurite import Azurite
    from integration.postgres import Server
    from pyspark.sql import SparkSession

REMOTE = "MANYMODELS_TEST_REMOTE"


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """The session with Delta; a Spark Connect one where MANYMODELS_TEST_REMOTE is set, e.g. to `local[2]`."""
    import pyspark

    from manymodels_spark.session import get_session

    if remote := os.environ.get(REMOTE):
        os.environ["SPARK_REMOTE"] = remote
    azure = not pyspark.__version__.startswith("3.")  # the ABFS driver of that Hadoop knows no Azurite
    session = get_session("manymodels-tests", "local[2]", azure=azure, **{"spark.sql.shuffle.partitions": "2"})
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


@pytest.fixture(scope="session")
def _azurite() -> Iterator[Azurite]:
    from integration.azurite import start

    account = start()
    yield account
    account.stop()


@pytest.fixture
def abfs(_azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> str:
    """`abfs://container@account...` of an empty container; the environment says how to reach it."""
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", _azurite.connection_string)
    return _azurite.new_container()
