"""Monitoring on simulated partitions with planted changes: every one is found, and hardly any other cries."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from builders import make_spec
from hypothesis import given, settings
from hypothesis import strategies as st

from manymodels_spark.modeling import drift, live_errors
from manymodels_spark.spec import Spec

HORIZON, HISTORY = 28, 400
WEEK = np.array([0.8, 0.9, 1.0, 1.0, 1.1, 1.3, 0.9])


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    columns = {"time": "date", "target": "units", "known_future": ["price"]}
    return make_spec(
        tmp_path_factory.mktemp("spec"),
        columns=columns,
        horizon=HORIZON,
        backtest={"folds": 3, "intervals": [80]},
    )


def partition(seed: int, planted: str | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A year's worth of weekly sales with noise that remembers, a forecast of the last 28 days that knows
    the true mean, and what its backtest said. `planted` says what changes after the cutoff.
    """
    draw = np.random.default_rng(seed)
    level, count = draw.uniform(20, 200), HISTORY + HORIZON
    mean = level * np.resize(WEEK, count)
    shocks = draw.normal(0, 0.12, count)
    memory = draw.uniform(0, 0.4)
    noise = np.zeros(count)
    for step in range(1, count):
        noise[step] = memory * noise[step - 1] + shocks[step]
    price = np.where(draw.random(count) < 0.2, 8.0, 10.0) + draw.normal(0, 0.1, count)
    after = np.arange(count) >= HISTORY
    if planted == "level":
        mean = np.where(after, mean * 1.6, mean)
    if planted == "noise":
        noise = np.where(after, noise * 4, noise)
    if planted == "price":
        price = np.where(after, price * 1.3, price)
    times = pd.date_range("2025-01-01", periods=count, freq="D")
    actuals = pd.DataFrame({"date": times, "units": mean * (1 + noise), "price": price})
    known = level * np.resize(WEEK, count)[after]
    width = 1.2816 * 0.12 * known / math.sqrt(1 - memory**2)
    predicted = known * (draw.uniform(1.6, 2.2) if planted == "model" else 1.0)
    predictions = pd.DataFrame(
        {
            "cutoff": times[HISTORY - 1],
            "date": times[after],
            "prediction": predicted,
            "lower_80": predicted - width,
            "upper_80": predicted + width,
        }
    )
    past = actuals["units"].to_numpy()[HISTORY - 3 * HORIZON : HISTORY]
    truth = level * np.resize(WEEK, count)[HISTORY - 3 * HORIZON : HISTORY]
    return actuals, predictions.assign(backtest=float(np.abs(past - truth).sum() / past.sum()))


def alerts(spec: Spec, seed: int, planted: str | None = None) -> set[tuple[str, str]]:
    """The findings of one partition that are large, and of whose kind one in a thousand is chance."""
    found = live_errors.watch(*partition(seed, planted), spec)
    return {(one.check, one.subject) for one in found if one.large and one.p <= 0.001}


@pytest.mark.parametrize(
    ("planted", "check"),
    [
        ("level", ("level", "units")),
        ("noise", ("coverage", "80")),
        ("price", ("level", "price")),
        ("model", ("accuracy", "wape")),
    ],
)
def test_every_planted_change_is_found_by_the_check_that_is_for_it(
    spec: Spec, planted: str, check: tuple[str, str]
) -> None:
    found = [alerts(spec, seed, planted) for seed in range(25)]
    assert all(found), f"{sum(not some for some in found)} of 25 not found"
    assert sum(check in some for some in found) >= 24


def test_at_most_one_in_twenty_of_the_unchanged_partitions_has_any_alert(spec: Spec) -> None:
    crying = [seed for seed in range(1000, 1300) if alerts(spec, seed)]
    assert len(crying) <= 0.05 * 300, len(crying)


def test_live_errors_are_those_that_a_person_would_compute(spec: Spec) -> None:
    actuals, predictions = partition(1)
    found = {(one.check, one.subject, one.age): one for one in live_errors.watch(actuals, predictions, spec)}
    truth, made = actuals["units"].to_numpy()[-HORIZON:], predictions["prediction"].to_numpy()
    assert found["accuracy", "wape", "all"].value == pytest.approx(np.abs(truth - made).sum() / truth.sum())
    assert found["accuracy", "wape", "all"].reference == predictions["backtest"].iloc[0]
    assert found["accuracy", "wape", "1-7"].value == pytest.approx(
        np.abs(truth - made)[:7].sum() / truth[:7].sum()
    )
    assert {age for check, _, age in found if check == "accuracy"} == {"all", "1-7", "8-14", "15-21", "22-28"}
    assert found["bias", "units", "all"].value == pytest.approx((made - truth).mean())
    inside = (truth >= predictions["lower_80"]) & (truth <= predictions["upper_80"])
    assert found["coverage", "80", "all"].value == pytest.approx(inside.mean())
    # The last week before the cutoff, repeated: what a seasonal naive forecast of that day says.
    repeated = np.resize(actuals["units"].to_numpy()[HISTORY - 7 : HISTORY], HORIZON)
    assert found["against_naive", "mae", "all"].reference == pytest.approx(np.abs(truth - repeated).mean())


def test_predictions_without_an_actual_yet_say_nothing(spec: Spec) -> None:
    actuals, predictions = partition(1)
    assert live_errors.watch(actuals.head(HISTORY), predictions, spec) == []
    some = live_errors.watch(actuals.head(HISTORY + 3), predictions, spec)
    assert {one.steps for one in some if one.age == "all"} == {3}
    assert not any(one.large for one in some), "three days are too few to cry"


