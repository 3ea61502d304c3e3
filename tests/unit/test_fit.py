"""One partition from rows to payload: never an exception, the same result for the same rows, the best
candidate chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders import make_spec
from hypothesis import given, settings
from hypothesis import strategies as st

from manymodels_spark.errors import FitError, Reason
from manymodels_spark.families import registry
from manymodels_spark.families.base import Problem
from manymodels_spark.families.naive import Mean
from manymodels_spark.families.statsforecast import Theta
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.backtest import Trial
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.judged import Classes, Judged, Numbers
from manymodels_spark.modeling.payload import open_payload, sha256
from manymodels_spark.modeling.predict import predict_partition
from manymodels_spark.modeling.results import FitResult, Status
from manymodels_spark.modeling.selection import rank, shares_of
from manymodels_spark.spec.model import Backtest, Candidate, Spec

HERE = Path("unused")
KEY = PartitionKey.of({"store": 3, "item": "a"})


class Broken(Mean):
    """A user's family that cannot fit."""

    name = "broken"

    def fit(self, rows: pd.DataFrame, problem: Any) -> float:
        raise ZeroDivisionError("no good")


class Greedy(Mean):
    """A user's family that needs more memory than there is."""

    name = "greedy"

    def fit(self, rows: pd.DataFrame, problem: Any) -> float:
        raise MemoryError("too much")


class Spoiled(Mean):
    """A user's family that predicts no numbers."""

    name = "spoiled"

    def predict(self, model: float, future: pd.DataFrame, problem: Any) -> Any:
        return np.full(len(future), np.nan)


class Forgetful(Mean):
    """A user's family that fits folds, perfectly, but not all rows."""

    name = "forgetful"

    def fit(self, rows: pd.DataFrame, problem: Any) -> float:
        if len(rows) == 60:
            raise ZeroDivisionError("not with all rows")
        return super().fit(rows, problem)


class Namesake(Theta):
    """A user's family that inherits the name of the built-in one it changes."""

    def predict(self, model: Any, future: pd.DataFrame, problem: Any) -> Any:
        return super().predict(model, future, problem) + 1000


class WarmMean(Mean):
    """A user's family that predicts the mean of its start and of the rows, and ignores a start of None."""

    name = "warm_mean"
    warm_start = True  # type: ignore[assignment]

    def fit(self, rows: pd.DataFrame, problem: Any) -> float:
        return (
            super().fit(rows, problem)
            if problem.start is None
            else (problem.start + super().fit(rows, problem)) / 2
        )


class Newer(WarmMean):
    """The same in a version whose state means something else."""

    name = "newer"


HERE_MODULE = __name__


def own(name: str) -> str:
    return f"{HERE_MODULE}:{name}"


def series(count: int = 60) -> pd.DataFrame:
    """A daily series with a week and noise; its partition's columns are there too."""
    step = np.arange(count)
    units = 50 + 10 * np.sin(2 * np.pi * step / 7) + np.random.default_rng(2).normal(0, 1, count)
    return pd.DataFrame(
        {"store": 3, "item": "a", "date": pd.date_range("2026-01-01", periods=count), "units": units}
    )


def table(count: int = 40) -> pd.DataFrame:
    x = np.random.default_rng(4).normal(0, 1, count)
    return pd.DataFrame({"x": x, "y": 3 * x, "label": np.where(x > 0, "up", "down")})


def forecast(**changes: Any) -> Spec:
    return make_spec(HERE, **{"candidates": ["mean", "seasonal_naive"], "backtest": {"folds": 2}, **changes})


def classification(**changes: Any) -> Spec:
    parts = {
        "task": "classification",
        "columns": {"target": "label", "features": ["x"]},
        "candidates": ["linear"],
    }
    return make_spec(HERE, **{**parts, **changes})


def failed(result: FitResult) -> Reason:
    assert result.status is Status.FAILED
    assert result.payload is None
    assert result.failure is not None
    assert result.failure.message
    assert result.failure.advice
    return result.failure.reason


# What a partition may bring, and under which code it is set aside.


