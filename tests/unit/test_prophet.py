"""With `solver: stan` the shortcuts change nothing: parameters and predictions equal stock Prophet's bit for
bit, and nothing stays on disk.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from prophet import Prophet
from prophet.make_holidays import make_holidays_df
from prophet.serialize import model_to_json
from prophet.utilities import warm_start_params

from manymodels_spark.families.base import Problem
from manymodels_spark.families.options import ProphetOptions
from manymodels_spark.families.prophet.family import ProphetFamily
from manymodels_spark.families.prophet.stan import FastBackend, backend
from manymodels_spark.modeling.payload import seal

DAILY = Problem("forecast", "units", "date", "D", season=7, horizon=28)
CASES: dict[str, tuple[Problem, dict[str, Any], int]] = {
    "plain": (DAILY, {}, 400),
    "few rows, so Newton": (DAILY, {}, 60),
    "two rows": (DAILY, {}, 2),
    "promotion and holidays": (replace(DAILY, known_future=("promotion",), holidays="ES"), {}, 400),
    "holidays of a region": (replace(DAILY, holidays="ES-MD"), {}, 700),
    "multiplicative": (DAILY, {"seasonality_mode": "multiplicative", "yearly": 4}, 400),
    "logistic": (DAILY, {"growth": "logistic", "cap": 300.0, "floor": 10.0}, 400),
    "flat": (DAILY, {"growth": "flat", "weekly": False}, 400),
    "no changepoints": (DAILY, {"changepoints": 0}, 200),
    "hourly": (replace(DAILY, frequency="h", season=24), {"daily": True}, 300),
}


def series(count: int, frequency: str) -> pd.DataFrame:
    """A series with a week, a slope and a promotion; an outlier and a hole, as real ones have."""
    noise = np.random.default_rng(11)
    step = np.arange(count)
    promotion = (noise.random(count) < 0.1).astype(float)
    units = 60 + 0.05 * step + 9 * np.sin(2 * np.pi * step / 7) + 20 * promotion + noise.normal(0, 4, count)
    units[count // 2] += 100
    rows = pd.DataFrame({"date": pd.date_range("2024-10-01", periods=count, freq=frequency), "units": units})
    rows["promotion"] = promotion
    return rows.drop(index=range(100, 103)) if count > 200 else rows


def by_stan(**options: Any) -> ProphetFamily:
    return ProphetFamily(ProphetOptions(solver="stan", **options))


def stock(family: ProphetFamily, problem: Problem, rows: pd.DataFrame) -> Prophet:
    """What a user of Prophet alone would write."""
    model = family.new(problem, Prophet)
    model.uncertainty_samples = 1000
    if problem.holidays == "ES-MD":
        model.holidays = make_holidays_df([2024, 2025, 2026], "ES", province="MD")
    frame = family.frame(rows, problem).assign(y=rows["units"].to_numpy())
    for name in [name for name in frame if name.startswith("x")]:
        model.add_regressor(name)
    return model.fit(frame)


@dataclass
class Pair:
    """One series fitted by stock Prophet and by the family."""

    problem: Problem
    family: ProphetFamily
    stock: Prophet
    ours: Prophet
    future: pd.DataFrame


@pytest.fixture(scope="module", params=list(CASES))
def pair(request: pytest.FixtureRequest) -> Pair:
    problem, options, count = CASES[request.param]
    family = by_stan(**options)
    rows = series(count + 28, problem.frequency)
    train, future = rows.head(len(rows) - 28), rows.tail(28)[["date", "promotion"]]
    return Pair(problem, family, stock(family, problem, train), family.fit(train, problem), future)


def test_the_parameters_equal_stock_prophets_bit_for_bit(pair: Pair) -> None:
    assert {*pair.ours.params, "trend"} == {*pair.stock.params, "trend"}
    for name in pair.ours.params:
        values = pair.stock.params[name]
        np.testing.assert_array_equal(pair.ours.params[name], values, err_msg=name)


def test_the_predictions_equal_stock_prophets_bit_for_bit(pair: Pair) -> None:
    wanted = pair.stock.predict(pair.family.frame(pair.future, pair.problem))["yhat"].to_numpy()
    np.testing.assert_array_equal(pair.family.predict(pair.ours, pair.future, pair.problem), wanted)


def test_the_stripped_payload_predicts_the_same_bit_for_bit(pair: Pair) -> None:
    stored = orjson.loads(orjson.dumps(pair.family.dump(pair.ours)))
    assert len(pd.read_json(StringIO(stored["history"]), orient="table")) == 1
    wanted = pair.stock.predict(pair.family.frame(pair.future, pair.problem))["yhat"].to_numpy()
    np.testing.assert_array_equal(
        pair.family.predict(pair.family.load(stored), pair.future, pair.problem), wanted
    )


def test_a_warm_start_equals_stock_prophets_bit_for_bit_and_saves_steps() -> None:
    rows, family = series(430, "D"), by_stan(yearly=True, warm_start=True)
    earlier = family.fit(rows.head(400), DAILY)
    ours = family.fit(rows, replace(DAILY, start=orjson.loads(orjson.dumps(family.dump(earlier)))))
    theirs = family.new(DAILY, Prophet).fit(
        family.frame(rows, DAILY).assign(y=rows["units"].to_numpy()), init=warm_start_params(earlier)
    )
    for name, values in ours.params.items():
        np.testing.assert_array_equal(values, theirs.params[name], err_msg=name)
    cold = family.fit(rows, DAILY)
    assert not np.array_equal(ours.params["delta"], cold.params["delta"]), "the start was used"
    assert ours.params["k"] == pytest.approx(cold.params["k"], abs=0.05), "and the same model was found"


def test_a_start_that_does_not_fit_gives_way_to_the_usual_one() -> None:
    rows = series(200, "D")
    family = by_stan(yearly=False, warm_start=True)
    constant = family.dump(family.fit(rows.assign(units=5.0), DAILY))
    assert np.isfinite(
        family.predict(family.fit(rows, replace(DAILY, start=constant)), rows.tail(7), DAILY)
    ).all()


def test_a_region_has_its_own_holidays_and_the_country_s() -> None:
    family = by_stan(yearly=False)
    model = family.fit(series(700, "D"), replace(DAILY, holidays="ES-MD"))
    names = set(model.train_holiday_names)
    assert {"Madrid Day", "Epiphany"} <= names
    assert "Day of Andalusia" not in names


def test_the_payload_of_a_long_series_is_a_small_part_of_prophets_own_json() -> None:
    family = by_stan()
    rows = series(1_500, "D")
    sealed = seal({"members": [{"state": family.dump(family.fit(rows, DAILY))}]})
    assert len(sealed) < 0.02 * len(model_to_json(stock(family, DAILY, rows)))


def test_a_fit_leaves_nothing_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    family = by_stan()
    for count in (50, 120):
        family.fit(series(count, "D"), DAILY)
    assert list(tmp_path.rglob("*")) == []


def test_a_fit_that_fails_leaves_nothing_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    class Failing:
        def optimize(self, **kwargs: Any) -> Any:
            assert Path(kwargs["data"]).exists()
            raise RuntimeError("Stan gave up")

    monkeypatch.setattr(backend(), "model", Failing())
    with pytest.raises(RuntimeError, match="Stan gave up"):
        by_stan().fit(series(120, "D"), DAILY)
    assert list(tmp_path.rglob("*")) == []


def test_where_lbfgs_fails_newton_is_tried_as_stock_prophet_does(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    real = backend().model

    class Picky:
        def optimize(self, **kwargs: Any) -> Any:
            tried.append(kwargs["algorithm"])
            if kwargs["algorithm"] == "LBFGS":
                raise RuntimeError("line search failed")
            return real.optimize(**kwargs)

    monkeypatch.setattr(backend(), "model", Picky())
    by_stan().fit(series(150, "D"), DAILY)
    assert tried == ["LBFGS", "Newton"]


def test_all_fits_of_a_process_share_one_backend() -> None:
    family = by_stan()
    first, second = family.new(DAILY), family.new(DAILY)
    assert isinstance(first.stan_backend, FastBackend)
    assert first.stan_backend is second.stan_backend


def test_the_same_rows_give_the_same_payload_bit_for_bit() -> None:
    family = by_stan()
    rows = series(150, "D")
    payloads = {seal({"members": [{"state": family.dump(family.fit(rows, DAILY))}]}) for _ in range(2)}
    assert len(payloads) == 1


@pytest.mark.parametrize("solver", ["exact", "stan"])
def test_hours_of_the_day_are_those_of_the_local_clock_through_a_change_of_it(solver: str) -> None:
    """Visitors come by the clock on the wall, which is changed on 29 March 2026."""
    berlin = replace(DAILY, frequency="h", season=24, zone="Europe/Berlin")
    utc = pd.date_range("2026-02-10", "2026-04-05 21:00", freq="h")
    hour = utc.tz_localize("UTC").tz_convert("Europe/Berlin").hour.to_numpy()
    visitors = 100.0 + 40.0 * np.sin(2 * np.pi * (hour - 9) / 24)
    noise = np.random.default_rng(5).normal(0, 2, len(utc))
    rows = pd.DataFrame({"date": utc, "units": visitors + noise})
    known, ahead = rows[rows["date"] < "2026-03-28"], rows["date"] >= "2026-03-29 01:00"
    family = ProphetFamily(ProphetOptions(solver=solver, daily=True, weekly=False, yearly=False))

    def error(problem: Problem) -> float:
        model = family.load(orjson.loads(orjson.dumps(family.dump(family.fit(known, problem)))))
        assert model.state["solver"] == solver
        return float(np.abs(family.predict(model, rows[ahead], problem) - visitors[ahead]).mean())

    assert error(berlin) < 2.0 < 6.0 < error(replace(berlin, zone=None))


def test_without_a_local_clock_the_stored_form_is_what_it_was() -> None:
    family = ProphetFamily(ProphetOptions())
    assert "zone" not in family.dump(family.fit(series(400, "D"), DAILY))
