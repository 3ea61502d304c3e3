"""One function runs every grouped map: in Arrow or in pandas, with equal results."""

from __future__ import annotations

import gc
import io
from contextlib import redirect_stdout
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest

from manymodels_spark.spark.grouped_map import grouped_map

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.core]
OF_PANDAS = 30_000
SEEN = pa.schema(
    [
        ("store", pa.int64()),
        ("counts", pa.map_(pa.string(), pa.float64())),
        ("facts", pa.string()),
    ]
)
ROWS = [
    (1, datetime(2026, 1, 1), 5),
    (1, datetime(9999, 12, 31), 6),
    (2, datetime(2026, 1, 2), None),
]


def seen(key: tuple[Any, ...], rows: pd.DataFrame) -> pa.Table:
    facts = f"{list(rows.columns)} {rows['until'].isna().sum()} missing, {rows['a.`b`'].dtype}"
    return pa.table([[key[0]], [[("rows", float(len(rows)))]], [facts]], schema=SEEN)


@pytest.mark.parametrize("arrow", [True, False])
def test_a_group_comes_with_its_own_types_its_names_and_only_times_that_pandas_holds(
    spark: SparkSession, arrow: bool
) -> None:
    rows = spark.createDataFrame(ROWS, "store long, until timestamp, `a.``b``` long")
    found = grouped_map(
        rows, ["store"], seen, "store long, counts map<string,double>, facts string", arrow=arrow
    )
    assert sorted((row[0], row[1]["rows"], row[2]) for row in found.collect()) == [
        (1, 2, "['until', 'a.`b`'] 1 missing, int64"),
        (2, 1, "['until', 'a.`b`'] 0 missing, float64"),
    ]


@pytest.mark.parametrize("arrow", [True, False])
def test_rows_that_are_spread_by_one_key_are_not_moved_again(spark: SparkSession, arrow: bool) -> None:
    rows = spark.range(100).selectExpr("id % 4 AS slot", "id % 20 AS number", "id").repartition(4, "slot")

    def count(key: tuple[Any, ...], frame: pd.DataFrame) -> pa.Table:
        return pa.table({"number": pa.array([key[1]]), "rows": pa.array([len(frame)])})

    counted = grouped_map(rows, ["slot", "number"], count, "number long, rows long", arrow=arrow)
    assert explained(counted).count("Exchange hashpartitioning") == 1
    assert {row["rows"] for row in counted.collect()} == {5}


def explained(frame: DataFrame) -> str:
    said = io.StringIO()
    with redirect_stdout(said):
        frame.explain()
    return said.getvalue()


def test_workers_keep_what_they_imported_out_of_collections(spark: SparkSession) -> None:
    def frozen(key: tuple[Any, ...], rows: pd.DataFrame) -> pa.Table:
        return pa.table({"frozen": pa.array([gc.get_freeze_count()], pa.int64())})

    row = grouped_map(spark.range(1).selectExpr("id", "id AS x"), ["id"], frozen, "frozen long").first()
    assert row is not None and row["frozen"] > OF_PANDAS
