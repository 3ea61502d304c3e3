"""Fits live on the frequency's grid: closed and missing steps are neither trained on, nor judged, nor counted
as rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders import make_spec

from manymodels_spark.errors import FitError, Reason
from manymodels_spark.families.base import Problem
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.backtest_partition import backtest_partition
from manymodels_spark.modeling.closed import ClosedRule
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.grid import interpolated, missing_steps, on_grid
from manymodels_spark.modeling.payload import open_payload, seal
from manymodels_spark.modeling.predict import LoadedPartition, predict_partition
from manymodels_spark.spec.model import Spec

KEY = PartitionKey.of({"store": 1})
# Monday to Sunday; the Sunday is closed.
WEEK = np.array([50.0, 40, 45, 60, 90, 120, 0])


def spec_of(**changes: Any) -> Spec:
    return make_spec(Path("unused"), **{"backtest": {"folds": 3}, "horizon": 14, **changes})


def shop(days: int = 140, noise: float = 3.0, seed: int = 1) -> pd.DataFrame:
    """A shop that has no rows on Sundays, from Monday 2025-01-06 on."""
    dates = pd.date_range("2025-01-06", periods=days)
    units = WEEK[dates.dayofweek] + np.random.default_rng(seed).normal(0, noise, days)
    rows = pd.DataFrame({"date": dates, "units": units})
    return rows[dates.dayofweek < 6].reset_index(drop=True)


def forecast(rows: pd.DataFrame, spec: Spec, **asked: Any) -> pd.DataFrame:
    payload = fit_partition(rows, spec, KEY).payload
    assert payload is not None
    return predict_partition(payload, **asked).set_index("date")


# Which steps there are.


@pytest.mark.parametrize(
    ("frequency", "times", "missing"),
    [
        ("D", ["2026-01-01", "2026-01-02", "2026-01-05"], ["2026-01-03", "2026-01-04"]),
        ("D", ["2026-01-01", "2026-01-02"], []),
        ("D", ["2026-01-01 09:00", "2026-01-03 08:00"], ["2026-01-02 09:00"]),
        ("B", ["2026-01-02", "2026-01-06"], ["2026-01-05"]),
        ("h", ["2026-01-01 00:00", "2026-01-01 03:20"], ["2026-01-01 01:00", "2026-01-01 02:00"]),
        ("W", ["2026-01-06", "2026-01-27"], ["2026-01-13", "2026-01-20"]),
        ("W-MON", ["2026-01-06", "2026-01-27"], ["2026-01-12", "2026-01-19"]),
        ("MS", ["2026-01-01", "2026-04-01"], ["2026-02-01", "2026-03-01"]),
        ("ME", ["2026-01-31", "2026-04-30"], ["2026-02-28", "2026-03-31"]),
        ("QS", ["2026-01-01", "2026-10-01"], ["2026-04-01", "2026-07-01"]),
        ("YE", ["2024-12-31", "2027-12-31"], ["2025-12-31", "2026-12-31"]),
    ],
)
def test_a_gap_has_the_steps_that_a_forecast_from_the_row_before_it_has(
    frequency: str, times: list[str], missing: list[str]
) -> None:
    found = missing_steps(pd.DatetimeIndex(pd.to_datetime(times, format="mixed")), frequency)
    assert list(found) == [pd.Timestamp(text) for text in missing]


def test_rows_that_are_too_far_apart_for_the_frequency_are_refused_by_name() -> None:
    rows = pd.DataFrame({"date": pd.date_range("2018-01-01", periods=900), "units": 1.0})
    spec = spec_of(columns={"time": "date", "target": "units", "frequency": "min"})
    failure = fit_partition(rows, spec, KEY).failure
    assert failure is not None
    assert failure.reason is Reason.BAD_TIMES
    assert "is columns.frequency right?" in failure.message


def test_unknown_steps_are_interpolated_with_the_shape_of_the_season() -> None:
    values = np.tile(WEEK, 6)
    known = np.ones(42, bool)
    known[[10, 11, 12]] = False
    np.testing.assert_allclose(interpolated(np.where(known, values, np.nan), known, 7), values, atol=2)
    known[6::7] = False
    found = interpolated(np.where(known, values, np.nan), known, 7)
    assert (found[6::7][:-1] > 60).all(), "a day that is never known lies between its neighbours"


def test_what_lies_behind_a_fold_is_not_used_to_interpolate_before_it() -> None:
    rows = shop()
    late = rows.assign(units=np.where(rows["date"] >= "2025-05-12", 1e6, rows["units"]))
    grids = [on_grid(frame, spec_of(), Problem.of(spec_of())) for frame in (rows, late)]
    before = np.arange(126)
    one, other = (grid.training(before, Problem.of(spec_of()), every_step=True) for grid in grids)
    pd.testing.assert_frame_equal(one, other)


# Closed days.


@pytest.mark.parametrize("closed", ["auto", ["sunday"], {"weekdays": ["sunday"], "predict": "leave_out"}])
def test_a_closed_weekday_is_predicted_as_zero_or_left_out(closed: Any) -> None:
    found = forecast(shop(), spec_of(prepare={"closed": closed}, candidates=["linear"]))
    sundays = found.index.dayofweek == 6
    if isinstance(closed, dict):
        assert len(found) == 12 and not sundays.any()
    else:
        assert len(found) == 14 and sundays.sum() == 2
        assert (found[sundays] == 0).all(axis=None)
    assert np.abs(found["prediction"][~sundays] - WEEK[found.index.dayofweek[~sundays]]).max() < 8


def test_the_payload_carries_the_rule_and_answers_named_days_by_it() -> None:
    payload = fit_partition(shop(), spec_of(prepare={"closed": "auto"}), KEY).payload
    assert payload is not None
    assert open_payload(payload)["closed"]["weekdays"] == [6]
    days = pd.DataFrame({"date": pd.to_datetime(["2025-06-01", "2025-06-02"])})
    assert list(predict_partition(payload, future=days)["prediction"] == 0) == [True, False]


def test_rows_on_closed_days_are_not_trained_on_and_not_judged() -> None:
    rows = shop()
    sundays = pd.DataFrame({"date": pd.date_range("2025-01-12", periods=19, freq="7D"), "units": 1e5})
    spec = spec_of(prepare={"closed": ["sunday"]}, candidates=["mean"])
    plain, odd = (fit_partition(frame, spec, KEY) for frame in (rows, pd.concat([rows, sundays])))
    assert odd.metrics["wape"] == pytest.approx(plain.metrics["wape"])
    assert len(odd.folds[0].predictions) == 14, "one for each row, so that they can be placed by rows"
    assert len(plain.folds[0].predictions) == 12


def test_holidays_of_the_partitions_place_are_closed() -> None:
    columns = {"time": "date", "target": "units", "holidays": {"column": "store"}}
    spec = spec_of(columns=columns, prepare={"closed": {"holidays": True}}, horizon=7, partition_by=["store"])
    rows = pd.DataFrame({"date": pd.date_range("2025-03-01", periods=59), "units": 10.0, "store": "DE"})
    payload = fit_partition(rows, spec, PartitionKey.of({"store": "DE"})).payload
    assert payload is not None
    found = predict_partition(payload).set_index("date")["prediction"]
    assert found.index[found == 0].tolist() == [pd.Timestamp("2025-05-01")]


def test_a_column_says_which_days_are_closed_and_must_say_it_of_days_to_come() -> None:
    rows = shop().assign(shut=0)
    rows.loc[rows["date"] == "2025-05-20", ["units", "shut"]] = [1e5, 1]
    spec = spec_of(prepare={"closed": {"column": "shut"}}, candidates=["mean"])
    payload = fit_partition(rows, spec, KEY).payload
    assert payload is not None
    future = pd.DataFrame({"date": pd.date_range("2025-05-25", periods=14), "shut": ["closed", *["no"] * 13]})
    found = predict_partition(payload, future=future, horizon=14)["prediction"]
    assert found[0] == 0
    assert found[1] == pytest.approx(67.5, abs=2), "the closed day's value is no sale"
    with pytest.raises(FitError, match=r"column shut \(prepare.closed.column\) is missing"):
        predict_partition(payload)


def test_auto_requires_four_weeks_and_a_weekday_that_never_has_a_row() -> None:
    spec = spec_of(prepare={"closed": "auto"})
    weekdays = [ClosedRule.of(spec, None, pd.DatetimeIndex(shop(days)["date"])) for days in (20, 35)]
    assert [rule.weekdays if rule else None for rule in weekdays] == [(), (6,)]
    assert ClosedRule.of(spec_of(), None, pd.DatetimeIndex(shop()["date"])) is None


def test_hours_in_utc_are_closed_by_the_wall_clock() -> None:
    hours = pd.date_range("2025-07-05 20:00", periods=8, freq="h")
    rule = ClosedRule(weekdays=(6,), zone="Europe/Madrid")
    assert list(rule.mask(hours, None, "date")) == [False, False, *[True] * 6]


def test_closed_steps_need_no_known_future_values() -> None:
    columns = {"time": "date", "target": "units", "known_future": ["price"]}
    rows = shop().assign(price=lambda frame: 5.0 + frame.index % 3)
    spec = spec_of(columns=columns, prepare={"closed": ["sunday"]}, candidates=["linear"])
    future = shop(168).assign(price=6.0)
    found = forecast(rows, spec, future=future, horizon=14)
    assert found["prediction"].notna().all()


# Steps that are missing and not closed.


def test_missing_steps_are_predicted_and_never_judged() -> None:
    whole = pd.DataFrame({"date": pd.date_range("2025-01-06", periods=140), "units": np.tile(WEEK, 20)})
    holes = whole.drop(index=[30, 31, 77, 78, 120, 130])
    spec = spec_of(candidates=["seasonal_naive"])
    result, table = fit_partition(holes, spec, KEY), backtest_partition(holes, spec, KEY)
    assert result.rows == 134
    assert result.cutoff == "2025-05-25T00:00:00"
    assert len(table) == 42 - 2
    assert result.metrics["wape"] < 0.02
    assert len(forecast(holes, spec)) == 14


def test_a_horizon_without_any_known_step_is_no_fold() -> None:
    rows = shop(280)
    renovated = rows[(rows["date"] < "2025-08-25") | (rows["date"] >= "2025-09-29")]
    table = backtest_partition(renovated, spec_of(candidates=["mean"]), KEY)
    assert table.groupby("fold")["date"].min().astype(str).to_dict() == {
        1: "2025-09-29", 2: "2025-08-18", 3: "2025-08-04"
    }  # fmt: skip


def test_rows_without_a_target_inside_a_series_are_missing_steps_and_keep_their_prices() -> None:
    columns = {"time": "date", "target": "units", "known_future": ["price"]}
    rows = pd.DataFrame({"date": pd.date_range("2025-01-06", periods=100), "price": np.arange(100.0)})
    rows = rows.assign(units=2 * rows["price"]).astype({"units": float})
    rows.loc[[40, 41, 42], "units"] = np.nan
    spec = spec_of(columns=columns, horizon=7)
    grid = on_grid(rows, spec, Problem.of(spec))
    assert (len(grid.rows), int(grid.known.sum())) == (100, 97)
    assert grid.rows["price"].tolist() == list(range(100))


# Payloads of the former format.


def test_a_payload_of_format_1_predicts_every_step_with_symmetric_intervals() -> None:
    payload = fit_partition(shop(), spec_of(prepare={"closed": "auto"}, candidates=["mean"]), KEY).payload
    assert payload is not None
    document = open_payload(payload)
    for name in ("closed", "bounds", "probabilities", "manymodels"):
        document.pop(name)
    document["intervals"] = {"intercept": 2.0, "slope": 0.0, "quantiles": {"80": 1.5, "95": 3.0}}
    found = LoadedPartition(seal(document)).predict()
    assert len(found) == 14 and found["prediction"].nunique() == 1
    np.testing.assert_allclose(found["upper_80"] - found["prediction"], 3.0)
    np.testing.assert_allclose(found["prediction"] - found["lower_95"], 6.0)
