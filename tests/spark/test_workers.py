"""What Spark's Python workers run."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from manymodels_spark.spark.workers import mapped

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
OF_PANDAS = 30_000


def test_workers_keep_what_they_imported_out_of_collections_and_see_columns_of_any_name(
    spark: SparkSession,
) -> None:
    def kept(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_pydict(
                {"name": batch.schema.names, "kept": pa.array([gc.get_freeze_count()], pa.int64())}
            )

    row = mapped(spark.range(1).toDF("a `dotted.` name"), kept, "name string, kept bigint").first()
    assert row is not None and row["name"] == "a `dotted.` name"
    assert row["kept"] > OF_PANDAS