@pytest.mark.parametrize(
    ("rows", "changes", "reason"),
    [
        (series(14), {}, Reason.TOO_SHORT),
        (series(1), {}, Reason.TOO_SHORT),
        (series().assign(units=np.nan), {}, Reason.ALL_NULL),
        (series(0), {}, Reason.ALL_NULL),
        (series().assign(units=[*[1.0] * 59, np.inf]), {}, Reason.NOT_FINITE),
        (series().assign(units=np.resize([1e308, -1e308], 60)), {"candidates": ["naive"]}, Reason.NOT_FINITE),
        (series().assign(units=["many"] + ["1"] * 59), {}, Reason.NOT_NUMERIC),
        (series().assign(units=[[1.0]] * 60), {}, Reason.NOT_NUMERIC),
        (series().assign(units=series()["date"]), {}, Reason.NOT_NUMERIC),
        (pd.concat([series(), series().head(1)]), {}, Reason.DUPLICATE_TIMES),
        (series().assign(date=[pd.NaT, *series()["date"][1:]]), {}, Reason.BAD_TIMES),
        (series().assign(date=["31 February 2026"] * 60), {}, Reason.BAD_TIMES),
        (series().assign(date=range(60)), {}, Reason.BAD_TIMES),
        (series().drop(columns="units"), {}, Reason.MISSING_FEATURE),
        (series().drop(columns="date"), {}, Reason.MISSING_FEATURE),
        (
            series(),
            {"columns": {"time": "date", "target": "units", "known_future": ["price"]}},
            Reason.MISSING_FEATURE,
        ),
        (
            series().assign(price=np.nan),
            {"columns": {"time": "date", "target": "units", "known_future": ["price"]}},
            Reason.MISSING_FEATURE,
        ),
        (series(), {"candidates": [own("Broken")]}, Reason.FIT_FAILED),
        (series(), {"candidates": [own("Spoiled")]}, Reason.FIT_FAILED),
        (series(), {"candidates": ["no.such:Family"]}, Reason.FIT_FAILED),
        (series(), {"candidates": [own("Greedy")]}, Reason.OUT_OF_MEMORY),
        (series(), {"candidates": [own("Greedy"), own("Broken")]}, Reason.FIT_FAILED),
        (series(20), {"candidates": ["linear"]}, Reason.TOO_SHORT),
    ],
)
def test_a_bad_series_is_set_aside_under_its_own_code(
    rows: pd.DataFrame, changes: Any, reason: Reason
) -> None:
    result = fit_partition(rows, forecast(**changes), KEY)
    assert failed(result) is reason
    assert result.rows == len(rows)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (table().assign(label="up"), Reason.ONE_CLASS),
        (table().assign(label=None), Reason.ALL_NULL),
        (table(9), Reason.TOO_SHORT),
        (table().drop(columns="x"), Reason.MISSING_FEATURE),
        (table().assign(label=[f"class {n}" for n in range(40)]), Reason.TOO_SHORT),
    ],
)
def test_a_bad_table_is_set_aside_under_its_own_code(rows: pd.DataFrame, reason: Reason) -> None:
    assert failed(fit_partition(rows, classification(), KEY)) is reason


def test_the_failure_of_every_candidate_is_told_with_its_name() -> None:
    result = fit_partition(series(), forecast(candidates=[own("Broken"), own("Spoiled")]), KEY)
    assert result.failure is not None
    assert "Broken: ZeroDivisionError: no good" in result.failure.message
    assert "Spoiled: FitError" in result.failure.message


def test_an_error_in_the_package_itself_is_kept_with_its_traceback() -> None:
    result = fit_partition(series(), forecast(candidates=[{"theta": {"seson": 7}}]), KEY)
    assert failed(result) is Reason.FIT_FAILED
    assert result.failure is not None
    assert "seson" in result.failure.message
    assert "Traceback" in (result.failure.exception or "")


class Bomb:
    def __float__(self) -> float:
        raise RuntimeError("boom")

    __str__ = __repr__ = lambda self: "bomb"


