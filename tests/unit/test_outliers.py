"""Outliers are capped in what a model is trained on, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from builders import days, make_spec

from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.outliers import capped

KEY = PartitionKey.of({"store": 1, "item": "a"})


def test_values_are_capped_at_fences_around_the_quartiles_and_missing_ones_stay_missing() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, np.nan, -900.0, 900.0])
    low, high = np.quantile(values[~np.isnan(values)], [0.25, 0.75])
    found = capped(values, 2)
    np.testing.assert_array_equal(found[:5], values[:5])
    assert np.isnan(found[5])
    assert (found[6], found[7]) == (low - 2 * (high - low), high + 2 * (high - low))


@pytest.mark.parametrize("width", [None, 3.0])
def test_nothing_is_capped_without_fences_or_without_a_spread(width: float | None) -> None:
    values = np.array([0.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0])
    np.testing.assert_array_equal(capped(values, width), values)


def test_a_test_keeps_its_outliers_so_that_a_backtest_is_not_flattered(tmp_path: Path) -> None:
    units = np.arange(35) % 7 + 10.0
    units[[8, 31]] = 1000.0  # one in the training rows of the fold, one in its test
    rows = pd.DataFrame({"date": pd.to_datetime(days(35)), "units": units})
    spec = make_spec(tmp_path, candidates=["mean"], prepare={"outliers": 2})
    result = fit_partition(rows, spec, KEY)
    plain = fit_partition(rows, make_spec(tmp_path, candidates=["mean"]), KEY)
    assert result.metrics["mae"] > 100, "the sale of 1,000 in the test is missed as it was"
    assert result.metrics["mae"] < plain.metrics["mae"], "and that of the training rows moved no model"
