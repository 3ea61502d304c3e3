"""What tests share: one Spark session a process, a real Postgres and an Azure storage account."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from builders import make_spec
from lakes import KEPT

from manymodels_spark.stages.runs.job import Job

if TYPE_CHECKING:
    from integration.azurite import Azurite
    from integration.postgres import Server
    from pyspark.sql import SparkSession

REMOTE = "MANYMODELS_TEST_REMOTE"
ROOT = Path(__file__).parent.parent
SMALL = {"spark.sql.shuffle.partitions": "2"}
# Tests read a few rows by many different plans, and to compile each plan took a fifth of their time. In the
# processes that tests start they are compiled, as everywhere else.
INTERPRETED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}

with suppress(ImportError):  # not where only the core runs
    from hypothesis import settings

    # How long an example takes says nothing on a machine with other work.
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """The session with Delta; a Spark Connect one where MANYMODELS_TEST_REMOTE is set, e.g. to `local[2]`."""
    import pyspark

    from manymodels_spark.spark.session import get_session

    if remote := os.environ.get(REMOTE):
        os.environ["SPARK_REMOTE"] = remote
        # Its workers run in a folder of their own, and tests have families of theirs.
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    azure = not pyspark.__version__.startswith("3.")  # the ABFS driver of that Hadoop knows no Azurite
    settings = {**SMALL, **INTERPRETED, **_measured()}
    session = get_session("manymodels-tests", "local[2]", azure=azure, **settings)
    yield session
    session.stop()
    KEPT.clear()


@pytest.fixture(scope="session", autouse=True)
def _stores_without_migrations() -> Iterator[None]:
    from tests.mlflow_stores import copy_tables

    with pytest.MonkeyPatch.context() as patch:
        copy_tables(patch)
        yield


def _measured() -> dict[str, str]:
    """Where coverage is measured, it is measured in Spark's Python workers too."""
    inherited = "COVERAGE_PROCESS_CONFIG" in os.environ and REMOTE not in os.environ
    return {"spark.python.daemon.module": "tests.measured_daemon"} if inherited else {}


@pytest.fixture(autouse=True)
def _no_credential_of_another_test() -> None:
    from manymodels_spark.spark import credentials

    credentials.forget()


@pytest.fixture
def make_job(spark: SparkSession, tmp_path: Path) -> Callable[..., Job]:
    """`make_job(partition_by=[...], ...)`: a job of `make_spec` with these changes, in the test's folder."""

    def make(**changes: Any) -> Job:
        return Job.of(make_spec(tmp_path, **changes), spark)

    return make


@pytest.fixture
def mlflow_at() -> Iterator[Callable[[str], None]]:
    """`mlflow_at(uri)`: MLflow's own functions look there until the test ends, as in a user's notebook."""
    import mlflow
    from mlflow.environment_variables import MLFLOW_REGISTRY_URI

    def look(uri: str) -> None:
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)

    yield look
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)
    MLFLOW_REGISTRY_URI.unset()  # set_registry_uri leaves the variable, and the next test would look there


@pytest.fixture(scope="session")
def _postgres() -> Iterator[Server]:
    from integration.postgres import start

    server = start()
    yield server
    server.stop()


@pytest.fixture
def postgres_url(_postgres: Server) -> str:
    """`postgresql://user:password@127.0.0.1:port/database` of an
    empty database; `integration.postgres.jdbc` makes a source of it.
    """
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
