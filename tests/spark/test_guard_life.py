"""The regression guard's ten nights of a small chain: its forecasts, intervals and dead items."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from benchmarks import guard


# Ten nights are ten whole jobs. One night after another is in tests/e2e/test_main_job.py (another day) and in
# tests/unit/test_second_night.py; that shares and intervals hold for as long as ten is seen here.
@pytest.mark.slow
def test_ten_nights_of_a_chain_are_as_good_as_the_first(spark: SparkSession, tmp_path: Path) -> None:
    found = guard.of_nights(spark, tmp_path / "life")
    assert guard.crossed(found) == []
    assert (found["life_scored_share"], found["life_negative"]) == (1.0, 0.0)
