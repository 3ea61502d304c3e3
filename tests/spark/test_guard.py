"""The regression guard on the tests' session: calls, bytes, commits and shares within benchmarks/bounds.json."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import guard

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_no_count_of_calls_bytes_or_commits_has_grown_beyond_its_bound(spark: SparkSession, tmp_path: Path) -> None:
    assert guard.crossed(guard.measure(spark, tmp_path)) == []
