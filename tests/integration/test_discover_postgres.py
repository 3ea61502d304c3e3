"""`init` on a table of a real Postgres: its rows, and no secret in the spec."""

from __future__ import annotations

import pandas as pd
import pytest
from sqlalchemy import create_engine

from manymodels_spark.discover import discover, open_sample, spec_text
from manymodels_spark.errors import SourceError
from manymodels_spark.spec.parse import parse_spec

pytestmark = pytest.mark.services


def test_a_table_of_postgres_becomes_a_spec_without_its_password(postgres_url: str) -> None:
    days = pd.date_range("2024-01-01", periods=60).date
    rows = pd.concat(pd.DataFrame({"date": days, "store": store, "units": range(60)}) for store in ("a", "b"))
    rows.to_sql(
        "sales", create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:")), index=False
    )
    found = discover(open_sample(postgres_url, "sales"))
    text = spec_text(found)
    assert "s3cret" not in text
    source = parse_spec(text).source
    assert source.url == f"jdbc:postgresql://{postgres_url.split('@')[1]}"  # type: ignore[union-attr]
    assert source.password == "${MANYMODELS_SOURCE_PASSWORD}"  # type: ignore[union-attr]
    assert (found.keys.partitions, found.shape.lengths.median) == (2, 60)
    with pytest.raises(SourceError, match="no table 'nope'. It has: sales") as raised:
        open_sample(postgres_url, "nope")
    assert "s3cret" not in str(raised.value)
