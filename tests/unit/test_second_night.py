"""Scoring with a model that is older than the newest row: what it is given, what it becomes, what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders import days, make_spec
from pyspark.sql import types as T

from manymodels_spark.families.naive import SeasonalNaive
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.predict import LoadedPartition
from manymodels_spark.spec import Spec
from manymodels_spark.stages.score.known_ahead import FROM_CALENDAR, known_ahead
from manymodels_spark.stages.score.score_task import scored_schema, scorer

KEY = PartitionKey.of({"item": "a"})
TRAINED, NOW = pd.Timestamp("2026-01-28"), pd.Timestamp("2026-01-31")
SILVER = T.StructType([T.StructField("item", T.StringType()), T.StructField("well", T.LongType())])
PRICED = {"time": "date", "target": "units", "known_future": ["price"]}


def priced(folder: Path, **changes: Any) -> Spec:
    parts = {"columns": PRICED, "candidates": [{"linear": {"lags": [1, 7]}}], **changes}
    return make_spec(folder, partition_by=["item"], **parts)


def history(count: int, price: float = 1.0) -> pd.DataFrame:
    return pd.DataFrame(
        {"date": pd.to_datetime(days(count)), "units": np.arange(count) % 7 + 10.0, "price": price}
    )


def rows_of(silver: pd.DataFrame, calendar: pd.DataFrame | None = None) -> pd.DataFrame:
    parts = [silver.assign(**{FROM_CALENDAR: False})]
    parts += [] if calendar is None else [calendar.assign(**{FROM_CALENDAR: True})]
    return pd.concat(parts, ignore_index=True).assign(partition_id=KEY.id, _due=True)


def champion(spec: Spec, rows: pd.DataFrame, **changes: Any) -> dict[str, Any]:
    result = fit_partition(rows, spec, KEY)
    assert result.failure is None, result.failure
    place = {"partition_id": KEY.id, "key": KEY.canonical, "cutoff": NOW, "end": NOW}
    model = {"model_id": "m", "family": result.family, "sha256": result.sha256, "payload": result.payload}
    return {**place, **model, "problem": None, "problem_detail": None, **changes}


def scored(spec: Spec, own: dict[str, Any], rows: pd.DataFrame) -> pd.DataFrame:
    return scorer(spec, "run", 3, scored_schema(spec, SILVER))(pd.DataFrame([own]), rows)


def test_days_that_have_passed_are_known_from_silver_and_only_those_to_come_from_the_calendar(
    tmp_path: Path,
) -> None:
    since = history(31)[28:].assign(price=5.0)
    told = pd.DataFrame({"date": pd.date_range("2026-01-29", "2026-02-07"), "price": 9.0})
    known = known_ahead(rows_of(since, told), priced(tmp_path), TRAINED, NOW).set_index("date")["price"]
    assert known[:"2026-01-31"].tolist() == [5.0, 5.0, 5.0]
    assert known["2026-02-01":].tolist() == [9.0] * 7


def test_a_passed_step_without_a_row_takes_what_was_known_before_and_one_to_come_stays_unknown(
    tmp_path: Path,
) -> None:
    since = history(31)[29:].assign(price=[5.0, np.nan])
    told = pd.DataFrame({"date": pd.to_datetime(["2026-02-02"]), "price": 9.0})
    known = known_ahead(rows_of(since, told), priced(tmp_path), TRAINED, NOW).set_index("date")["price"]
    assert known.to_dict() == {
        pd.Timestamp("2026-01-29"): 5.0,
        pd.Timestamp("2026-01-30"): 5.0,
        pd.Timestamp("2026-01-31"): 5.0,
        pd.Timestamp("2026-02-02"): 9.0,
    }


def test_what_says_that_a_step_is_closed_is_known_too(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, prepare={"closed": {"column": "shut"}})
    since = history(31)[28:].assign(shut=[False, True, False])
    told = pd.DataFrame({"date": pd.date_range("2026-01-31", "2026-02-02"), "shut": [True, True, False]})
    known = known_ahead(rows_of(since, told), spec, TRAINED, NOW).set_index("date")["shut"]
    assert known.index[known].strftime("%m-%d").tolist() == ["01-30", "02-01"]


def test_a_champion_older_than_the_newest_row_keeps_its_forecast(tmp_path: Path) -> None:
    spec = priced(tmp_path)
    told = pd.DataFrame({"date": pd.date_range("2026-02-01", "2026-02-07"), "price": 1.0})
    found = scored(spec, champion(spec, history(28)), rows_of(history(31)[28:], told))
    assert found["error"].isna().all(), found["error"].iloc[0]
    assert list(found["date"]) == list(pd.date_range("2026-02-01", periods=7))
    assert set(found["cutoff"]) == {NOW}
    assert set(found["trained_until"]) == {TRAINED}


def updating(monkeypatch: pytest.MonkeyPatch, update: Callable[..., Any]) -> None:
    monkeypatch.setattr(SeasonalNaive, "update", update, raising=False)


def test_a_model_is_brought_up_to_date_without_a_refit_and_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(tmp_path)
    payload = fit_partition(history(28), spec, KEY).payload
    assert payload is not None
    loaded, newer = LoadedPartition(payload), history(42)[28:].assign(units=lambda rows: rows["units"] + 50)
    updating(monkeypatch, lambda self, model, rows, problem: self.fit(rows, problem))
    current = loaded.updated(newer)
    assert current.cutoff == pd.Timestamp("2026-02-11")
    assert current.predict(horizon=7)["prediction"].between(60, 66).all()
    assert loaded.cutoff == TRAINED
    assert loaded.predict(horizon=7)["prediction"].between(10, 16).all()


def _raises(*_: Any) -> None:
    raise ValueError("no")


@pytest.mark.parametrize("update", [lambda *_: None, _raises])
def test_a_model_that_cannot_be_brought_up_to_date_predicts_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, update: Callable[..., Any]
) -> None:
    payload = fit_partition(history(28), make_spec(tmp_path), KEY).payload
    assert payload is not None
    updating(monkeypatch, update)
    loaded = LoadedPartition(payload)
    assert loaded.updated(history(31)[28:]) is loaded


def test_a_champion_is_not_asked_for_a_time_before_its_training_ended(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, partition_by=["item"])
    own = champion(spec, history(31), cutoff=TRAINED)
    error = scored(spec, own, rows_of(history(31)[28:]))["error"].iloc[0]
    assert error.startswith("trained_later: the model was trained until 2026-01-31")


def test_where_a_champion_could_not_be_used_the_fallback_forecasts_without_what_is_known_ahead(
    tmp_path: Path,
) -> None:
    spec = priced(tmp_path, fallback="seasonal_naive")
    own = champion(spec, history(28), model_id=None, champion_error="missing_feature: price missing")
    found = scored(spec, own, rows_of(history(31)))
    assert found["error"].isna().all(), found["error"].iloc[0]
    assert found["fallback"].all()
    assert found["prediction"].between(10, 16).all()
    assert set(found["champion_error"]) == {"missing_feature: price missing"}


def test_where_the_fallback_fails_too_the_champions_reason_is_told_first(tmp_path: Path) -> None:
    spec = priced(tmp_path, fallback="seasonal_naive")
    own = champion(spec, history(28), model_id=None, champion_error="missing_feature: price missing")
    error = scored(spec, own, rows_of(history(1).assign(units=np.nan)))["error"].iloc[0]
    assert error.startswith("missing_feature: price missing; and the fallback failed: ")


def test_a_tables_predictions_carry_their_rows_id_and_time(tmp_path: Path) -> None:
    columns = {"time": "date", "target": "units", "features": ["price"], "id": "well"}
    spec = make_spec(tmp_path, partition_by=["item"], task="regression", columns=columns, candidates=["mean"])
    table = history(40).assign(well=np.arange(40) + 100)
    own = champion(spec, table[:28], cutoff=NOW)
    rows = rows_of(table).assign(_due=lambda rows: rows["date"] > TRAINED).sample(frac=1, random_state=3)
    found = scored(spec, own, rows)
    assert found["well"].tolist() == list(range(128, 140))
    assert found["date"].tolist() == list(pd.date_range("2026-01-29", periods=12))
    assert found["row"].tolist() == list(range(12))
    assert set(found["trained_until"]) == {TRAINED}
