"""The regression guard's ten nights of a small chain: its forecasts, intervals and dead items."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from benchmarks import guard


@pytest.mark.slow  # ten nights of every stage, ten and more seconds each
def test_ten_nights_of_a_chain_are_as_good_as_the_first(spark: SparkSession, tmp_path: Path) -> None:
    found = guard.of_nights(spark, tmp_path / "life")
    assert guard.crossed(found) == []
    assert (found["life_scored_share"], found["life_negative"]) == (1.0, 0.0)
