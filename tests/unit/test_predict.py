"""A payload and rows in, predictions out: the steps asked for, in order, with intervals, or a reason why
not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders import make_spec

from manymodels_spark.errors import FitError, ManyModelsError, PayloadError, Reason
from manymodels_spark.families.naive import Naive
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.payload import open_payload, seal, sha256
from manymodels_spark.modeling.predict import LoadedPartition, predict_partition

KEY = PartitionKey.of({"store": 1})
LAST = pd.Timestamp("2026-03-01")


def payload_of(rows: pd.DataFrame, **changes: Any) -> bytes:
    result = fit_partition(rows, make_spec(Path("unused"), **changes), KEY)
    assert result.payload is not None, result.failure
    return result.payload


def series(count: int = 60, frequency: str = "D") -> pd.DataFrame:
    step = np.arange(count, dtype=float)
    times = pd.date_range(end=LAST, periods=count, freq=frequency)
    return pd.DataFrame({"date": times, "units": step % 7 + 0.01 * step, "price": 5 + step % 3})


@pytest.fixture(scope="module")
def weekly_pattern() -> LoadedPartition:
    return LoadedPartition(
        payload_of(series(), horizon=7, candidates=["seasonal_naive"], backtest={"folds": 3})
    )


@pytest.fixture(scope="module")
def with_price() -> LoadedPartition:
    price = np.random.default_rng(8).choice([5.0, 6.0, 7.0, 8.0], 60)
    rows = series().assign(price=price, units=100 - 10 * price)
    columns = {"time": "date", "target": "units", "known_future": ["price"]}
    return LoadedPartition(
        payload_of(rows, columns=columns, candidates=[{"linear": {"alpha": 0.0, "calendar": False}}])
    )


# Forecasts: which steps.


def test_by_default_the_horizon_after_the_cutoff_is_predicted(weekly_pattern: LoadedPartition) -> None:
    found = weekly_pattern.predict()
    assert list(found.columns) == ["date", "prediction", "lower_80", "upper_80", "lower_95", "upper_95"]
    assert list(found["date"]) == list(pd.date_range("2026-03-02", periods=7))
    np.testing.assert_array_equal(found["prediction"], series()["units"].tail(7))


def test_another_horizon_gives_as_many_steps(weekly_pattern: LoadedPartition) -> None:
    assert len(weekly_pattern.predict(horizon=3)) == 3
    long = weekly_pattern.predict(horizon=30)
    assert long["date"].iloc[-1] == pd.Timestamp("2026-03-31")
    np.testing.assert_array_equal(long["prediction"][7:14], long["prediction"][:7])


@pytest.mark.parametrize(
    ("since", "first"),
    [
        ("2026-03-05", "2026-03-06"),
        ("2026-03-05 12:00", "2026-03-06"),
        ("2026-02-01", "2026-03-02"),
        ("2026-03-01", "2026-03-02"),
    ],
)
def test_steps_start_after_the_given_time_but_never_before_the_cutoff(
    weekly_pattern: LoadedPartition, since: str, first: str
) -> None:
    found = weekly_pattern.predict(since=pd.Timestamp(since), horizon=4)
    assert list(found["date"]) == list(pd.date_range(first, periods=4))
    later = weekly_pattern.predict(horizon=20).set_index("date")["prediction"]
    np.testing.assert_array_equal(found["prediction"], later.loc[found["date"]])


def test_given_times_are_answered_in_their_own_order(weekly_pattern: LoadedPartition) -> None:
    wanted = pd.DataFrame({"date": pd.to_datetime(["2026-03-10", "2026-03-03", "2026-03-10"])})
    found = weekly_pattern.predict(future=wanted)
    assert list(found["date"]) == list(wanted["date"])
    by_date = weekly_pattern.predict(horizon=20).set_index("date")["prediction"]
    np.testing.assert_array_equal(found["prediction"], by_date.loc[wanted["date"]])


def test_times_may_be_given_as_text(weekly_pattern: LoadedPartition) -> None:
    found = weekly_pattern.predict(future=pd.DataFrame({"date": ["2026-03-03"]}))
    assert found["prediction"].iloc[0] == weekly_pattern.predict()["prediction"].iloc[1]


def test_times_that_the_model_has_seen_or_that_are_no_steps_have_no_prediction(
    weekly_pattern: LoadedPartition,
) -> None:
    wanted = pd.DataFrame(
        {
            "date": pd.to_datetime(
                ["2026-02-27", "2026-03-02", "2026-03-02 13:00", "2026-03-04"], format="mixed"
            )
        }
    )
    assert list(weekly_pattern.predict(future=wanted)["prediction"].isna()) == [True, False, True, False]


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [
        ("h", ["2026-03-01 01:00", "2026-03-01 02:00"]),
        ("15min", ["2026-03-01 00:15", "2026-03-01 00:30"]),
        ("B", ["2026-03-02", "2026-03-03"]),
        ("W", ["2026-03-08", "2026-03-15"]),
        ("W-SUN", ["2026-03-08", "2026-03-15"]),
        ("MS", ["2026-04-01", "2026-05-01"]),
        ("QS", ["2026-04-01", "2026-07-01"]),
        ("YS", ["2027-01-01", "2028-01-01"]),
        ("ME", ["2026-03-31", "2026-04-30"]),
    ],
)
def test_steps_follow_the_frequency(frequency: str, expected: list[str]) -> None:
    spacing = frequency if frequency != "W" else "W-SUN"
    columns = {"time": "date", "target": "units", "frequency": frequency}
    found = predict_partition(payload_of(series(frequency=spacing), columns=columns, horizon=2))
    assert list(found["date"]) == [pd.Timestamp(text) for text in expected]


def test_weeks_go_on_from_the_weekday_of_the_rows() -> None:
    rows = series().assign(date=pd.date_range(end="2026-02-25", periods=60, freq="7D"))
    columns = {"time": "date", "target": "units", "frequency": "W"}
    found = predict_partition(payload_of(rows, columns=columns, horizon=2))
    assert list(found["date"]) == [pd.Timestamp("2026-03-04"), pd.Timestamp("2026-03-11")]


def test_a_february_of_29_days_is_a_step_like_others() -> None:
    rows = series().assign(date=pd.date_range(end="2028-02-27", periods=60))
    found = predict_partition(payload_of(rows, horizon=3))
    assert [str(date.date()) for date in found["date"]] == ["2028-02-28", "2028-02-29", "2028-03-01"]


def test_years_of_steps_at_once_are_refused(weekly_pattern: LoadedPartition) -> None:
    assert len(weekly_pattern.predict(horizon=80_000)) == 80_000
    with pytest.raises(FitError, match="reach beyond the year 2262"):
        weekly_pattern.predict(horizon=99_000)
    hourly = LoadedPartition(
        payload_of(series(frequency="h"), columns={"time": "date", "target": "units", "frequency": "h"})
    )
    assert len(hourly.predict(horizon=100_000)) == 100_000
    for asked in ({"horizon": 100_001}, {"horizon": 10**12}, {"since": pd.Timestamp("2040-01-01")}):
        with pytest.raises(FitError, match="more than 100000 steps from the cutoff 2026-03-01"):
            hourly.predict(**asked)


def test_only_times_before_the_cutoff_are_refused(weekly_pattern: LoadedPartition) -> None:
    with pytest.raises(FitError, match="no step after the cutoff"):
        weekly_pattern.predict(future=series().head(3))


def test_rows_without_their_time_or_with_a_zone_are_refused_by_name(weekly_pattern: LoadedPartition) -> None:
    with pytest.raises(FitError, match="column date is missing") as caught:
        weekly_pattern.predict(future=pd.DataFrame({"day": [1]}))
    assert caught.value.reason is Reason.MISSING_FEATURE
    with pytest.raises(FitError, match="1 of 2 rows have no valid date"):
        weekly_pattern.predict(future=pd.DataFrame({"date": ["2026-03-02", "tomorrow"]}))
    zoned = pd.DataFrame({"date": pd.date_range("2026-03-02", periods=2, tz="Europe/Madrid")})
    with pytest.raises(FitError, match="time zone Europe/Madrid"):
        weekly_pattern.predict(future=zoned)


# Intervals.


def test_intervals_surround_the_prediction_and_the_higher_level_is_wider(
    weekly_pattern: LoadedPartition,
) -> None:
    found = weekly_pattern.predict(levels=[50, 80, 95])
    for level in (50, 80, 95):
        middle = (found[f"lower_{level}"] + found[f"upper_{level}"]) / 2
        np.testing.assert_allclose(middle, found["prediction"])
    assert (found["upper_95"] >= found["upper_80"]).all()
    assert (found["upper_80"] >= found["upper_50"]).all()


def test_a_level_that_the_spec_did_not_name_is_that_of_a_model_whose_spec_did() -> None:
    rows = series().assign(units=np.cumsum(np.random.default_rng(1).normal(0, 1, 60)))
    unasked, asked = (
        predict_partition(
            payload_of(rows, candidates=["naive"], backtest={"folds": 2, "intervals": named}), levels=[95, 99]
        )
        for named in ([80, 95], [99])
    )
    pd.testing.assert_frame_equal(unasked, asked)
    assert (unasked["lower_99"] < unasked["lower_95"]).all()


def test_a_level_that_an_older_model_does_not_hold_is_left_empty_and_the_prediction_stands() -> None:
    document = open_payload(payload_of(series(), candidates=["naive"], backtest={"folds": 2}))
    del document["intervals"]["quantiles"]["99"]
    found = predict_partition(seal(document), levels=[95, 99])
    assert found[["lower_99", "upper_99"]].isna().all(axis=None)
    assert found[["prediction", "lower_95", "upper_95"]].notna().all(axis=None)


@pytest.mark.parametrize("level", [-5, 0, 100, 950])
def test_a_level_that_is_no_percentage_is_refused(weekly_pattern: LoadedPartition, level: int) -> None:
    with pytest.raises(ManyModelsError, match=f"level {level}: .* from 1 to 99"):
        weekly_pattern.predict(levels=[80, level])


def test_a_step_has_the_same_interval_however_it_is_asked_for() -> None:
    rows = series().assign(units=np.cumsum(np.random.default_rng(1).normal(0, 1, 60)))
    model = LoadedPartition(payload_of(rows, horizon=10, candidates=["naive"], backtest={"folds": 3}))
    whole = model.predict(horizon=10).set_index("date")
    late = model.predict(since=pd.Timestamp("2026-03-06"), horizon=2).set_index("date")
    named = model.predict(future=pd.DataFrame({"date": late.index})).set_index("date")
    pd.testing.assert_frame_equal(late, whole.loc[late.index])
    pd.testing.assert_frame_equal(named, whole.loc[late.index])


# Features known ahead.


def test_features_of_the_future_are_found_by_their_time(with_price: LoadedPartition) -> None:
    future = pd.DataFrame({"date": pd.date_range("2026-03-02", periods=7), "price": [5.0, 6, 7, 8, 5, 6, 7]})
    shuffled = future.sample(frac=1, random_state=1)
    found = with_price.predict(future=future, horizon=7)
    np.testing.assert_allclose(found["prediction"], 100 - 10 * future["price"], atol=1e-6)
    pd.testing.assert_frame_equal(with_price.predict(future=shuffled, horizon=7), found)


def test_of_two_rows_for_one_time_the_later_one_counts(with_price: LoadedPartition) -> None:
    future = pd.DataFrame({"date": pd.to_datetime(["2026-03-02", "2026-03-02"]), "price": [5.0, 7.0]})
    assert with_price.predict(future=future, horizon=1)["prediction"].iloc[0] == pytest.approx(30)


@pytest.mark.parametrize(
    ("future", "said"),
    [
        (None, "requires price of the steps to predict, and none were given"),
        (pd.DataFrame({"date": pd.date_range("2026-03-02", periods=7)}), "column price is missing"),
        (
            pd.DataFrame({"date": pd.date_range("2026-03-02", periods=5), "price": 5.0}),
            "missing for 2 of 7 steps, first 2026-03-07",
        ),
        (
            pd.DataFrame({"date": pd.date_range("2026-03-02", periods=7), "price": [5.0] * 6 + [np.nan]}),
            "first 2026-03-08",
        ),
    ],
)
def test_a_feature_missing_for_a_step_is_told_with_the_first_such_step(
    with_price: LoadedPartition, future: pd.DataFrame | None, said: str
) -> None:
    with pytest.raises(FitError, match=said) as caught:
        with_price.predict(future=future, horizon=7)
    assert caught.value.reason is Reason.MISSING_FEATURE


# Brought up to date without a refit.


class Latest(Naive):
    """A user's family that takes newer rows without a refit."""

    def update(self, model: list[float], rows: pd.DataFrame, problem: Any) -> list[float] | None:
        return [float(rows[problem.target].iloc[-1])]


