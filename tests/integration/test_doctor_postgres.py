"""The doctor against a real Postgres: may this user make tables, and read the source?"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlparse

import psycopg
import pytest
from builders import make_spec

from manymodels_spark.doctor import sources, warehouses
from manymodels_spark.doctor.findings import Finding
from manymodels_spark.spec.places import Postgres
from manymodels_spark.spec.source import Jdbc

pytestmark = pytest.mark.services


@pytest.fixture
def reader_url(postgres_url: str) -> str:
    """The address for a user who may sign in and nothing more."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE sales (store int)")
        connection.execute("CREATE SCHEMA forecasts")
        connection.execute("DROP ROLE IF EXISTS doctor_reader")
        connection.execute("CREATE ROLE doctor_reader LOGIN PASSWORD 'reads'")
    address = urlparse(postgres_url)
    return f"postgresql://doctor_reader:reads@{address.hostname}:{address.port}{address.path}"


def warehouse(url: str, schema: str) -> Finding:
    (found,) = warehouses.warehouse(make_spec(Path("nowhere"), warehouse=Postgres(url=url, schema=schema)))
    return found


def source(url: str, table: str) -> Finding:
    (found,) = sources.source(make_spec(Path("nowhere"), source=Jdbc(url=f"jdbc:{url}", table=table)))
    return found


def test_the_right_to_make_tables_is_asked_for(postgres_url: str, reader_url: str) -> None:
    assert warehouse(postgres_url, "forecasts").state == warehouse(postgres_url, "new schema").state == "ok"

    refused = warehouse(reader_url, "forecasts")
    assert refused.state == "failed"
    assert refused.found == "doctor_reader may not create tables in schema forecasts"
    assert refused.advice == 'GRANT CREATE, USAGE ON SCHEMA "forecasts" TO "doctor_reader"'


def test_the_right_to_read_the_source_is_asked_for(postgres_url: str, reader_url: str) -> None:
    assert (source(postgres_url, "sales").state, source(postgres_url, "sales").found) == (
        "ok",
        "sales answers",
    )
    refused = source(reader_url, "sales")
    assert (refused.state, refused.found) == ("failed", "permission denied for table sales")


def test_a_server_that_refuses_the_user_is_named_without_the_password(postgres_url: str) -> None:
    address = urlparse(postgres_url)
    refused = warehouse(
        f"postgresql://nobody_here:hunter2@{address.hostname}:{address.port}{address.path}", "public"
    )
    assert refused.state == "failed"
    assert "nobody_here" in refused.found and "hunter2" not in refused.found