cells = st.one_of(
    st.none(),
    st.floats(),
    st.integers(-(2**70), 2**70),
    st.text(max_size=3),
    st.booleans(),
    st.dates(),
    st.just(Bomb()),
    st.decimals(),
    st.just(pd.NA),
    st.just(pd.NaT),
    st.datetimes(),
    st.binary(max_size=2),
    st.just([1]),
    st.just({}),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(cells, cells), max_size=40),
    st.sampled_from(["forecast", "regression", "classification"]),
)
def test_whatever_the_cells_hold_a_fit_never_raises(values: list[tuple[Any, Any]], task: str) -> None:
    rows = pd.DataFrame(
        {
            "date": pd.Series([a for a, _ in values], dtype=object),
            "units": pd.Series([b for _, b in values], dtype=object),
        }
    )
    spec = forecast(task=task, horizon=2, candidates=["majority" if task == "classification" else "mean"])
    result = fit_partition(rows, spec, KEY)
    assert (result.payload is None) == (result.failure is not None)
    assert result.status in (Status.FITTED, Status.FAILED)


# Rows that look odd and are fitted all the same.


@pytest.mark.parametrize(
    "rows",
    [
        series().sample(frac=1, random_state=1),
        series().set_index(np.zeros(60, dtype=int)),
        series().assign(units=lambda rows: rows["units"].astype(str)),
        series().assign(units=lambda rows: [Decimal(str(value)) for value in rows["units"]]),
        series().assign(units=lambda rows: rows["units"].astype("Float64")),
        series().assign(date=lambda rows: rows["date"].dt.date),
        series().assign(date=lambda rows: rows["date"].astype(str)),
        series().assign(date=lambda rows: rows["date"].dt.tz_localize("UTC")),
        series().assign(date=lambda rows: rows["date"].dt.strftime("%Y-%m-%dT%H:%M:%S+00:00")),
        pd.concat(
            [series(), series().tail(5).assign(units=np.nan, date=pd.date_range("2027-01-01", periods=5))]
        ),
    ],
)
def test_order_index_types_and_rows_without_target_do_not_change_the_model(rows: pd.DataFrame) -> None:
    plain = fit_partition(series(), forecast(), KEY)
    odd = fit_partition(rows, forecast(), KEY)
    assert odd.status is Status.FITTED, odd.failure
    assert odd.family == plain.family == "seasonal_naive"
    assert odd.metrics == pytest.approx(plain.metrics)
    assert odd.cutoff == plain.cutoff == "2026-03-01T00:00:00"


@pytest.mark.parametrize(
    ("frequency", "cutoff"), [("D", "2026-12-21T19:00:00"), ("h", "2026-10-26T11:00:00")]
)
def test_times_with_a_zone_become_local_ones_and_below_a_day_those_of_utc_and_others_stay(
    frequency: str, cutoff: str
) -> None:
    start = "2026-10-24" if frequency == "h" else "2026-10-24 00:00"
    times = pd.date_range(start, periods=60, freq=frequency, tz="UTC")
    spec = forecast(
        columns={"time": "date", "target": "units", "frequency": frequency},
        prepare={"timezone": "America/Lima"},
    )
    text = [time.isoformat() for time in times.tz_convert("Europe/Madrid")]
    kept = times.tz_convert("UTC" if frequency == "h" else "America/Lima").tz_localize(None)
    found = [fit_partition(series().assign(date=given), spec, KEY).cutoff for given in (times, text, kept)]
    assert found == [cutoff] * 3


def test_an_hour_that_the_clock_repeats_is_two_hours() -> None:
    hours = pd.date_range("2026-10-24", periods=60, freq="h", tz="UTC").tz_convert("Europe/Madrid")
    columns = {"time": "date", "target": "units", "frequency": "h"}
    spec = forecast(columns=columns, prepare={"timezone": "Europe/Madrid"})
    result = fit_partition(series().assign(date=hours), spec, KEY)
    assert (result.status, result.rows) == (Status.FITTED, 60)