def test_a_model_that_takes_newer_rows_goes_on_from_the_newest() -> None:
    own = f"{__name__}:Latest"
    payload = payload_of(series(), candidates=[own], backtest={"folds": 2})
    model = LoadedPartition(payload, families=[own])
    rows = pd.DataFrame({"date": pd.date_range("2026-02-27", periods=6), "units": [0.0, 0, 0, 1, 2, 40]})
    newer = model.updated(rows)
    assert (newer.cutoff, newer.trained_until) == (pd.Timestamp("2026-03-04"), LAST)
    found = newer.predict(horizon=2)
    assert list(found["date"]) == list(pd.date_range("2026-03-05", periods=2))
    assert list(found["prediction"]) == [40, 40]
    assert model.cutoff == LAST, "the model itself stays as it was"


def test_a_model_that_takes_no_newer_rows_stays_as_it_was(with_price: LoadedPartition) -> None:
    rows = series().assign(date=pd.date_range("2026-03-02", periods=60))
    plain = LoadedPartition(payload_of(series(), candidates=["mean"], backtest={"folds": 2}))
    assert with_price.updated(rows.head(0)) is with_price
    assert plain.updated(series()) is plain


# Tables.


def table(count: int = 50) -> pd.DataFrame:
    x = np.random.default_rng(4).normal(0, 1, count)
    return pd.DataFrame(
        {"x": x, "y": 3 * x, "label": np.where(x > 0, "up", "down")}, index=range(100, 100 + count)
    )


