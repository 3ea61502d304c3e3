"""A model is brought up to date without a refit, and keeps its form when it is fitted again."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest

from manymodels_spark.families import registry
from manymodels_spark.families.base import Problem
from manymodels_spark.modeling.backtest import Backtest
from manymodels_spark.modeling.folds import Fold
from manymodels_spark.modeling.grid import table
from manymodels_spark.spec.model import Candidate

Floats = np.ndarray
DAILY = Problem("forecast", "units", "date", "D", season=7, horizon=14, seed=5)
UPDATED = [
    *("naive", "seasonal_naive", "drift", "ses", "holt", "theta", "auto_theta", "dynamic_theta"),
    *("auto_ets", "auto_ces", "auto_arima", "mstl", "linear", "gradient_boosting", "lightgbm", "prophet"),
]
SMALL: dict[str, dict[str, Any]] = {"gradient_boosting": {"iterations": 20}, "lightgbm": {"iterations": 20}}


def rows_of(values: Floats) -> pd.DataFrame:
    return pd.DataFrame({"date": pd.date_range("2025-01-01", periods=len(values)), "units": values})


def weekly(count: int, noise: float = 3.0) -> Floats:
    rng = np.random.default_rng(7)
    step = np.arange(count)
    return 90 + 0.2 * step + 15 * np.sin(2 * np.pi * step / 7) + rng.normal(0, noise, count)


def build(name: str, **options: Any) -> Any:
    return registry.build(Candidate(family=name, options={**SMALL.get(name, {}), **options}))


def steps_after(count: int, horizon: int = 14) -> pd.DataFrame:
    dates = pd.date_range("2025-01-01", periods=count + horizon)
    return pd.DataFrame({"date": dates[count:]})


@pytest.mark.parametrize("name", UPDATED)
def test_an_updated_model_forecasts_the_steps_after_the_newer_rows(name: str) -> None:
    rows = rows_of(weekly(200, noise=1.0))
    family = build(name)
    model = family.fit(rows.head(170), DAILY)
    before = family.predict(model, steps_after(170), DAILY)
    updated = family.update(model, rows.iloc[170:186], DAILY)
    assert updated is not None
    forecast = family.predict(updated, steps_after(186), DAILY)
    refitted = family.predict(family.fit(rows.head(186), DAILY), steps_after(186), DAILY)
    level = np.abs(refitted).mean()
    assert np.abs(forecast - refitted).mean() < 0.06 * level, (
        "as good as the season and the level that it knows"
    )
    np.testing.assert_array_equal(family.predict(model, steps_after(170), DAILY), before)


@pytest.mark.parametrize("name", UPDATED)
def test_a_loaded_model_updates_as_the_fitted_one_and_no_rows_change_nothing(name: str) -> None:
    rows = rows_of(weekly(200))
    family = build(name)
    model = family.fit(rows.head(180), DAILY)
    loaded = family.load(orjson.loads(orjson.dumps(family.dump(model), option=orjson.OPT_SERIALIZE_NUMPY)))
    ours, theirs = (
        family.predict(family.update(one, rows.iloc[180:191], DAILY), steps_after(191), DAILY)
        for one in (model, loaded)
    )
    np.testing.assert_array_equal(ours, theirs)
    twice = family.update(family.update(loaded, rows.iloc[180:184], DAILY), rows.iloc[184:191], DAILY)
    np.testing.assert_allclose(family.predict(twice, steps_after(191), DAILY), ours, rtol=1e-9)
    same = family.update(loaded, rows.iloc[:0], DAILY)
    np.testing.assert_array_equal(
        family.predict(same, steps_after(180), DAILY), family.predict(loaded, steps_after(180), DAILY)
    )


@pytest.mark.parametrize("form", ["ANN", "AAA", "MAM", "MNM"])
def test_exponential_smoothing_moves_on_as_one_pass_over_all_values_does(form: str) -> None:
    from statsforecast.ets import forward_ets

    values = weekly(160)
    family = build("auto_ets", model=form)
    model = family.fit(rows_of(values).head(140), DAILY)
    updated = family.update(model, rows_of(values).iloc[140:], DAILY)
    at_once = forward_ets(model.model_, values)["states"][-1]
    np.testing.assert_allclose(updated.model_["states"][-1], at_once, rtol=1e-9)


def test_theta_moves_on_as_one_pass_over_all_values_does() -> None:
    from statsforecast.theta import forward_theta

    values = np.cumsum(np.random.default_rng(1).normal(0.5, 1, 90)) + 50
    plain = Problem("forecast", "units", "date", "D", season=1, horizon=14)
    # What the first variant knows of the line through all values is a parameter, and stays.
    for name, moved in (("theta", [0, 1]), ("dynamic_theta", [0, 1, 2, 3])):
        family = build(name)
        model = family.fit(rows_of(values).head(80), plain)
        updated = family.update(model, rows_of(values).iloc[80:], plain)
        at_once = forward_theta(model.model_, values)["states"][-1]
        np.testing.assert_allclose(updated.model_["states"][-1, moved], at_once[moved], rtol=1e-9)


def test_families_without_a_state_to_move_on_say_so() -> None:
    rows = rows_of(np.abs(weekly(60)))
    for name in ("mean", "croston", "tsb", "mfles"):
        family = build(name)
        assert family.update(family.fit(rows.head(50), DAILY), rows.tail(10), DAILY) is None


def test_logarithms_are_not_updated_with_what_has_none() -> None:
    rows = rows_of(weekly(120))
    family = build("linear", log=True)
    model = family.fit(rows.head(110), DAILY)
    assert family.update(model, rows.iloc[110:], DAILY) is not None
    assert family.update(model, rows.iloc[110:].assign(units=0.0), DAILY) is None


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("auto_ets", lambda model: model.model_["components"]),
        ("auto_arima", lambda model: tuple(model.model_["arma"])),
        ("auto_ces", lambda model: model.model_["seasontype"]),
        ("auto_theta", lambda model: model.model_["modeltype"]),
    ],
)
def test_the_form_is_chosen_on_the_earliest_fold_and_only_estimated_again_later(name: str, made: Any) -> None:
    rows = rows_of(weekly(150))
    family = build(name)
    searched: list[int] = []
    real = family.fit
    family.fit = lambda rows, problem: searched.append(len(rows)) or real(rows, problem)
    folds = [Fold(np.arange(end), np.arange(end, end + 14)) for end in (136, 122, 108)]
    trial = Backtest(table(rows), folds, DAILY).tried(name, family)
    assert trial.error is None
    assert searched == [108], "one search, on the training rows of the earliest fold"
    assert made(trial.model) == made(trial.earliest)
    refitted = family.refit(trial.earliest, rows, DAILY)
    assert made(refitted) == made(trial.earliest)
    assert searched == [108]
    stored = orjson.loads(orjson.dumps(family.dump(refitted), option=orjson.OPT_SERIALIZE_NUMPY))
    np.testing.assert_array_equal(
        family.predict(family.load(stored), steps_after(150), DAILY),
        family.predict(refitted, steps_after(150), DAILY),
    )
    again = build(name, reselect=True)
    np.testing.assert_array_equal(
        again.predict(again.refit(trial.earliest, rows, DAILY), steps_after(150), DAILY),
        again.predict(again.fit(rows, DAILY), steps_after(150), DAILY),
    )


def test_the_search_is_made_again_where_its_form_does_not_suit_the_rows() -> None:
    family = build("auto_ets")
    multiplied = build("auto_ets", model="MAM").fit(rows_of(weekly(100)), DAILY)
    with_zeros = rows_of(np.where(np.arange(140) % 20 == 0, -5.0, weekly(140)))
    refitted = family.refit(multiplied, with_zeros, DAILY)
    assert np.isfinite(family.predict(refitted, steps_after(140), DAILY)).all()
    constant = family.fit(rows_of(np.full(60, 4.0)), DAILY)
    assert family.refit(constant, rows_of(weekly(140)), DAILY).model_["components"][2] != "N"
    short = family.fit(rows_of(weekly(12)), DAILY)
    assert short.season_length == 1
    assert family.refit(short, rows_of(weekly(140)), DAILY).season_length == 7
