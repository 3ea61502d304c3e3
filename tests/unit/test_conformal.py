"""Intervals that hold: the share of actuals inside is the level asked for, on data whose noise is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from builders import make_spec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.conformal import Intervals, calibrate
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.folds import Fold
from manymodels_spark.modeling.held_out import HeldOut
from manymodels_spark.modeling.predict import predict_partition

Noise = Callable[[np.random.Generator, int], np.ndarray]
week = np.tile([0.0, 3, 9, 4, -2, -8, -6], 60)


def autoregressive(noise: np.random.Generator, count: int) -> np.ndarray:
    values = noise.normal(0, 3, count)
    for step in range(1, count):
        values[step] += 0.7 * values[step - 1]
    return 100 + values


def width(made: Intervals, steps: np.ndarray, level: int) -> np.ndarray:
    lower, upper = made.offsets(steps, level)
    return np.asarray(upper - lower)


def held_out(residuals: list[np.ndarray], step: int | None = None, **parts: Any) -> HeldOut:
    """Folds with these residuals of a prediction of 0, their origins `step` apart (by default the length)."""
    size = len(residuals[0])
    starts = [1000 - number * (step or size) for number in range(len(residuals))]
    folds = [Fold(np.arange(start), np.arange(start, start + size)) for start in starts]
    return HeldOut(residuals, [np.zeros(size)] * len(folds), folds, **{"levels": [80], **parts})


@dataclass
class World:
    """Series whose noise is known, and how they are forecast."""

    make: Noise
    candidates: list[str]
    length: int = 150
    horizon: int = 14
    extra: dict[str, Any] = field(default_factory=dict)
    series: int = 250


WORLDS = {
    "normal noise on a week": World(lambda n, k: 100 + week[:k] + n.normal(0, 5, k), ["seasonal_naive"]),
    "heavy tails": World(lambda n, k: 100 + week[:k] + n.laplace(0, 5, k), ["seasonal_naive"]),
    "skewed noise": World(lambda n, k: 100 + n.gamma(2, 5, k), ["mean"]),
    "counts": World(lambda n, k: n.poisson(4, k).astype(float), ["mean"]),
    "a random walk": World(lambda n, k: 100 + np.cumsum(n.normal(0, 2, k)), ["naive"]),
    "autocorrelated noise": World(autoregressive, ["mean"]),
    "one short fold": World(
        lambda n, k: 100 + n.normal(0, 5, k), ["mean"], 60, 7, {"backtest": {"folds": 1, "intervals": [90]}}
    ),
    "the best of four": World(
        lambda n, k: 100 + week[:k] + n.normal(0, 5, k),
        ["seasonal_naive", "theta", "mean", "ses"],
        series=100,
    ),
    "a combination": World(
        lambda n, k: 100 + week[:k] + n.normal(0, 5, k),
        ["seasonal_naive", "theta"],
        150,
        14,
        {"combine": "best_2"},
        100,
    ),
}


@pytest.mark.parametrize("name", list(WORLDS))
def test_the_90_percent_interval_covers_87_to_93_percent_of_what_comes(name: str) -> None:
    world, noise = WORLDS[name], np.random.default_rng(20)
    parts = {
        "candidates": world.candidates,
        "horizon": world.horizon,
        "backtest": {"folds": 3, "intervals": [90]},
    }
    spec = make_spec(Path("unused"), **{**parts, **world.extra})
    inside = []
    for number in range(world.series):
        units = world.make(noise, world.length + world.horizon)
        rows = pd.DataFrame(
            {"date": pd.date_range("2025-01-01", periods=world.length), "units": units[: world.length]}
        )
        payload = fit_partition(rows, spec, PartitionKey.of({"number": number})).payload
        assert payload is not None
        found, actual = predict_partition(payload, levels=[90]), units[world.length :]
        inside.append((actual >= found["lower_90"]) & (actual <= found["upper_90"]))
    assert 0.87 <= np.mean(inside) <= 0.93


def test_a_regressions_interval_covers_87_to_93_percent_of_new_rows() -> None:
    noise = np.random.default_rng(6)

    def rows(count: int) -> pd.DataFrame:
        x = noise.normal(0, 1, count)
        return pd.DataFrame({"x": x, "y": 3 * x + noise.normal(0, 2, count)})

    columns = {"target": "y", "features": ["x"]}
    spec = make_spec(
        Path("unused"),
        task="regression",
        columns=columns,
        candidates=["linear"],
        backtest={"folds": 5, "intervals": [90]},
    )
    inside = []
    for number in range(15):
        payload = fit_partition(rows(120), spec, PartitionKey.of({"number": number})).payload
        assert payload is not None
        new = rows(100)
        found = predict_partition(payload, future=new, levels=[90])
        inside.append((new["y"] >= found["lower_90"]) & (new["y"] <= found["upper_90"]))
    assert 0.87 <= np.mean(inside) <= 0.93


def test_the_coverage_in_the_backtest_is_near_the_level() -> None:
    noise = np.random.default_rng(9)
    found = [held_out([noise.normal(0, 1, 28) for _ in range(5)]).metrics()["coverage_80"] for _ in range(60)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.03)


def test_the_quantile_is_that_of_the_ordered_residuals_with_the_finite_sample_correction() -> None:
    signs = np.resize([1.0, -1.0], 19)
    residuals = np.random.default_rng(1).permutation(np.arange(1.0, 20.0) * signs)
    made = calibrate([residuals], [80, 90], stepwise=False)
    assert made.quantiles[80] == (-16, 16)
    assert made.quantiles[90] == (-18, 18)
    assert made.quantiles[95] == (-19, 19)


def test_a_handful_of_residuals_gives_a_higher_level_a_wider_interval_than_their_maximum() -> None:
    made = calibrate([np.array([1.0, -2.0, 1.5, -0.5, 2.0])], [90, 99], stepwise=False)
    assert 2.0 < made.quantiles[90][1] < made.quantiles[95][1] < made.quantiles[99][1]


def test_residuals_that_follow_each_other_are_worth_less_than_those_that_do_not() -> None:
    noise = np.random.default_rng(3)
    walk = np.cumsum(noise.normal(0, 1, (3, 14)), axis=1)
    shuffled = noise.permuted(walk.ravel()).reshape(3, 14)
    follow = calibrate(list(np.sign(walk) * 1.0), [90], stepwise=True)
    mixed = calibrate(list(np.sign(shuffled) * 1.0), [90], stepwise=True)
    assert follow.quantiles[90][1] > mixed.quantiles[90][1]


def test_half_widths_grow_with_the_step_where_residuals_do_and_stay_level_where_they_do_not() -> None:
    noise = np.random.default_rng(4)
    walks = [np.cumsum(noise.normal(0, 1, 28)) for _ in range(40)]
    level = [noise.normal(0, 1, 28) for _ in range(40)]
    steps = np.array([1.0, 25.0])
    first, last = width(calibrate(walks, [80], stepwise=True), steps, 80)
    assert 2.5 < last / first < 8
    first, last = width(calibrate(level, [80], stepwise=True), steps, 80)
    assert 0.8 < last / first < 1.25


def test_a_perfect_backtest_gives_intervals_of_no_width_rather_than_none() -> None:
    whole = width(calibrate([np.zeros(7)], [80], stepwise=True), np.arange(1.0, 8.0), 80)
    np.testing.assert_allclose(whole, 0, atol=1e-9)


folds = st.lists(
    st.integers(1, 20).flatmap(lambda size: arrays(float, size, elements=st.floats(-1e6, 1e6))),
    min_size=1,
    max_size=4,
)


@settings(max_examples=100, deadline=None)
@given(folds, st.booleans())
def test_intervals_are_finite_and_never_narrower_at_a_higher_level_or_a_later_step(
    residuals: list[np.ndarray], stepwise: bool
) -> None:
    made = calibrate(residuals, [10, 50, 80, 90, 95, 99], stepwise=stepwise)
    steps = np.arange(1.0, 30.0)
    widths = np.array([width(made, steps, level) for level in (10, 50, 65, 80, 90, 95, 99)])
    assert np.isfinite(widths).all()
    assert (widths >= 0).all()
    assert (np.diff(widths, axis=0) >= -1e-9 * np.abs(widths[1:])).all()
    assert (np.diff(widths, axis=1) >= -1e-9 * np.abs(widths[:, 1:])).all()


@settings(max_examples=60, deadline=None)
@given(folds)
def test_intervals_survive_json_exactly(residuals: list[np.ndarray]) -> None:
    made = calibrate(residuals, [80], stepwise=True)
    assert Intervals.of_dict(orjson.loads(orjson.dumps(made.as_dict()))) == made


@settings(max_examples=60, deadline=None)
@given(folds, st.floats(0.001, 1000))
def test_a_change_of_unit_changes_the_widths_by_the_same_factor(
    residuals: list[np.ndarray], factor: float
) -> None:
    residuals = [np.round(fold, 3) + 0.5 for fold in residuals]
    steps = np.arange(1.0, 10.0)
    before = width(calibrate(residuals, [80], stepwise=True), steps, 80)
    after = width(calibrate([fold * factor for fold in residuals], [80], stepwise=True), steps, 80)
    np.testing.assert_allclose(after, before * factor, rtol=1e-6)


def test_levels_between_those_known_lie_between_them() -> None:
    made = calibrate([np.random.default_rng(2).normal(0, 1, 100)], [80, 90], stepwise=False)
    one = np.ones(1)
    assert width(made, one, 80)[0] < width(made, one, 85)[0] < width(made, one, 90)[0]


def test_every_level_up_to_99_is_kept_as_if_the_spec_had_named_it() -> None:
    errors = [np.random.default_rng(2).normal(0, 1, 40)]
    unasked, asked = calibrate(errors, [80], stepwise=False), calibrate(errors, [99], stepwise=False)
    one = np.ones(1)
    assert width(unasked, one, 99) == width(asked, one, 99) > width(unasked, one, 95)


def test_a_level_above_those_known_has_no_width_rather_than_the_width_of_a_lower_one() -> None:
    made = Intervals(1.0, 0.5, {50: (-1.0, 1.0), 80: (-2.0, 2.0), 95: (-3.0, 3.0)})
    assert np.isnan(width(made, np.arange(1.0, 4.0), 96)).all()
    assert np.isfinite(width(made, np.arange(1.0, 4.0), 95)).all()


def test_a_level_below_those_known_is_narrower_than_they_are() -> None:
    made = Intervals(1.0, 0.0, {50: (-1.0, 2.0), 80: (-2.0, 3.0)})
    lower, upper = made.offsets(np.ones(1), 10)
    assert (lower[0], upper[0]) == pytest.approx((-0.2, 0.4))


def test_half_widths_of_tiny_targets_grow_with_the_step_as_those_of_others_do() -> None:
    noise = np.random.default_rng(4)
    walks = [np.cumsum(noise.normal(0, 1, 28)) for _ in range(40)]
    steps = np.array([1.0, 25.0])
    usual = width(calibrate(walks, [80], stepwise=True), steps, 80)
    tiny = width(calibrate([walk * 1e-15 for walk in walks], [80], stepwise=True), steps, 80)
    np.testing.assert_allclose(tiny, usual * 1e-15, rtol=1e-6)


def test_one_fold_says_nothing_about_coverage() -> None:
    assert held_out([np.ones(7)]).metrics() == {}


def test_residuals_of_one_step_alone_have_a_scale_without_growth() -> None:
    fold = np.array([np.nan, np.nan, np.nan, 4.0, np.nan])
    made = calibrate([fold], [80], stepwise=True)
    near, far = (made.offsets(np.array([step]), 80)[1][0] for step in (1.0, 25.0))
    assert near == far > 4.0
