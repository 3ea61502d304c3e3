"""The exact solver of Prophet: at least Stan's posterior on every series, stock Prophet loads its models, and
bad input ends in a model, never in NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from prophet.serialize import model_from_dict

from manymodels_spark.families.base import Problem
from manymodels_spark.families.options import ProphetOptions
from manymodels_spark.families.prophet import design as prophet_design
from manymodels_spark.families.prophet.exact import solve
from manymodels_spark.families.prophet.family import ProphetFamily
from manymodels_spark.families.prophet.posterior import (
    Columns,
    Optimum,
    Regressors,
    negative_log_posterior,
)
from manymodels_spark.families.prophet.sign_search import sign_search
from manymodels_spark.families.prophet.stan import DesignProphet

Floats = np.ndarray
DAILY = Problem("forecast", "units", "date", "D", season=7, horizon=28)


def noise(count: int, seed: int = 3) -> Floats:
    return np.random.default_rng(seed).normal(0, 1, count)


def smooth(count: int) -> Floats:
    step = np.arange(count)
    return 60 + 0.02 * step + 9 * np.sin(2 * np.pi * step / 7) + 6 * np.sin(2 * np.pi * step / 365.25)


def frame(values: Floats, **columns: Floats) -> pd.DataFrame:
    dates = pd.date_range("2020-03-01", periods=len(values), freq="D")
    return pd.DataFrame({"date": dates, "units": np.asarray(values, dtype=float), **columns})


def columns_of(
    family: ProphetFamily, rows: pd.DataFrame, problem: Problem
) -> tuple[Columns, Regressors, Any]:
    """The model's columns as Prophet itself designs them for these rows, and the scaled target."""
    model = family.new(problem, DesignProphet)
    frame = family.frame(rows, problem).assign(y=rows["units"].to_numpy())
    names = [name for name in frame if name.startswith("x")]
    for name in names:
        model.add_regressor(name)
    inputs = model.preprocess(frame)
    split, X = inputs.X.shape[1] - len(names), inputs.X.to_numpy()
    scales, multiplied = np.asarray(inputs.sigmas, dtype=float), np.asarray(inputs.s_m) > 0
    columns = Columns(
        np.asarray(inputs.t),
        np.asarray(inputs.t_change),
        X[:, :split],
        scales[:split],
        multiplied[:split],
        inputs.tau,
        model.growth == "flat",
    )
    return columns, Regressors(X[:, split:], scales[split:], multiplied[split:]), np.asarray(inputs.y)


def optimum_of(state: dict[str, Any]) -> Optimum:
    """The parameters of a stored model."""
    found = {name: np.ravel(values) for name, values in state["params"].items()}
    k, m, sigma = (float(found[name][0]) for name in ("k", "m", "sigma_obs"))
    return Optimum(k, m, found["delta"], found["beta"], sigma, 0.0)


def posteriors(rows: pd.DataFrame, problem: Problem, **options: Any) -> tuple[dict[str, Any], float, float]:
    """The fitted model's state, and its negative log posterior with that of Stan's model.

    Where Stan fitted the model itself, the two are one.
    """
    ours, stan = (
        ProphetFamily(ProphetOptions(**options)),
        ProphetFamily(ProphetOptions(solver="stan", **options)),
    )
    columns, own, y = columns_of(ours, rows, problem)
    state = ours.dump(ours.fit(rows, problem))
    other = state if state["solver"] == "stan" else stan.dump(stan.fit(rows, problem))
    found = [negative_log_posterior(columns, y, own, optimum_of(one)) for one in (state, other)]
    return state, found[0], found[1]


def shifted(count: int) -> Floats:
    return smooth(count) + np.where(np.arange(count) > count * 0.6, 25.0, 0.0)


