"""What a series' own changes say of its forecasts' errors, and what intervals make of it."""

from __future__ import annotations

import numpy as np
import pytest

from manymodels_spark.modeling.conformal import calibrate
from manymodels_spark.modeling.prior_scale import WITH_SEASON, WITHOUT_SEASON, PriorScale, prior_scale


def width(prior: PriorScale | None, residuals: list[np.ndarray], step: int, level: int = 80) -> float:
    made = calibrate(residuals, [level], stepwise=True, prior=prior)
    lower, upper = made.offsets(np.array([float(step)]), level)
    return float((upper - lower)[0])


def test_a_steady_trend_is_no_change_and_gives_no_scale() -> None:
    assert prior_scale(np.arange(20.0), 1) is None
    assert prior_scale(np.full(20, 7.0), 1) is None


def test_changes_of_two_about_their_median_give_twice_the_constants() -> None:
    zigzag = np.cumsum([0.0, *[3.0, -1.0] * 10])
    found = prior_scale(zigzag, 1)
    assert found is not None
    assert (found.intercept, found.slope) == pytest.approx(tuple(2 * one for one in WITHOUT_SEASON))


def test_of_a_season_and_a_step_the_smaller_change_counts() -> None:
    noise = np.random.default_rng(1).normal(0, 1, 48)
    seasonal = prior_scale(np.tile([0.0, 50, 100, 50], 12) + noise, 4)
    steps = prior_scale(np.cumsum(noise), 4)
    assert seasonal is not None and steps is not None
    assert seasonal.intercept < 3 * WITH_SEASON[0]
    assert steps.intercept < 1.2 * WITH_SEASON[0]


def test_unknown_steps_do_not_count_and_four_changes_are_needed() -> None:
    values = np.array([0.0, 3, 2, 5, 4, 7, np.nan, np.nan])
    assert prior_scale(values, 1) == prior_scale(values[:6], 1)
    assert prior_scale(values[:4], 1) is None


def test_one_lucky_fold_does_not_make_a_narrow_interval() -> None:
    lucky = [np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.1])]
    prior = PriorScale(0.0, 10.0)
    assert width(prior, lucky, 1) > 5 * width(None, lucky, 1)
    assert width(prior, lucky, 6) > 2 * width(prior, lucky, 1)


def test_many_residuals_need_no_prior() -> None:
    noise = np.random.default_rng(2)
    folds = [noise.normal(0, 1, 14) for _ in range(5)]
    assert width(PriorScale(100.0, 100.0), folds, 3) == width(None, folds, 3)