def test_the_hour_of_a_day_is_the_local_one_on_both_sides_of_a_change_of_the_clock() -> None:
    problem = Problem.of(
        forecast(
            columns={"time": "date", "target": "units", "frequency": "h"},
            prepare={"timezone": "Europe/Madrid"},
        )
    )
    opening = pd.DatetimeIndex(["2026-10-24 07:00", "2026-10-26 08:00"])  # nine o'clock in Madrid
    assert problem.local(opening).hour.tolist() == [9, 9]


@pytest.mark.parametrize(
    "rows",
    [
        series().assign(units=0.0),
        series().assign(units=7),
        series().assign(units=lambda rows: rows["units"] * 1e-9),
        series().assign(units=lambda rows: rows["units"] * -1e12),
        series().assign(
            date=[*pd.date_range("2023-01-01", periods=30), *pd.date_range("2025-03-01", periods=30)]
        ),
        series().assign(date=pd.date_range("2099-01-01", periods=60)),
        series().assign(date=pd.date_range("2024-01-10", periods=60)),
        series().assign(date=[date(1, 1, 1), *series()["date"][1:]]).iloc[1:],
        series(16),
    ],
)
def test_constants_gaps_of_years_leap_days_future_dates_and_short_series_are_fitted(
    rows: pd.DataFrame,
) -> None:
    result = fit_partition(rows, forecast(candidates=["auto_ets", "theta", "seasonal_naive"]), KEY)
    assert result.status is Status.FITTED, result.failure
    assert result.payload is not None
    predicted = predict_partition(result.payload)
    assert len(predicted) == 7
    assert np.isfinite(predicted.drop(columns="date").to_numpy()).all()


def test_bad_rows_may_be_dropped_where_the_spec_says_so() -> None:
    rows = series().assign(units=[np.inf, *series()["units"][1:]], date=[*series()["date"][:-1], pd.NaT])
    result = fit_partition(rows, forecast(prepare={"not_finite": "drop", "bad_times": "drop"}), KEY)
    assert result.status is Status.FITTED
    assert (result.start, result.cutoff) == ("2026-01-02T00:00:00", "2026-02-28T00:00:00")


# Determinism.

PROPHET = {"prophet": {"weekly": True, "yearly": False, "daily": False, "solver": "stan"}}


def test_the_same_rows_in_any_order_give_the_same_payload_bit_for_bit() -> None:
    spec = forecast(
        candidates=["prophet", "auto_ets", {"gradient_boosting": {"iterations": 10}}], combine="best_3"
    )
    first = fit_partition(series(), spec, KEY)
    again = fit_partition(series().sample(frac=1, random_state=3), spec, KEY)
    assert first.payload is not None
    assert again.sha256 == first.sha256 == sha256(first.payload)
    assert again.metrics == first.metrics


def test_a_warm_start_is_an_input_of_the_fit_on_all_rows_and_of_no_fold() -> None:
    cold = fit_partition(series(), forecast(candidates=[PROPHET]), KEY)
    spec = forecast(candidates=[{"prophet": {**PROPHET["prophet"], "warm_start": True}}])
    first = fit_partition(series(), spec, KEY)
    warm, again = (fit_partition(series(), spec, KEY, cold.payload) for _ in range(2))
    assert (first.started_from, warm.started_from) == (None, cold.sha256)
    assert warm.sha256 == again.sha256 != first.sha256, "the same start gives the same model, bit for bit"
    assert warm.metrics == first.metrics, "the backtest does not know of it"
    unasked = fit_partition(series(), forecast(candidates=[PROPHET]), KEY, cold.payload)
    assert (unasked.sha256, unasked.started_from) == (cold.sha256, None)


def test_a_users_own_family_begins_at_its_own_state_and_the_record_says_so() -> None:
    spec = forecast(candidates=[own("WarmMean")])
    cold = fit_partition(series(), spec, KEY)
    assert cold.payload is not None
    warm = fit_partition(series().assign(units=0.0), spec, KEY, cold.payload)
    assert warm.payload is not None
    assert open_payload(warm.payload)["members"][0]["state"] == pytest.approx(series()["units"].mean() / 2)
    assert warm.started_from == cold.sha256


