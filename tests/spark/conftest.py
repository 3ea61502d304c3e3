"""What tests with Spark share beside the session: a job of a spec, and rows of its tables as plain tuples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from builders import make_spec

from manymodels_spark.stages.job import Job

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture
def make_job(spark: SparkSession, tmp_path: Path) -> Callable[..., Job]:
    """`make_job(partition_by=[...], ...)`: a job of `make_spec` with these changes, in the test's folder."""

    def make(**changes: Any) -> Job:
        return Job.of(make_spec(tmp_path, **changes), spark)

    return make
