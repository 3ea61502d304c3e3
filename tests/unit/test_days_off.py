"""Holidays of a country and of a region, as calendar features and as a spec names them."""

from __future__ import annotations

import re

import numpy as np
import orjson
import pandas as pd
import pytest

from manymodels_spark.errors import SpecError
from manymodels_spark.families.checked_spec import spec_of
from manymodels_spark.families.features import LagFeatures
from manymodels_spark.families.public_holidays import is_holiday
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.predict import predict_partition

SPEC = """
name: sales
partition_by: [store]
source: {csv: sales.csv}
columns: {time: date, target: units, holidays: %s}
horizon: 14
backtest: {folds: 1}
candidates: [{linear: {lags: [14]}}]
"""


def test_the_second_of_may_is_a_holiday_in_madrid_only() -> None:
    times = pd.DatetimeIndex(["2026-05-01 10:00", "2026-05-02 23:59", "2026-05-03"])
    assert list(is_holiday(times, "ES-MD")) == [1.0, 1.0, 0.0]
    assert list(is_holiday(times, "ES")) == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("XX", "no holidays are known for country 'XX'"),
        ("ES-XX", "no region 'XX' in ES. Known: ES-AN, .*ES-MD"),
    ],
)
def test_an_unknown_place_is_a_mistake_in_the_spec(place: str, message: str) -> None:
    with pytest.raises(SpecError, match=f"columns.holidays: {message}"):
        spec_of(SPEC % place)


def test_a_model_with_lags_learns_what_a_regional_holiday_does() -> None:
    dates = pd.date_range("2022-01-01", "2026-04-25")
    units = 20 - 12 * is_holiday(dates, "ES-MD") + np.random.default_rng(3).normal(0, 0.5, len(dates))
    rows = pd.DataFrame({"date": dates, "units": units})
    result = fit_partition(rows, spec_of(SPEC % "ES-MD"), PartitionKey.of({"store": 1}))
    assert result.payload is not None, result.failure
    predicted = predict_partition(result.payload).set_index("date")["prediction"]
    assert predicted["2026-05-02"] == pytest.approx(8, abs=1.5)
    assert predicted["2026-05-03"] == pytest.approx(20, abs=1.5)


def test_the_features_of_a_model_made_before_holidays_were_features_are_as_they_were() -> None:
    stored = orjson.loads('{"lags": [7], "known_future": [], "calendar": true}')
    assert LagFeatures(**stored).holidays is None


def test_each_partition_has_the_holidays_of_the_place_that_its_column_names() -> None:
    dates = pd.date_range("2022-01-01", "2026-04-25")
    noise = np.random.default_rng(3).normal(0, 0.5, len(dates))
    by_key = spec_of(SPEC.replace("[store]", "[store, region]") % "{column: region}")
    by_row = spec_of(SPEC % "{column: region}, static: [region]")
    for place, second in (("ES-MD", 8), ("ES", 20)):
        rows = pd.DataFrame({"date": dates, "units": 20 - 12 * is_holiday(dates, place) + noise})
        named = rows.assign(region=[None, *[place] * (len(rows) - 1)])
        plain = fit_partition(rows, spec_of(SPEC % place), PartitionKey.of({"store": 1, "region": place}))
        assert plain.payload is not None, plain.failure
        expected = predict_partition(plain.payload).set_index("date")["prediction"]
        assert expected["2026-05-02"] == pytest.approx(second, abs=1.5)
        cases = (by_key, rows, {"store": 1, "region": place}), (by_row, named, {"store": 1})
        for spec, given, key in cases:
            result = fit_partition(given, spec, PartitionKey.of(key))
            assert result.payload is not None, result.failure
            found = predict_partition(result.payload).set_index("date")["prediction"]
            assert found.tolist() == pytest.approx(expected.tolist())


def test_a_partition_of_an_unknown_place_is_set_aside_by_name_and_one_of_none_has_no_holidays() -> None:
    spec = spec_of(SPEC.replace("[store]", "[store, region]") % "{column: region}")
    dates = pd.date_range("2025-01-01", periods=400)
    rows = pd.DataFrame({"date": dates, "units": np.arange(400.0) % 7})
    lost = fit_partition(rows, spec, PartitionKey.of({"store": 1, "region": "XX"}))
    assert lost.failure is not None
    assert (
        lost.failure.message
        == "column region: no holidays are known for country 'XX'. Use an ISO code, e.g. ES, or ES-MD for "
        "a region"
    )
    none = fit_partition(rows, spec, PartitionKey.of({"store": 1, "region": None}))
    assert none.payload is not None, none.failure


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (
            "{column: country}",
            r"columns.holidays.column: 'country' is no column of partition_by or columns.static \(store\)",
        ),
        ("{column: 3}", "columns.holidays.column: "),
        ("es", "columns.holidays: .*a country, e.g. ES, a region of it, e.g. ES-MD"),
        ("[ES]", "columns.holidays: .*a country, e.g. ES, a region of it, e.g. ES-MD"),
    ],
)
def test_a_place_that_is_written_otherwise_is_a_mistake_in_the_spec(place: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(SPEC % place)
    assert re.search(message, str(caught.value))
    assert len(caught.value.mistakes) == 1