@pytest.mark.parametrize("champion", ["seasonal_naive", "mean", own("Namesake")])
def test_no_start_is_recorded_where_the_champion_is_of_another_family(champion: str) -> None:
    before = fit_partition(series(), forecast(candidates=[champion]), KEY)
    assert before.payload is not None
    spec = forecast(candidates=[own("WarmMean")])
    found = fit_partition(series(), spec, KEY, before.payload)
    assert (found.sha256, found.started_from) == (fit_partition(series(), spec, KEY).sha256, None)


def test_a_state_of_another_version_of_the_family_is_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = forecast(candidates=[own("Newer")])
    before = fit_partition(series(), spec, KEY)
    monkeypatch.setattr(Newer, "version", 2)
    after = fit_partition(series().assign(units=0.0), spec, KEY, before.payload)
    assert after.started_from is None
    assert after.payload is not None
    assert open_payload(after.payload)["members"][0]["state"] == 0


def test_a_start_is_recorded_where_any_member_of_a_combination_had_one() -> None:
    before = fit_partition(series(), forecast(candidates=[own("WarmMean")]), KEY)
    spec = forecast(candidates=["seasonal_naive", own("WarmMean")], combine="best_2")
    assert fit_partition(series(), spec, KEY, before.payload).started_from == before.sha256
    alone = forecast(candidates=["seasonal_naive", own("WarmMean")])
    chosen = fit_partition(series(), alone, KEY, before.payload)
    assert (chosen.family, chosen.started_from) == ("seasonal_naive", None)


def test_another_partition_has_another_seed() -> None:
    spec = classification(candidates=[{"random_forest": {"trees": 5}}])
    shas = {fit_partition(table(), spec, PartitionKey.of({"store": number})).sha256 for number in (1, 1, 2)}
    assert len(shas) == 2


# The choice.


def test_the_best_candidate_by_the_metric_is_the_champion_and_every_candidate_has_its_scores() -> None:
    result = fit_partition(series(), forecast(candidates=["mean", "seasonal_naive", own("Broken")]), KEY)
    assert result.status is Status.FITTED
    assert (result.family, result.families) == ("seasonal_naive", ("seasonal_naive",))
    by_name = {score.candidate: score for score in result.scores}
    assert by_name["seasonal_naive"].metrics["wape"] < by_name["mean"].metrics["wape"]
    assert len(by_name["mean"].folds) == 2
    assert by_name["mean"].metrics["mae"] == pytest.approx(
        np.mean([fold["mae"] for fold in by_name["mean"].folds])
    )
    assert by_name[own("Broken")].error == "ZeroDivisionError: no good"
    assert result.metrics["wape"] == by_name["seasonal_naive"].metrics["wape"]
    assert result.metrics["seasonal_naive_wape"] == result.metrics["wape"]


def test_the_metrics_are_those_of_predicting_the_last_rows_from_the_ones_before() -> None:
    result = fit_partition(series(), forecast(candidates=["seasonal_naive"], backtest={"folds": 1}), KEY)
    units = series()["units"].to_numpy()
    assert result.metrics["mae"] == pytest.approx(np.abs(units[-7:] - units[-14:-7]).mean())


def test_the_reference_is_measured_even_where_it_is_no_candidate() -> None:
    result = fit_partition(series(), forecast(candidates=["mean"]), KEY)
    assert 0 < result.metrics["seasonal_naive_wape"] < result.metrics["wape"]


def _trial(name: str, metric: str, *values: float, size: float = 1.0) -> Trial:
    """A trial whose folds have these values of a metric."""
    judged = [_judged(metric, value) for value in values]
    return Trial(name, registry.build(Candidate(family=name)), [], judged, size=size)


def _judged(metric: str, value: float) -> Judged:
    if metric == "accuracy":
        right = round(10 * value)
        return Classes(["a"] * 10, np.eye(2)[[0] * right + [1] * (10 - right)], ["a", "b"])
    if metric == "r2":
        return Numbers(np.array([0.0, 2.0]), np.array([0.0, 2.0]) + math.sqrt(1 - value))
    actual = np.full(3, 0.0 if metric == "rmse" else 1.0)
    return Numbers(actual, actual + value)