SHAPES: dict[str, Callable[[int], Floats]] = {
    "smooth": lambda n: smooth(n) + noise(n),
    "a level shift": lambda n: shifted(n) + noise(n),
    "a random walk": lambda n: 80 + np.cumsum(noise(n)),
    "around minus twenty": lambda n: -20 + noise(n),
    "counts, mostly zero": lambda n: np.random.default_rng(4).poisson(0.2, n).astype(float),
    "an outlier": lambda n: smooth(n) + noise(n) + np.where(np.arange(n) == n // 2, 1e4, 0.0),
}
MODELS: dict[str, dict[str, Any]] = {
    "additive": {},
    "multiplicative": {"seasonality_mode": "multiplicative"},
    "flat": {"growth": "flat"},
    "flat and multiplicative": {"growth": "flat", "seasonality_mode": "multiplicative"},
    "no changepoints": {"changepoints": 0},
    "loose changes": {"changepoint_prior_scale": 0.5, "changepoints": 40, "changepoint_range": 0.95},
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_posterior_is_at_least_stans(shape: str, model: str) -> None:
    state, ours, stan = posteriors(frame(SHAPES[shape](250)), DAILY, **MODELS[model])
    assert ours <= stan + 1e-6 * (1 + abs(stan))
    assert state["solver"] == "exact"


def test_promotions_and_holidays_are_solved_too() -> None:
    count = 500
    promotion = (np.random.default_rng(1).random(count) < 0.1).astype(float)
    rows = frame(
        smooth(count) + 20 * promotion + noise(count), promotion=promotion, price=9 + noise(count, 8)
    )
    problem = replace(DAILY, known_future=("promotion", "price"), holidays="ES")
    for mode in ("additive", "multiplicative"):
        state, ours, stan = posteriors(rows, problem, seasonality_mode=mode)
        assert state["solver"] == "exact"
        assert ours <= stan + 1e-6 * (1 + abs(stan))


def test_additive_and_multiplied_columns_may_be_mixed() -> None:
    count = 600
    columns, _, _ = columns_of(ProphetFamily(ProphetOptions(yearly=False)), frame(smooth(count)), DAILY)
    effect = noise(count, 5)
    own = Regressors(effect[:, None], np.array([10.0]), np.array([False]))
    mixed = replace(columns, multiplied=np.ones(columns.X.shape[1], dtype=bool))
    week = columns.X @ np.full(columns.X.shape[1], 0.05)
    y = (0.4 + 0.3 * columns.t) * (1 + week) + 0.1 * effect + 0.001 * noise(count)
    found = solve(mixed, y, own)
    assert found is not None
    np.testing.assert_allclose(found.beta, [*np.full(columns.X.shape[1], 0.05), 0.1], atol=1e-3)
    assert found.sigma == pytest.approx(0.001, rel=0.1)


HOSTILE: dict[str, tuple[Floats, dict[str, Any], Problem]] = {
    "constant": (np.full(200, 5.0), {}, DAILY),
    "all zeros": (np.zeros(200), {}, DAILY),
    "two rows": (np.array([1.0, 2.0]), {}, DAILY),
    "two equal rows": (np.array([3.0, 3.0]), {}, DAILY),
    "three rows": (np.array([1.0, 5.0, 2.0]), {}, DAILY),
    "a straight line": (np.arange(200.0), {}, DAILY),
    "a week without noise": (np.arange(210) % 7 * 1.0, {}, DAILY),
    "one value differs": (np.where(np.arange(200) == 90, 1.0, 0.0), {}, DAILY),
    "huge": (1e12 * (50 + noise(300)), {}, DAILY),
    "tiny": (1e-12 * (50 + noise(300)), {}, DAILY),
    "beyond huge": (1e300 * noise(300), {}, DAILY),
    "a large level with little noise": (1e6 + noise(300), {}, DAILY),
    "more changepoints than rows": (
        smooth(30) + noise(30),
        {"changepoints": 100, "changepoint_range": 1},
        DAILY,
    ),
    "more columns than rows": (smooth(25) + noise(25), {"yearly": 10, "weekly": True}, DAILY),
    "around zero": (noise(400), {}, DAILY),
    "holidays that share days": (smooth(120) + noise(120), {}, replace(DAILY, holidays="ES")),
}


@pytest.mark.parametrize("mode", ["additive", "multiplicative"])
@pytest.mark.parametrize("case", HOSTILE)
def test_bad_input_ends_in_a_finite_model_with_at_least_stans_posterior(case: str, mode: str) -> None:
    values, options, problem = HOSTILE[case]
    options = {"seasonality_mode": mode, **options}
    rows = frame(values)
    state, ours, stan = posteriors(rows, problem, **options)
    assert ours <= stan + 1e-6 * (1 + abs(stan))
    family = ProphetFamily(ProphetOptions(**options))
    future = pd.DataFrame({"date": pd.date_range("2021-01-01", periods=30)})
    assert np.isfinite(family.predict(family.load(state), future, problem)).all()


@pytest.mark.parametrize("mode", ["additive", "multiplicative"])
def test_duplicate_constant_and_collinear_regressors_are_solved(mode: str) -> None:
    count, effect = 400, noise(400, 6)
    rows = frame(
        smooth(count) + effect + noise(count), a=effect, b=effect, c=np.ones(count), d=2 * effect + 1
    )
    problem = replace(DAILY, known_future=("a", "b", "c", "d"))
    _, ours, stan = posteriors(rows, problem, seasonality_mode=mode)
    assert ours <= stan + 1e-6 * (1 + abs(stan))


def test_infinite_targets_are_refused_as_stock_prophet_does() -> None:
    values = smooth(100)
    values[7] = np.inf
    with pytest.raises(ValueError, match="infinity in column y"):
        ProphetFamily(ProphetOptions()).fit(frame(values), DAILY)


@pytest.mark.parametrize("options", [{}, {"seasonality_mode": "multiplicative"}, {"growth": "flat"}])
def test_stock_prophet_loads_the_model_and_predicts_the_same(options: dict[str, Any]) -> None:
    count = 500
    promotion = (np.random.default_rng(1).random(count) < 0.1).astype(float)
    rows = frame(smooth(count) + 20 * promotion + noise(count), promotion=promotion)
    problem = replace(DAILY, known_future=("promotion",), holidays="ES-MD")
    family = ProphetFamily(ProphetOptions(**options))
    model = family.fit(rows.head(460), problem)
    stored = orjson.loads(orjson.dumps(family.dump(model)))
    assert stored["solver"] == "exact"
    stock = model_from_dict(stored)
    predicted = stock.predict(family.frame(rows.tail(40), problem))
    ours = family.predict(model, rows.tail(40), problem)
    np.testing.assert_array_equal(ours, predicted["yhat"])
    np.testing.assert_array_equal(family.predict(family.load(stored), rows.tail(40), problem), ours)
    assert stock.params["sigma_obs"].item() >= 0.8 / stored["y_scale"], "noise of one unit"
    stock.uncertainty_samples = 50
    assert (stock.predict(family.frame(rows.tail(40), problem))["yhat_upper"] > predicted["yhat"]).all()


def test_forecasts_agree_with_stans_on_a_smooth_series() -> None:
    rows, options = frame(smooth(900) + noise(900)), {"yearly": True}
    train, future = rows.head(870), rows.tail(30)
    exact, stan = (
        family.predict(family.fit(train, DAILY), future, DAILY)
        for family in (
            ProphetFamily(ProphetOptions(**options)),
            ProphetFamily(ProphetOptions(solver="stan", **options)),
        )
    )
    np.testing.assert_allclose(exact, stan, rtol=0.01)


def test_partitions_with_the_same_dates_share_one_design(monkeypatch: pytest.MonkeyPatch) -> None:
    prophet_design._DESIGNS.clear()
    made: list[int] = []
    real = DesignProphet.preprocess
    monkeypatch.setattr(DesignProphet, "preprocess", lambda *a, **k: made.append(1) or real(*a, **k))
    family = ProphetFamily(ProphetOptions())
    for seed in range(3):
        family.fit(frame(smooth(300) + noise(300, seed)), DAILY)
    assert len(made) == 1
    family.fit(frame(smooth(301)), DAILY)
    ProphetFamily(ProphetOptions(changepoints=10)).fit(frame(smooth(300)), DAILY)
    assert len(made) == 3


@pytest.mark.parametrize(
    ("frequency", "count", "gone", "options"),
    [
        ("D", 900, 40, {}),
        ("D", 900, 0, {}),
        ("D", 900, 150, {"seasonality_mode": "multiplicative"}),
        ("D", 2200, 3, {"changepoints": 0}),
        ("D", 120, 10, {"growth": "flat"}),
        ("W-MON", 160, 9, {}),
        ("h", 700, 30, {"yearly": False}),
    ],
)
def test_dates_with_gaps_are_designed_as_prophet_does(
    frequency: str, count: int, gone: int, options: dict[str, Any]
) -> None:
    dates = pd.date_range("2023-01-02", periods=count, freq=frequency)
    left_out = np.random.default_rng(4).choice(np.arange(1, count - 1), gone, replace=False)
    times = np.delete(dates.to_numpy(dtype="datetime64[ns]"), left_out)
    family, problem = ProphetFamily(ProphetOptions(**options)), replace(DAILY, holidays="ES")

    def new() -> DesignProphet:
        model = family.new(problem, DesignProphet)
        model.add_regressor("x0")
        return model  # type: ignore[return-value]

    prophet_design._DESIGNS.clear()
    prophet_design._SPANS.clear()
    expected = prophet_design._designed(times, new(), None)
    others = np.delete(dates.to_numpy(dtype="datetime64[ns]"), [1, 2])  # another series of the same span
    prophet_design.design_of("key", others, new, lambda: None)
    found = prophet_design.design_of("key", times, new, lambda: None)
    for name in ("t", "changes", "X", "scales", "multiplied", "tau", "flat"):
        assert np.array_equal(getattr(found.columns, name), getattr(expected.columns, name)), name
    assert found.state == expected.state
    assert (found.last, found.regressors) == (expected.last, expected.regressors)
    if gone:
        assert ("key", prophet_design.Steps.of(times).span) in prophet_design._DESIGNS._values  # type: ignore[union-attr]


def test_a_series_with_a_year_missing_or_off_the_steps_is_designed_alone() -> None:
    day = np.timedelta64(1, "D")
    years = np.datetime64("2015-01-01", "ns") + day * np.arange(4000)
    without_2018 = years[years.astype("datetime64[Y]") != np.datetime64("2018")]
    assert prophet_design.Steps.of(without_2018) is None, "its holidays are not designed by Prophet"
    assert prophet_design.Steps.of(years[::2].repeat(1)).count == 2000  # type: ignore[union-attr]
    assert prophet_design.Steps.of(np.append(years[:50], years[50] + np.timedelta64(5, "h"))) is None
    assert prophet_design.Steps.of(years[:1]) is None


def test_the_designs_of_a_process_are_bounded_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    prophet_design._DESIGNS.clear()
    monkeypatch.setattr(prophet_design._DESIGNS, "_limit", 1_000_000)
    family = ProphetFamily(ProphetOptions())
    for count in range(800, 820):
        family.fit(frame(smooth(count) + noise(count)), DAILY)
    assert 1 <= len(prophet_design._DESIGNS) < 5
    prophet_design._DESIGNS.clear()


def test_logistic_growth_goes_to_stan_and_the_record_says_so() -> None:
    family = ProphetFamily(ProphetOptions(growth="logistic", cap=300.0))
    model = family.fit(frame(smooth(200) + noise(200)), DAILY)
    assert family.dump(model)["solver"] == "stan"
    assert family.notes(model) == {"solved_by": "stan"}
    exact = ProphetFamily(ProphetOptions())
    assert exact.notes(exact.fit(frame(smooth(200) + noise(200)), DAILY)) == {}


def test_warm_start_is_refused_where_it_saves_nothing() -> None:
    with pytest.raises(ValueError, match="warm_start: true requires"):
        ProphetOptions(warm_start=True)
    assert ProphetOptions(warm_start=True, solver="stan").warm_start


def test_any_later_date_is_predicted_without_an_update() -> None:
    family = ProphetFamily(ProphetOptions())
    rows = frame(smooth(400) + noise(400))
    model = family.fit(rows.head(380), DAILY)
    updated = family.update(model, rows.tail(20), DAILY)
    future = pd.DataFrame({"date": pd.date_range("2021-06-01", periods=5)})
    np.testing.assert_array_equal(
        family.predict(updated, future, DAILY), family.predict(model, future, DAILY)
    )


def test_the_active_set_ends_where_no_variable_can_improve() -> None:
    rng = np.random.default_rng(2)
    for size in (1, 3, 12, 30):
        columns = rng.normal(size=(size + 5, size)).cumsum(axis=0)
        H, c, weights = columns.T @ columns, columns.T @ rng.normal(size=size + 5), rng.uniform(0.1, 9, size)
        weights[0] = 0.0
        x = sign_search(H, c, weights, np.zeros(size))
        assert x is not None
        gradient = H @ x - c
        assert np.abs(gradient[x == 0]).max(initial=0.0) <= weights[x == 0].max(initial=0.0) + 1e-6
        np.testing.assert_allclose(gradient[x != 0], -(weights * np.sign(x))[x != 0], atol=1e-6)
