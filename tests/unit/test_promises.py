"""What a fit promises comes: on simulated series whose truth is known, live errors and coverage agree with
the published ones within a tenth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders import make_spec

from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.predict import predict_partition

Make = Callable[[np.random.Generator, pd.DatetimeIndex], np.ndarray]
WEEK = np.array([0.0, 9, 27, 12, -6, 75, 0])


@dataclass(frozen=True)
class Promise:
    """Means over series: the WAPE and the coverage that fits published, and those of the days that came."""

    wape: float
    live_wape: float
    coverage: float
    live_coverage: float
    optimistic: bool

    @property
    def ratio(self) -> float:
        """The promised error over the live one."""
        return self.wape / self.live_wape


def promised(make: Make, series: int, length: int, horizon: int, closed: int = -1, **parts: Any) -> Promise:
    """Fit each series on its first `length` days and judge the `horizon` days after them; rows of the weekday
    `closed` do not exist.
    """
    spec = make_spec(Path("unused"), horizon=horizon, **parts)
    noise, times = np.random.default_rng(12), pd.date_range("2025-01-06", periods=length + horizon)
    found, errors, actuals = [], [], []
    for number in range(series):
        rows = pd.DataFrame({"date": times, "units": make(noise, times)})[times.dayofweek != closed]
        past, coming = rows[rows["date"] < times[length]], rows[rows["date"] >= times[length]]
        result = fit_partition(past, spec, PartitionKey.of({"number": number}))
        assert result.payload is not None
        joined = coming.merge(predict_partition(result.payload, since=times[length - 1]), on="date")
        assert len(joined) == len(coming)
        inside = (joined["units"] >= joined["lower_80"]) & (joined["units"] <= joined["upper_80"])
        found.append((result.metrics["wape"], result.metrics.get("coverage_80"), inside.mean()))
        errors.append(np.abs(joined["units"] - joined["prediction"]).sum())
        actuals.append(np.abs(joined["units"]).sum())
    wape, coverage, live = np.array(found, dtype=float).mean(axis=0)
    return Promise(wape, sum(errors) / sum(actuals), coverage, live, result.optimistic)


def shop(noise: np.random.Generator, times: pd.DatetimeIndex) -> np.ndarray:
    return 100 + WEEK[times.dayofweek] + noise.normal(0, 4, len(times))


def plain_noise(noise: np.random.Generator, times: pd.DatetimeIndex) -> np.ndarray:
    return noise.normal(100, 35, len(times))


def steady(noise: np.random.Generator, times: pd.DatetimeIndex) -> np.ndarray:
    return noise.normal(100, 5, len(times))


def walk(noise: np.random.Generator, times: pd.DatetimeIndex) -> np.ndarray:
    return 100 + np.cumsum(noise.normal(0, 2, len(times)))


@pytest.mark.parametrize("prepare", [{}, {"closed": "auto"}])
@pytest.mark.parametrize("candidates", [["linear"], ["seasonal_naive"], ["seasonal_naive", "linear", "mean"]])
def test_a_shop_without_sunday_rows_has_the_errors_that_its_backtest_had(
    candidates: list[str], prepare: dict[str, Any]
) -> None:
    backtest = {"folds": 4}
    found = promised(shop, 16, 200, 14, closed=6, candidates=candidates, prepare=prepare, backtest=backtest)
    assert 0.9 < found.ratio < 1.1
    assert found.live_coverage == pytest.approx(0.8, abs=0.08)


NINE = ["mean", "naive", *({"seasonal_naive": {"season": season}} for season in range(2, 9))]


def test_the_best_of_nine_on_noise_is_published_with_the_error_that_comes() -> None:
    found = promised(plain_noise, 80, 100, 14, candidates=NINE, backtest={"folds": 4})
    assert 0.9 < found.ratio < 1.1
    assert not found.optimistic


def test_with_one_fold_the_metrics_are_too_good_and_marked_as_optimistic() -> None:
    found = promised(plain_noise, 12, 100, 7, candidates=NINE[:3], backtest={"folds": 1})
    assert found.optimistic
    assert np.isnan(found.coverage)
    assert not promised(plain_noise, 1, 100, 7, candidates=["mean"], backtest={"folds": 1}).optimistic


@pytest.mark.parametrize(("make", "candidate"), [(steady, "mean"), (walk, "naive")])
@pytest.mark.parametrize("backtest", [{"folds": 10, "step": 2}, {"folds": 6, "step": 7}])
def test_intervals_hold_with_folds_that_overlap(make: Make, candidate: str, backtest: dict[str, int]) -> None:
    found = promised(make, 80, 200, 14, candidates=[candidate], backtest=backtest)
    assert found.live_coverage == pytest.approx(0.8, abs=0.08)
    assert found.coverage == pytest.approx(found.live_coverage, abs=0.08)


@pytest.mark.parametrize(("make", "candidate"), [(steady, "mean"), (walk, "naive")])
def test_after_a_gap_residuals_are_of_the_steps_that_they_were_ahead(make: Make, candidate: str) -> None:
    found = promised(make, 80, 200, 14, candidates=[candidate], backtest={"folds": 3, "gap": 5})
    # Nothing is known of the steps inside the gap: they may be wider than needed, and not narrower.
    assert 0.74 < found.live_coverage < 0.89


def test_without_any_fold_apart_from_it_no_coverage_is_promised() -> None:
    found = promised(steady, 3, 200, 14, candidates=["mean"], backtest={"folds": 6, "step": 1})
    assert np.isnan(found.coverage)