@pytest.mark.parametrize(
    ("metric", "values", "order"),
    [
        ("wape", {"mean": 0.3, "naive": 0.2, "theta": 0.1}, ["theta", "naive", "mean"]),
        ("wape", {"auto_ets": 0.2, "naive": 0.2, "theta": 0.2}, ["naive", "theta", "auto_ets"]),
        ("bias", {"mean": -5.0, "naive": 1.0, "theta": 3.0}, ["naive", "theta", "mean"]),
        ("accuracy", {"mean": 0.3, "naive": 0.9, "theta": 0.1}, ["naive", "mean", "theta"]),
        ("r2", {"mean": -2.0, "naive": 0.5}, ["naive", "mean"]),
    ],
)
def test_candidates_are_ranked_by_the_metrics_sense_and_ties_go_to_the_cheaper(
    metric: str, values: dict[str, float], order: list[str]
) -> None:
    trials = [_trial(name, metric, value) for name, value in values.items()]
    assert [trial.name for trial in rank(trials, metric, 1000)] == order


@pytest.mark.parametrize("metric", ["mae", "rmse", "bias", "pinball", "wape"])
@pytest.mark.parametrize("unit", [1e-13, 1.0, 1e13])
def test_the_unit_of_the_targets_does_not_change_the_choice(metric: str, unit: float) -> None:
    noisy = series()["units"] + np.random.default_rng(1).normal(0, 8, 60)
    rows = series().assign(units=noisy * unit)
    spec = forecast(candidates=["naive", "mean"], backtest={"folds": 2, "metric": metric})
    assert fit_partition(rows, spec, KEY).family == "mean"


@pytest.mark.parametrize("unit", [1e-13, 1.0, 1e13])
def test_what_only_rounding_tells_apart_is_a_tie(unit: float) -> None:
    errors = {"theta": 1e-15, "naive": 3e-15}
    trials = [_trial(name, "rmse", error * unit, size=unit) for name, error in errors.items()]
    assert [trial.name for trial in rank(trials, "rmse", 1000)] == ["naive", "theta"]


def test_biases_of_folds_that_cancel_each_other_do_not_win() -> None:
    wild, steady = _trial("naive", "bias", 100.0, -100.0), _trial("theta", "bias", 1.0, 1.0)
    assert [trial.name for trial in rank([wild, steady], "bias", 100)] == ["theta", "naive"]
    spec = forecast(combine="weighted_best_2", backtest={"folds": 2, "metric": "bias"})
    assert shares_of([steady, wild], spec) == pytest.approx([1.0, 0.0], abs=1e-3)


def test_a_bias_is_told_with_its_sign() -> None:
    rows = series().assign(units=np.arange(60.0))
    spec = forecast(candidates=["naive"], backtest={"folds": 2, "metric": "bias"})
    result = fit_partition(rows, spec, KEY)
    assert result.metrics["bias"] == result.scores[0].metrics["bias"] == -4.0


def test_where_the_metric_cannot_be_computed_the_squared_error_decides() -> None:
    rows = series().assign(units=[*np.arange(1.0, 46), *np.zeros(15)])
    result = fit_partition(rows, forecast(candidates=["naive", "mean"], backtest={"folds": 1}), KEY)
    assert result.family == "naive"
    trials = [_trial("mean", "rmse", 2.0), _trial("naive", "rmse", 3.0)]
    assert [trial.name for trial in rank(trials, "wape", 10)] == ["mean", "naive"]


def test_a_trial_without_the_metric_ranks_behind_those_with_it() -> None:
    trials = [_trial("naive", "rmse", 1.0), _trial("theta", "wape", 9.0)]
    assert [trial.name for trial in rank(trials, "wape", 10)] == ["theta", "naive"]


# Combination, refit, fallback.