def test_a_regression_answers_each_row_under_its_own_index_with_intervals() -> None:
    columns = {"target": "y", "features": ["x"]}
    payload = payload_of(table(), task="regression", columns=columns, candidates=[{"linear": {"alpha": 0.0}}])
    rows = table(5).drop(columns="y")
    found = predict_partition(payload, future=rows, levels=[90])
    assert list(found.columns) == ["prediction", "lower_90", "upper_90"]
    assert list(found.index) == list(rows.index)
    np.testing.assert_allclose(found["prediction"], 3 * rows["x"], atol=1e-6)


def test_a_classification_answers_with_the_class_and_its_probability() -> None:
    columns = {"target": "label", "features": ["x"]}
    payload = payload_of(table(), task="classification", columns=columns, candidates=["linear"])
    found = predict_partition(payload, future=pd.DataFrame({"x": [-3.0, 3.0]}, index=["a", "b"]))
    assert list(found["prediction"]) == ["down", "up"]
    assert list(found.index) == ["a", "b"]
    assert ((found["probability"] > 0.9) & (found["probability"] <= 1)).all()


@pytest.mark.parametrize("future", [None, pd.DataFrame({"z": [1.0]})])
def test_rows_without_the_features_are_refused(future: pd.DataFrame | None) -> None:
    columns = {"target": "label", "features": ["x"]}
    payload = payload_of(table(), task="classification", columns=columns, candidates=["linear"])
    with pytest.raises(FitError) as caught:
        predict_partition(payload, future=future)
    assert caught.value.reason is Reason.MISSING_FEATURE


# The payload.


def test_one_loaded_partition_predicts_the_same_again_and_again(weekly_pattern: LoadedPartition) -> None:
    pd.testing.assert_frame_equal(weekly_pattern.predict(), weekly_pattern.predict())


def test_a_payload_with_another_checksum_is_not_opened() -> None:
    payload = payload_of(series())
    assert LoadedPartition(payload, sha256(payload)).cutoff == LAST
    with pytest.raises(PayloadError, match="SHA-256"):
        LoadedPartition(payload, "0" * 64)


def test_predicting_leaves_the_given_rows_as_they_were(with_price: LoadedPartition) -> None:
    future = pd.DataFrame({"date": ["2026-03-02"], "price": [5]})
    before = future.copy(deep=True)
    with_price.predict(future=future, horizon=1)
    pd.testing.assert_frame_equal(future, before)