def test_an_actual_that_is_missing_is_left_out_and_none_stops_the_others(spec: Spec) -> None:
    actuals, predictions = partition(1)
    actuals.loc[actuals.index[-3], "units"] = np.nan
    found = live_errors.watch(actuals, predictions, spec)
    assert next(one for one in found if one.check == "accuracy").steps == HORIZON - 1


def test_a_stability_index_of_equal_samples_is_near_nothing_and_of_disjoint_ones_large() -> None:
    same = np.tile(np.arange(100.0), 5)
    assert drift.stability(same, same, 0.25).value == pytest.approx(0.0, abs=1e-9)
    apart = drift.stability(np.arange(100.0), np.arange(1000.0, 1100.0), 0.25)
    assert apart.value > 2 and apart.p < 1e-10


def test_a_small_sample_has_a_large_index_by_chance_and_a_p_value_that_knows() -> None:
    draws = [
        drift.stability(*np.split(np.random.default_rng(n).normal(size=140), [112]), 0.25) for n in range(200)
    ]
    assert np.mean([one.value > 0.25 for one in draws]) > 0.2
    assert np.mean([one.p < 0.05 for one in draws]) < 0.1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-1000, 1000), min_size=8, max_size=60))
def test_a_shift_of_level_turns_its_sign_with_the_samples_and_knows_no_units(values: list[int]) -> None:
    before, after = np.array(values[::2], float), np.array(values[1::2], float)
    found, turned = drift.level(before, after), drift.level(after, before)
    assert found.value == pytest.approx(-turned.value, abs=1e-9)
    assert found.p == pytest.approx(turned.p, abs=1e-9)
    assert drift.level(before * 4 + 1, after * 4 + 1) == found


def test_predictions_are_judged_by_the_backtest_of_the_model_that_made_them(spec: Spec) -> None:
    actuals, predictions = partition(1)
    half = predictions["date"] > predictions["date"].iloc[HORIZON // 2 - 1]
    former = predictions.assign(backtest=np.where(half, 0.1, 0.3))
    found = accuracy(actuals, former, spec)
    sold = actuals["units"].to_numpy()[-HORIZON:]
    share = sold[half.to_numpy()].sum() / sold.sum()
    assert found.reference == pytest.approx(0.1 * share + 0.3 * (1 - share)), "as wape weighs them"

    fallback = accuracy(actuals, predictions.assign(backtest=np.where(half, 0.1, np.nan)), spec)
    assert (fallback.steps, fallback.reference) == (HORIZON // 2, pytest.approx(0.1))
    unknown = accuracy(actuals, predictions.assign(backtest=np.nan), spec)
    assert unknown.steps == HORIZON and math.isnan(unknown.reference) and not unknown.large


def accuracy(actuals: pd.DataFrame, predictions: pd.DataFrame, spec: Spec) -> live_errors.Finding:
    found = live_errors.watch(actuals, predictions, spec)
    return next(one for one in found if (one.check, one.age) == ("accuracy", "all"))


def test_what_former_years_did_in_the_same_weeks_is_no_change_of_level() -> None:
    day = np.arange(3 * 364)
    season = 100 + 20 * np.sin(2 * np.pi * day / 364)
    plain, years = drift.without_year(season, 364, span=140, width=29)
    assert years == 2
    assert np.ptp(season[-140:]) > 15
    assert np.ptp(plain) < 2
    risen = season * np.where(day >= len(day) - 28, 1.3, 1.0)
    plain, _ = drift.without_year(risen, 364, span=140, width=29)
    assert plain[-28:].mean() / plain[:-28].mean() == pytest.approx(1.3, rel=0.02), "a change stays one"
    untouched, years = drift.without_year(season[:300], 364, span=140, width=29)
    assert years == 0 and untouched.tolist() == season[160:300].tolist()


def test_weekday_and_promotions_are_explained_and_the_rest_stays() -> None:
    day = np.arange(140)
    promotion = (day // 7 % 3 == 0).astype(float)
    values = 50 + 10.0 * (day % 7) + 30 * promotion + np.where(day >= 112, 25.0, 0.0)
    plain = drift.without_season(values, 7, 112, promotion[:, None])
    assert np.ptp(plain[:112]) < 1e-9
    assert plain[112:] - plain[0] == pytest.approx(np.full(28, 25.0))


def test_of_many_tests_so_many_count_that_few_are_expected_to_be_false() -> None:
    # Benjamini and Hochberg (1995), section 3.2: 15 p-values, of which at 5 % the four least count.
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    p += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    found = drift.false_discovery(np.array(p[::-1]))[::-1]
    assert (found <= 0.05).tolist() == [True] * 4 + [False] * 11
    assert found[3] == pytest.approx(0.0095 * 15 / 4)
    assert np.all(np.diff(found) >= 0)


def test_the_seasonal_naive_of_a_shop_without_sundays_is_the_same_weekday(spec: Spec) -> None:
    actuals, predictions = partition(1)
    level = actuals["date"].dt.dayofweek * 10.0 + 5.0
    actuals = actuals.assign(units=level)[actuals["date"].dt.dayofweek < 6]
    without_sundays = predictions[predictions["date"].dt.dayofweek < 6]
    for made in (predictions, without_sundays):  # closed steps predicted as 0, and left out
        joined = live_errors._joined(actuals, made, spec)
        assert joined["naive"].tolist() == joined["actual"].tolist()
        assert joined["ahead"].tolist() == [n for n in range(1, 29) if (HISTORY + n) % 7 != 5]