@pytest.mark.parametrize(
    ("combine", "how"), [("best_3", np.mean), ("mean_best_3", np.mean), ("median_best_3", np.median)]
)
def test_a_combination_predicts_the_mean_or_the_median_of_its_members(
    combine: str, how: Callable[..., Any]
) -> None:
    candidates = ["theta", "seasonal_naive", "mean", "auto_ets"]
    result = fit_partition(series(), forecast(candidates=candidates, combine=combine), KEY)
    assert result.payload is not None
    assert len(set(result.families)) == 3
    assert "mean" not in result.families
    alone = [fit_partition(series(), forecast(candidates=[name]), KEY).payload for name in result.families]
    members = [predict_partition(payload)["prediction"].to_numpy() for payload in alone if payload]
    found = predict_partition(result.payload)["prediction"].to_numpy()
    np.testing.assert_allclose(found, how(members, axis=0))
    name = "median_best_3" if combine.startswith("median") else "mean_best_3"
    assert result.family == name
    assert [score.candidate for score in result.scores] == [*candidates, name]
    assert result.metrics["wape"] == result.scores[-1].metrics["wape"]


def test_a_combination_of_more_than_there_are_takes_those_that_work() -> None:
    spec = forecast(candidates=["mean", own("Broken"), "seasonal_naive"], combine="best_3")
    result = fit_partition(series(), spec, KEY)
    assert (result.family, set(result.families)) == ("mean_best_2", {"mean", "seasonal_naive"})
    alone = fit_partition(series(), forecast(candidates=["mean", own("Broken")], combine="best_3"), KEY)
    assert alone.family == "mean"


def test_a_combination_of_classifiers_is_judged_by_the_classes_of_each_fold() -> None:
    rows = table(30).assign(label=["rare", "rare", *["up", "down"] * 14])
    spec = classification(candidates=["linear", "majority"], combine="best_2", backtest={"folds": 3})
    result = fit_partition(rows, spec, KEY)
    assert result.status is Status.FITTED, result.failure
    assert result.payload is not None
    assert open_payload(result.payload)["members"][0]["classes"] == ["down", "rare", "up"]
    assert set(predict_partition(result.payload, future=rows)["prediction"]) <= {"down", "rare", "up"}


def test_with_refit_the_model_knows_all_rows_and_without_it_those_before_the_latest_fold() -> None:
    refitted = fit_partition(series(), forecast(candidates=["naive"]), KEY)
    kept = fit_partition(series(), forecast(candidates=["naive"], refit=False), KEY)
    assert (refitted.cutoff, kept.cutoff) == ("2026-03-01T00:00:00", "2026-02-22T00:00:00")
    assert refitted.payload is not None
    assert kept.payload is not None
    units = series()["units"].to_numpy()
    assert predict_partition(refitted.payload)["prediction"].iloc[0] == units[59]
    assert predict_partition(kept.payload)["prediction"].iloc[0] == units[52]
    assert predict_partition(kept.payload)["date"].iloc[0] == pd.Timestamp("2026-02-23")


def test_a_champion_that_cannot_be_fitted_on_all_rows_gives_way_to_the_next() -> None:
    rows = series().assign(units=5.0 + 1e-9 * np.arange(60))
    result = fit_partition(
        rows, forecast(candidates=[own("Forgetful"), "seasonal_naive"], backtest={"folds": 1}), KEY
    )
    assert result.status is Status.FITTED
    assert result.family == "seasonal_naive"
    alone = fit_partition(rows, forecast(candidates=[own("Forgetful")], backtest={"folds": 1}), KEY)
    assert failed(alone) is Reason.FIT_FAILED


@pytest.mark.parametrize(
    ("rows", "candidates", "cause"),
    [
        (series(10), ["theta"], "too_short"),
        (series(1), ["theta"], "too_short"),
        (series(), [own("Broken")], "fit_failed"),
        (series(), [own("Greedy")], "out_of_memory"),
    ],
)
def test_the_fallback_fits_what_the_candidates_cannot_and_is_marked_as_such(
    rows: pd.DataFrame, candidates: list[str], cause: str
) -> None:
    result = fit_partition(rows, forecast(candidates=candidates, fallback="seasonal_naive"), KEY)
    assert result.status is Status.FALLBACK
    assert (result.family, result.failure) == ("seasonal_naive", None)
    assert (result.scores[0].error or "").startswith(f"fallback, since {cause}")
    assert result.payload is not None
    predicted = predict_partition(result.payload)
    assert predicted["prediction"].iloc[0] == rows["units"].iloc[-7:].iloc[0]
    assert predicted["lower_80"].isna().all()


