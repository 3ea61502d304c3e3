"""Every family keeps the protocol: what is stored predicts as what was fitted, the same rows give the same
model.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest

from manymodels_spark.errors import ManyModelsError, PayloadError
from manymodels_spark.families import registry, skops
from manymodels_spark.families.base import Family, Problem
from manymodels_spark.spec.model import Candidate

ROWS, HORIZON = 120, 10
PROBLEM = Problem("forecast", "units", "date", "D", season=7, horizon=HORIZON, seed=5)
WITH_PROMOTION = Problem(
    "forecast", "units", "date", "D", season=7, horizon=HORIZON, seed=5, known_future=("promotion",)
)
FORECASTERS = sorted(name for name in registry.addresses() if "forecast" in registry.family(name).tasks)
SMALL: dict[str, dict[str, Any]] = {
    "random_forest": {"trees": 10},
    "gradient_boosting": {"iterations": 20},
    "lightgbm": {"iterations": 20},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "seasonal_naive": {"season": 3},
    "theta": {"season": 4, "last": 60},
    "auto_ets": {"model": "ANN"},
    "mstl": {"seasons": [7, 14]},
    "croston": {"variant": "sba"},
    "tsb": {"alpha_demand": 0.3, "alpha_probability": 0.2},
    "mfles": {"robust": True},
    "linear": {"lags": [1, 7], "calendar": False},
    "lightgbm": {"objective": "poisson", "lags": [10, 14], "iterations": 10, "leaf": 3},
    "prophet": {"growth": "logistic", "cap": 200.0, "weekly": 3, "changepoints": 5},
}


def series(count: int = ROWS) -> pd.DataFrame:
    """A daily series with a week, a slope, a promotion and noise."""
    noise = np.random.default_rng(7)
    step = np.arange(count)
    promotion = (noise.random(count) < 0.2).astype(float)
    units = 80 + 0.1 * step + 12 * np.sin(2 * np.pi * step / 7) + 15 * promotion + noise.normal(0, 3, count)
    return pd.DataFrame(
        {"date": pd.date_range("2025-03-01", periods=count), "units": units, "promotion": promotion}
    )


def text(state: Any) -> bytes:
    return orjson.dumps(state, option=orjson.OPT_SERIALIZE_NUMPY)


@dataclass
class Case:
    """A family fitted once, its future and what it predicts."""

    family: Family[Any]
    model: Any
    state: bytes
    predicted: np.ndarray


@pytest.fixture(scope="module")
def train() -> pd.DataFrame:
    return series().head(ROWS - HORIZON)


@pytest.fixture(scope="module")
def future() -> pd.DataFrame:
    return series().tail(HORIZON)[["date", "promotion"]]


@pytest.fixture(scope="module")
def case(train: pd.DataFrame, future: pd.DataFrame) -> Callable[[str], Case]:
    made: dict[str, Case] = {}

    def of(name: str) -> Case:
        if name not in made:
            family = registry.build(Candidate(family=name, options=SMALL.get(name, {})))
            model = family.fit(train, PROBLEM)
            made[name] = Case(family, model, text(family.dump(model)), family.predict(model, future, PROBLEM))
        return made[name]

    return of


@pytest.mark.parametrize("name", FORECASTERS)
def test_a_loaded_model_predicts_as_the_fitted_one_bit_for_bit(
    case: Callable[[str], Case], future: pd.DataFrame, name: str
) -> None:
    fitted = case(name)
    loaded = fitted.family.load(orjson.loads(fitted.state))
    assert fitted.predicted.shape == (HORIZON,)
    assert fitted.predicted.dtype == np.float64
    assert np.isfinite(fitted.predicted).all()
    np.testing.assert_array_equal(fitted.family.predict(loaded, future, PROBLEM), fitted.predicted)


@pytest.mark.parametrize("name", FORECASTERS)
def test_a_loaded_model_is_stored_as_the_same_bytes_again(case: Callable[[str], Case], name: str) -> None:
    fitted = case(name)
    assert text(fitted.family.dump(fitted.family.load(orjson.loads(fitted.state)))) == fitted.state


@pytest.mark.parametrize("name", FORECASTERS)
def test_the_same_rows_give_the_same_stored_model_bit_for_bit(
    case: Callable[[str], Case], train: pd.DataFrame, name: str
) -> None:
    family = case(name).family
    again = family.fit(train.copy(), PROBLEM)
    assert text(family.dump(again)) == case(name).state


@pytest.mark.parametrize("name", FORECASTERS)
def test_dumping_does_not_change_the_model(
    case: Callable[[str], Case], future: pd.DataFrame, name: str
) -> None:
    fitted = case(name)
    fitted.family.dump(fitted.model)
    np.testing.assert_array_equal(fitted.family.predict(fitted.model, future, PROBLEM), fitted.predicted)


@pytest.mark.parametrize("name", FORECASTERS)
def test_a_shorter_horizon_is_the_start_of_a_longer_one(
    case: Callable[[str], Case], future: pd.DataFrame, name: str
) -> None:
    fitted = case(name)
    np.testing.assert_allclose(
        fitted.family.predict(fitted.model, future.head(3), PROBLEM), fitted.predicted[:3]
    )


@pytest.mark.parametrize("name", FORECASTERS)
def test_a_fit_leaves_the_rows_as_they_were(train: pd.DataFrame, name: str) -> None:
    before = train.copy(deep=True)
    family = registry.build(Candidate(family=name, options=SMALL.get(name, {})))
    family.fit(train.tail(60), PROBLEM)
    pd.testing.assert_frame_equal(train, before)


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_options_reach_the_model_and_survive_the_payload(
    train: pd.DataFrame, future: pd.DataFrame, case: Callable[[str], Case], name: str
) -> None:
    family = registry.build(Candidate(family=name, options=VARIANTS[name]))
    model = family.fit(train, PROBLEM)
    predicted = family.predict(model, future, PROBLEM)
    assert not np.array_equal(predicted, case(name).predicted)
    stored = orjson.loads(text(family.dump(model)))
    np.testing.assert_array_equal(family.predict(family.load(stored), future, PROBLEM), predicted)


@pytest.mark.parametrize("name", ["prophet", "linear", "gradient_boosting", "random_forest", "lightgbm"])
def test_known_future_columns_move_the_forecast(train: pd.DataFrame, future: pd.DataFrame, name: str) -> None:
    small = {"leaf": 3} if name in ("gradient_boosting", "lightgbm") else {}
    family = registry.build(Candidate(family=name, options={**SMALL.get(name, {}), **small}))
    model = family.fit(train, WITH_PROMOTION)
    on = family.predict(model, future.assign(promotion=1.0), WITH_PROMOTION)
    off = family.predict(model, future.assign(promotion=0.0), WITH_PROMOTION)
    assert 5 < (on - off)[0] < 25
    stored = family.load(orjson.loads(text(family.dump(model))))
    np.testing.assert_array_equal(
        family.predict(stored, future, WITH_PROMOTION), family.predict(model, future, WITH_PROMOTION)
    )


def test_the_simple_families_predict_what_their_names_say(train: pd.DataFrame, future: pd.DataFrame) -> None:
    units = train["units"].to_numpy()

    def predicted(name: str, **options: Any) -> np.ndarray:
        family = registry.build(Candidate(family=name, options=options))
        return family.predict(family.fit(train, PROBLEM), future, PROBLEM)

    np.testing.assert_array_equal(predicted("naive"), np.full(HORIZON, units[-1]))
    np.testing.assert_array_equal(predicted("seasonal_naive"), np.concatenate([units[-7:], units[-7:-4]]))
    np.testing.assert_array_equal(predicted("seasonal_naive", season=2), np.tile(units[-2:], 5))
    np.testing.assert_allclose(predicted("mean"), np.full(HORIZON, units.mean()))
    slope = (units[-1] - units[0]) / (len(units) - 1)
    np.testing.assert_allclose(predicted("drift"), units[-1] + slope * np.arange(1, HORIZON + 1))


@pytest.mark.parametrize("name", FORECASTERS)
def test_a_constant_series_is_forecast_as_that_constant(name: str) -> None:
    family = registry.build(Candidate(family=name, options=SMALL.get(name, {})))
    rows = series(60).assign(units=5.0)
    after = pd.DataFrame({"date": pd.date_range("2025-04-30", periods=HORIZON)})
    np.testing.assert_allclose(family.predict(family.fit(rows, PROBLEM), after, PROBLEM), 5.0, atol=0.01)


@pytest.mark.parametrize("name", ["croston", "tsb", "mean", "seasonal_naive", "lightgbm", "theta"])
def test_intermittent_demand_is_forecast_between_nothing_and_its_largest_value(name: str) -> None:
    rows = series(90)
    rows["units"] = np.where(np.arange(90) % 5 == 0, 10.0, 0.0)
    family = registry.build(Candidate(family=name, options=SMALL.get(name, {})))
    after = pd.DataFrame({"date": pd.date_range("2025-05-30", periods=HORIZON)})
    predicted = family.predict(family.fit(rows, PROBLEM), after, PROBLEM)
    assert ((predicted > -1.0) & (predicted < 11.0)).all()


@pytest.mark.parametrize("name", FORECASTERS)
def test_cost_grows_with_the_rows(name: str) -> None:
    family = registry.build(Candidate(family=name))
    assert 0 < family.cost(100) <= family.cost(100_000)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("auto_est", "Did you mean 'auto_ets'?"),
        ({"theta": {"seson": 7}}, "Did you mean 'season'?"),
        ({"lightgbm": {"leafs": 7}}, "Did you mean 'leaf"),
        ({"seasonal_naive": {"season": 0}}, "greater than or equal to 1"),
        ({"auto_ets": {"model": "XYZ"}}, "pattern"),
        ({"lightgbm": {"iterations": "many"}}, "valid integer"),
        ({"lightgbm": {"objective": "quantum"}}, "'l2'"),
        ({"prophet": {"growth": "exponential"}}, "'linear'"),
        ({"prophet": {"growth": "logistic"}}, "cap"),
        ({"linear": {"lags": [0]}}, "greater than or equal to 1"),
        ({"naive": {"season": 7}}, "unknown option"),
        ({"majority": {}}, "does not do forecast"),
        ({"no.such.module:Model": {}}, "cannot be imported"),
        ({"manymodels_spark.errors:Reason": {}}, "no subclass"),
        (["theta"], "names no model"),
    ],
)
def test_a_mistake_in_a_candidate_is_named_with_its_place_and_what_was_expected(raw: Any, said: str) -> None:
    (mistake,) = registry.candidate_mistakes({"candidates": ["naive", raw]}, "forecast")
    assert mistake.path.startswith("candidates[1]")
    assert said in mistake.message


def test_a_mistake_in_the_fallback_is_found_too() -> None:
    (mistake,) = registry.candidate_mistakes(
        {"candidates": ["naive"], "fallback": {"tsb": {"alpha_demand": 2}}}, "forecast"
    )
    assert mistake.path == "fallback.tsb.alpha_demand"


def test_an_unknown_family_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ManyModelsError, match="Known: auto_arima, auto_ces, auto_ets"):
        registry.family("zzz")


def test_a_pipeline_with_a_foreign_type_is_not_loaded(case: Callable[[str], Case]) -> None:
    state = orjson.loads(case("gradient_boosting").state)["skops"]
    state["schema"]["__module__"] = "subprocess"
    state["schema"]["__class__"] = "Popen"
    with pytest.raises(PayloadError, match="Popen"):
        skops.load(state)


def test_trees_are_stored_as_the_same_bytes_by_another_process(case: Callable[[str], Case]) -> None:
    import hashlib

    wanted = {name: hashlib.sha256(case(name).state).hexdigest() for name in SMALL}
    code = (
        "import hashlib, sys; sys.path[:0] = sys.argv[1:]\n"
        "from test_families import *\n"
        "rows = series().head(ROWS - HORIZON)\n"
        "for name, options in SMALL.items():\n"
        "    family = registry.build(Candidate(family=name, options=options))\n"
        "    print(name, hashlib.sha256(text(family.dump(family.fit(rows, PROBLEM)))).hexdigest())\n"
    )
    folder = __file__.rpartition("/")[0]
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert dict(line.split() for line in done.stdout.splitlines()) == wanted
