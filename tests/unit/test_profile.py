"""What kind of series it is, which seasons it has, and which candidates need not be tried on it."""

from __future__ import annotations

import math

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from manymodels_spark.families import registry
from manymodels_spark.modeling.profile import Kind, profile, ruled_out, seasons_of
from manymodels_spark.spec.frequency import STEPS
from manymodels_spark.spec.model import Candidate

DAILY = (7, 365)


def candidates(*names: str) -> list[Candidate]:
    return [Candidate(family=name) for name in names]


def kept(values: np.ndarray, *names: str) -> list[str]:
    out = ruled_out(profile(values, DAILY), candidates(*names))
    return [name for position, name in enumerate(names) if position not in out]


def every(steps: int, sizes: list[float], count: int = 120) -> np.ndarray:
    """Demand of the given sizes in turn, once in so many steps."""
    values = np.zeros(count)
    values[::steps] = np.resize(sizes, len(values[::steps]))
    return values


def at_random(share: float, sizes: list[float], count: int = 400) -> np.ndarray:
    noise = np.random.default_rng(5)
    return np.where(noise.random(count) < share, noise.choice(sizes, count), 0.0)


def noise(count: int = 400, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(50, 5, count)


@pytest.mark.parametrize(
    ("values", "kind", "interval", "variation"),
    [
        (every(1, [4.0, 6.0]), Kind.SMOOTH, 1.0, 0.04),
        (every(1, [1.0, 9.0]), Kind.ERRATIC, 1.0, 0.64),
        (every(4, [4.0, 6.0]), Kind.INTERMITTENT, 4.0, 0.04),
        (every(4, [1.0, 9.0]), Kind.LUMPY, 4.0, 0.64),
        (np.full(20, 3.0), Kind.CONSTANT, 1.0, 0.0),
        (np.array([7.0]), Kind.CONSTANT, 1.0, 0.0),
        (np.zeros(20), Kind.EMPTY, math.nan, math.nan),
        (np.empty(0), Kind.EMPTY, math.nan, math.nan),
        (-every(4, [4.0, 6.0]), Kind.INTERMITTENT, 4.0, 0.04),
        (np.array([1.0, -1.0]), Kind.ERRATIC, 1.0, math.inf),
        (every(1, [4e307, 6e307]), Kind.SMOOTH, 1.0, 0.04),
    ],
)
def test_a_series_is_classed_by_the_interval_and_the_variation_of_its_demand(
    values: np.ndarray, kind: Kind, interval: float, variation: float
) -> None:
    found = profile(values, DAILY)
    assert found.kind is kind
    assert found.rows == len(values)
    assert found.interval == pytest.approx(interval, nan_ok=True)
    assert found.variation == pytest.approx(variation, nan_ok=True)


@pytest.mark.parametrize(("share", "kind"), [(0.77, Kind.SMOOTH), (0.74, Kind.INTERMITTENT)])
def test_the_border_of_intermittent_demand_is_one_value_in_1_32_steps(share: float, kind: Kind) -> None:
    values = np.zeros(1000)
    values[: int(1000 * share)] = np.resize([4.0, 6.0], int(1000 * share))
    assert profile(values, ()).kind is kind


step = np.arange(800)


@pytest.mark.parametrize(
    ("values", "seasons"),
    [
        (noise(800) + 5 * np.sin(2 * np.pi * step / 7), (7,)),
        (noise(800) + np.where(step % 7 == 5, 20, 0), (7,)),
        (noise(800) + 0.5 * step + 5 * np.sin(2 * np.pi * step / 7), (7,)),
        (noise(800) * (1 + 0.3 * (step % 7 == 6)) + step, (7,)),
        (np.where(step % 7 < 5, np.maximum(noise(800), 0), 0), (7,)),
    ],
)
def test_a_week_is_found_through_noise_and_trend(values: np.ndarray, seasons: tuple[int, ...]) -> None:
    found = profile(values, (7,))
    assert found.seasons == seasons
    assert 0 < found.strength <= 1


def test_a_year_is_found_where_three_of_them_are_there_and_not_looked_for_where_they_are_not() -> None:
    days = np.arange(365 * 4)
    values = noise(len(days)) + 15 * np.sin(2 * np.pi * days / 365)
    assert 365 in profile(values, DAILY).seasons
    assert 365 not in profile(values[:900], DAILY).seasons


def test_the_strongest_season_comes_first() -> None:
    hours = np.arange(24 * 7 * 6)
    values = noise(len(hours)) + 20 * np.sin(2 * np.pi * hours / 24) + np.where(hours // 24 % 7 > 4, 15, 0)
    found = profile(values, seasons_of("h"))
    assert found.seasons == (168, 24)


@pytest.mark.parametrize("kind", ["noise", "random walk", "trend"])
def test_of_a_hundred_series_without_a_season_at_most_five_are_said_to_have_one(kind: str) -> None:
    made = {
        "noise": lambda seed: noise(300, seed),
        "random walk": lambda seed: np.cumsum(noise(300, seed) - 50),
        "trend": lambda seed: np.arange(300) + noise(300, seed),
    }[kind]
    assert sum(bool(profile(made(seed), (7,)).seasons) for seed in range(100)) <= 5


def test_the_spec_s_own_season_is_looked_for_first() -> None:
    assert seasons_of("D", 10) == (10, 7, 365)
    assert seasons_of("D", 7) == (7, 365)
    assert seasons_of("YS", 1) == ()


@pytest.mark.parametrize("frequency", [*STEPS, "W-MON"])
def test_every_frequency_of_a_spec_has_its_seasons(frequency: str) -> None:
    assert all(season > 1 for season in seasons_of(frequency))


@settings(max_examples=150, deadline=None)
@given(arrays(float, st.integers(0, 120), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_every_series_has_a_profile_that_json_can_hold(values: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        found = profile(values, DAILY)
    told = orjson.loads(orjson.dumps(found.as_dict()))
    assert told["kind"] in set(Kind)
    assert 0 <= found.strength <= 1 + 1e-9
    assert math.isnan(found.interval) or found.interval >= 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.floats(0.001, 1000))
def test_a_change_of_unit_does_not_change_the_profile(seed: int, factor: float) -> None:
    values = np.round(np.random.default_rng(seed).gamma(1, 5, 90))
    one, other = profile(values, (7,)), profile(values * factor, (7,))
    assert (one.kind, one.interval, one.seasons) == (other.kind, other.interval, other.seasons)
    assert other.variation == pytest.approx(one.variation)


# Candidates.


def test_intermittent_demand_without_a_season_leaves_the_families_made_for_it() -> None:
    assert kept(at_random(0.2, [4.0, 6.0]), "auto_arima", "theta", "croston", "tsb", "mean", "lightgbm") == [
        "croston",
        "tsb",
        "mean",
        "lightgbm",
    ]


def test_a_shop_that_is_closed_at_weekends_keeps_its_seasonal_families() -> None:
    values = np.where(np.arange(400) % 7 < 5, noise(), 0)
    assert profile(values, DAILY).kind is Kind.INTERMITTENT
    assert "auto_ets" in kept(values, "auto_ets", "croston", "mstl")


def test_smooth_demand_needs_no_croston_and_no_decomposition_without_a_season() -> None:
    assert kept(noise(), "croston", "tsb", "mstl", "theta", "prophet") == ["theta", "prophet"]


def test_seasons_named_by_the_user_are_not_doubted() -> None:
    own = [Candidate(family="mstl", options={"seasons": [11]}), Candidate(family="theta")]
    assert ruled_out(profile(noise(), DAILY), own) == {}


def test_a_constant_series_needs_no_search() -> None:
    assert kept(np.full(90, 5.0), "auto_arima", "auto_ets", "seasonal_naive", "prophet") == [
        "seasonal_naive",
        "prophet",
    ]


def test_never_are_all_candidates_ruled_out() -> None:
    assert kept(np.full(90, 5.0), "auto_arima", "auto_ets") == ["auto_arima", "auto_ets"]
    assert kept(noise(), "croston") == ["croston"]


def test_a_users_own_family_is_never_ruled_out() -> None:
    assert kept(np.zeros(90), "my.module:Model", "auto_ets") == ["my.module:Model"]


def test_what_is_ruled_out_says_why() -> None:
    out = ruled_out(profile(at_random(0.2, [4.0, 6.0]), DAILY), candidates("auto_ets", "croston"))
    assert list(out) == [0]
    assert out[0].startswith("demand is intermittent, once in ")


def test_only_built_in_families_have_rules() -> None:
    from manymodels_spark.modeling import profile as module

    named = (
        module._INTERMITTENT_ONLY
        | module._SEASONAL_ONLY
        | module._NEEDS_DEMAND
        | set(module._ENOUGH_FOR_A_CONSTANT)
    )
    assert named <= set(registry.addresses())
