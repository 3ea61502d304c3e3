"""The regression guard's job: MLflow calls, Delta commits
and bytes of a small job within benchmarks/bounds.json.
"""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession

from benchmarks import guard


def test_calls_commits_and_bytes_of_a_job_are_within_their_bounds(
    spark: SparkSession, tmp_path: Path
) -> None:
    found = guard.of_a_job(spark, tmp_path)
    assert guard.crossed(found) == []
    assert found["calls_score"] == found["commits_when_nothing_changed"] == 0