def test_one_class_only_falls_back_to_the_majority() -> None:
    result = fit_partition(table().assign(label="up"), classification(fallback="majority"), KEY)
    assert result.status is Status.FALLBACK
    assert result.payload is not None
    predicted = predict_partition(result.payload, future=table(3))
    assert list(predicted["prediction"]) == ["up"] * 3
    assert list(predicted["probability"]) == [1.0] * 3


def test_where_the_fallback_fails_too_the_first_cause_stays_the_reason() -> None:
    result = fit_partition(series(5), forecast(fallback=own("Broken")), KEY)
    assert failed(result) is Reason.TOO_SHORT
    assert result.failure is not None
    assert "the fallback broken failed too: ZeroDivisionError: no good" in result.failure.message


def test_rows_that_hold_nothing_are_not_given_to_the_fallback() -> None:
    assert (
        failed(fit_partition(series().assign(units=np.nan), forecast(fallback="seasonal_naive"), KEY))
        is Reason.ALL_NULL
    )


def test_a_users_own_class_is_stored_by_its_address_and_predicts_again() -> None:
    result = fit_partition(series(), forecast(candidates=[own("Forgetful")], refit=False), KEY)
    assert result.payload is not None
    assert open_payload(result.payload)["members"][0]["family"] == own("Forgetful")
    predicted = predict_partition(result.payload, families=[own("Forgetful")])["prediction"]
    assert predicted.iloc[0] == pytest.approx(series()["units"].head(53).mean())


def test_a_users_class_that_inherits_a_built_in_name_is_not_stored_as_the_built_in() -> None:
    built_in = fit_partition(series(), forecast(candidates=["theta"]), KEY).payload
    for parts in (
        {"candidates": [own("Namesake")]},
        {"candidates": [own("Broken")], "fallback": own("Namesake")},
    ):
        result = fit_partition(series(), forecast(**parts), KEY)
        assert result.payload is not None
        assert built_in is not None
        assert open_payload(result.payload)["members"][0]["family"] == own("Namesake")
        assert (result.family, result.families) == (own("Namesake"), (own("Namesake"),))
        predicted = predict_partition(result.payload, families=[own("Namesake")])["prediction"]
        np.testing.assert_allclose(predicted, predict_partition(built_in)["prediction"] + 1000)


class Picky(Backtest):
    """A backtest that leaves out what the profile of a series rules out."""

    rule_out: bool = True


def test_candidates_that_the_profile_rules_out_are_not_fitted_and_say_why() -> None:
    spec = forecast(candidates=["seasonal_naive", own("Broken"), "croston"])
    asked = spec.model_copy(update={"backtest": Picky(folds=2)})
    result = fit_partition(series(), asked, KEY)
    assert result.family == "seasonal_naive"
    last = result.scores[-1]
    assert (last.candidate, last.seconds, last.metrics) == ("croston", 0.0, {})
    assert last.error == "ruled out: croston is for intermittent demand, and there is some every 1.00 steps"
    assert "wape" in fit_partition(series(), spec, KEY).scores[-1].metrics


def test_seconds_inside_families_are_part_of_the_whole() -> None:
    result = fit_partition(series(), forecast(candidates=["auto_ets"]), KEY)
    assert 0 < result.family_seconds < result.seconds
    assert sum(score.seconds for score in result.scores) < result.family_seconds


def test_a_fit_error_keeps_its_reason_through_a_pipe() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(FitError(Reason.TOO_SHORT, "3 rows")))
    assert (error.reason, str(error)) == (Reason.TOO_SHORT, "3 rows")
