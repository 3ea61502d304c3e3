"""Regression and classification on the rows of one partition: text, numbers, holes and unseen values, exactly
stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from builders import make_spec
from hypothesis import given, settings
from hypothesis import strategies as st

from manymodels_spark.errors import FitError, Reason
from manymodels_spark.families import registry
from manymodels_spark.families.base import Family, Problem
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.predict import predict_partition
from manymodels_spark.spec.model import Candidate

ROWS = 150
REGRESSION = Problem(
    "regression", "y", None, "D", season=7, horizon=1, seed=3, features=("size", "colour"), static=("ramp",)
)
BINARY = replace(REGRESSION, task="classification", target="fails")
THREE = replace(BINARY, target="grade")
PROBLEMS = {"regression": REGRESSION, "two classes": BINARY, "three classes": THREE}
SMALL: dict[str, dict[str, Any]] = {
    "linear": {},
    "gradient_boosting": {"iterations": 30, "leaf": 5},
    "random_forest": {"trees": 20},
    "lightgbm": {"iterations": 30, "leaf": 5},
}
CASES = [(name, problem) for name in SMALL for problem in PROBLEMS]


def table(count: int = ROWS, seed: int = 1) -> pd.DataFrame:
    """Machines: size and colour tell the target, `ramp` is a flag, every column has holes."""
    noise = np.random.default_rng(seed)
    size = noise.normal(10, 3, count)
    colour = noise.choice(["red", "green", "blue"], count)
    ramp = noise.random(count) < 0.5
    y = 2 * size + 15 * (colour == "red") + noise.normal(0, 0.5, count)
    grade = np.where(colour == "red", "a", np.where(size > 10, "b", "c"))
    rows = pd.DataFrame(
        {
            "size": size,
            "colour": colour,
            "ramp": ramp,
            "y": y,
            "fails": np.where(y > 26, "1", "0"),
            "grade": grade,
        }
    )
    rows["colour"] = rows["colour"].where(noise.random(count) > 0.05, None)
    rows["size"] = rows["size"].where(noise.random(count) > 0.05)
    return rows


@dataclass
class Case:
    """A family fitted once on the table."""

    family: Family[Any]
    problem: Problem
    model: Any
    state: bytes


@pytest.fixture(scope="module")
def case() -> Callable[[str, str], Case]:
    made: dict[tuple[str, str], Case] = {}

    def of(name: str, problem: str) -> Case:
        if (name, problem) not in made:
            family = registry.build(Candidate(family=name, options=SMALL[name]))
            model = family.fit(table(), PROBLEMS[problem])
            made[name, problem] = Case(family, PROBLEMS[problem], model, orjson.dumps(family.dump(model)))
        return made[name, problem]

    return of


@pytest.mark.parametrize(("name", "problem"), CASES)
def test_a_loaded_model_predicts_and_is_stored_as_the_fitted_one_bit_for_bit(
    case: Callable[[str, str], Case], name: str, problem: str
) -> None:
    one = case(name, problem)
    loaded = one.family.load(orjson.loads(one.state))
    rows = table(40, seed=9)
    predicted = one.family.predict(one.model, rows, one.problem)
    assert np.isfinite(predicted).all()
    np.testing.assert_array_equal(one.family.predict(loaded, rows, one.problem), predicted)
    assert one.family.classes(loaded) == one.family.classes(one.model)
    assert orjson.dumps(one.family.dump(loaded)) == one.state


@pytest.mark.parametrize(("name", "problem"), CASES)
def test_the_same_rows_give_the_same_stored_model(
    case: Callable[[str, str], Case], name: str, problem: str
) -> None:
    one = case(name, problem)
    assert orjson.dumps(one.family.dump(one.family.fit(table(), one.problem))) == one.state


@pytest.mark.parametrize("name", list(SMALL))
def test_a_regression_learns_numbers_and_text(case: Callable[[str, str], Case], name: str) -> None:
    one = case(name, "regression")
    rows = table(200, seed=5).dropna()
    error = np.abs(one.family.predict(one.model, rows, one.problem) - rows["y"]).mean()
    assert error < 0.35 * np.abs(rows["y"] - rows["y"].mean()).mean()


@pytest.mark.parametrize(("name", "problem"), [case for case in CASES if case[1] != "regression"])
def test_a_classification_gives_probabilities_in_the_order_of_its_classes(
    case: Callable[[str, str], Case], name: str, problem: str
) -> None:
    one = case(name, problem)
    rows = table(200, seed=5).dropna()
    probabilities = one.family.predict(one.model, rows, one.problem)
    classes = np.array(one.family.classes(one.model))
    assert list(classes) == sorted(rows[one.problem.target].unique())
    assert probabilities.shape == (len(rows), len(classes))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert (classes[probabilities.argmax(axis=1)] == rows[one.problem.target]).mean() > 0.85


@pytest.mark.parametrize(("name", "problem"), CASES)
def test_holes_and_values_unseen_in_training_are_predicted(
    case: Callable[[str, str], Case], name: str, problem: str
) -> None:
    one = case(name, problem)
    rows = pd.DataFrame(
        {
            "size": [np.nan, 10.0, None, 1e9, 10.0],
            "colour": ["red", "purple", None, "", np.nan],
            "ramp": [True, False, None, True, None],
        }
    )
    predicted = one.family.predict(one.model, rows, one.problem)
    assert len(predicted) == 5
    assert np.isfinite(predicted).all()


@pytest.mark.parametrize("name", list(SMALL))
def test_a_row_is_predicted_the_same_alone_and_among_others(
    case: Callable[[str, str], Case], name: str
) -> None:
    one = case(name, "regression")
    rows = table(20, seed=7)
    together = one.family.predict(one.model, rows, one.problem)
    alone = [one.family.predict(one.model, rows.iloc[[index]], one.problem)[0] for index in range(20)]
    np.testing.assert_allclose(alone, together, rtol=1e-12)


@pytest.mark.parametrize("name", list(SMALL))
def test_the_order_of_columns_does_not_matter_to_predictions(
    case: Callable[[str, str], Case], name: str
) -> None:
    one = case(name, "regression")
    rows = table(20, seed=7)
    np.testing.assert_array_equal(
        one.family.predict(one.model, rows[["colour", "ramp", "size"]], one.problem),
        one.family.predict(one.model, rows, one.problem),
    )


@pytest.mark.parametrize("name", list(SMALL))
def test_a_table_without_features_or_rows_without_a_column_are_refused(
    case: Callable[[str, str], Case], name: str
) -> None:
    one = case(name, "regression")
    with pytest.raises(FitError, match="columns.features") as caught:
        one.family.fit(table(), replace(REGRESSION, features=(), static=()))
    assert caught.value.reason is Reason.MISSING_FEATURE
    with pytest.raises(FitError, match="column colour is missing"):
        one.family.predict(one.model, table(5).drop(columns="colour"), one.problem)


@pytest.mark.parametrize("name", list(SMALL))
@pytest.mark.parametrize(
    "odd",
    [
        {"size": np.nan},
        {"colour": None},
        {"size": 3.0},
        {"colour": "red"},
        {"size": pd.array([1, None] * (ROWS // 2), dtype="Int64")},
        {"colour": [1, "1", None] * (ROWS // 3)},
        {"colour": pd.Categorical(["a", "b", "c"] * (ROWS // 3))},
        {"colour": pd.date_range("2026-01-01", periods=ROWS)},
        {"colour": [bytes([65 + number % 3]) for number in range(ROWS)]},
        {"colour": [f"machine {number}" for number in range(ROWS)]},
    ],
    ids=[
        "no size",
        "no colour",
        "one size",
        "one colour",
        "nullable",
        "mixed types",
        "categorical",
        "dates",
        "bytes",
        "all different",
    ],
)
def test_odd_columns_are_fitted_and_stored(name: str, odd: dict[str, Any]) -> None:
    family = registry.build(Candidate(family=name, options=SMALL[name]))
    rows = table().assign(**odd)
    model = family.fit(rows, REGRESSION)
    predicted = family.predict(model, rows.head(9), REGRESSION)
    assert np.isfinite(predicted).all()
    loaded = family.load(orjson.loads(orjson.dumps(family.dump(model))))
    np.testing.assert_array_equal(family.predict(loaded, rows.head(9), REGRESSION), predicted)


@pytest.mark.parametrize("name", list(SMALL))
def test_columns_with_names_of_every_kind_are_fitted(name: str) -> None:
    names = {"size": 'a "b": [c],{d}', "colour": "ñ é 🎈"}
    problem = replace(REGRESSION, features=tuple(names.values()), static=())
    family = registry.build(Candidate(family=name, options=SMALL[name]))
    rows = table().rename(columns=names)
    model = family.load(orjson.loads(orjson.dumps(family.dump(family.fit(rows, problem)))))
    assert np.isfinite(family.predict(model, rows.head(3), problem)).all()


@pytest.mark.parametrize("name", list(SMALL))
def test_a_class_of_one_row_and_labels_of_every_kind_are_learned_and_given_back_as_text(name: str) -> None:
    family = registry.build(Candidate(family=name, options=SMALL[name]))
    labels = ["10", "9", "é", "a b"]
    rows = table().assign(grade=[*np.resize(labels, ROWS - 1), "once"])
    model = family.fit(rows, THREE)
    assert family.classes(model) == sorted([*labels, "once"])
    assert family.predict(model, rows.head(4), THREE).shape == (4, 5)


@pytest.mark.parametrize(
    ("task", "target"), [("regression", "y"), ("classification", "grade"), ("classification", "fails")]
)
def test_a_partition_of_a_table_goes_from_rows_to_predictions(task: str, target: str) -> None:
    columns = {"target": target, "features": ["size", "colour"], "static": ["ramp"]}
    simple = "mean" if task == "regression" else "majority"
    spec = make_spec(
        Path("unused"),
        task=task,
        columns=columns,
        candidates=[{"lightgbm": SMALL["lightgbm"]}, "linear", simple],
        combine="best_2",
    )
    result = fit_partition(table(), spec, PartitionKey.of({"machine": 7}))
    assert result.payload is not None, result.failure
    assert result.family == "mean_best_2"
    assert set(result.families) == {"lightgbm", "linear"}
    found = predict_partition(result.payload, future=table(30, seed=2))
    assert len(found) == 30
    if task == "classification":
        truth = table(30, seed=2)[target]
        assert (found["prediction"] == truth).mean() > 0.8


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 1], {"0", "1"}),
        ([0.0, 1.0], {"0", "1"}),
        ([True, False], {"true", "false"}),
        (["yes", "no"], {"yes", "no"}),
    ],
)
def test_labels_of_any_type_are_answered_as_people_write_them(labels: list[Any], expected: set[str]) -> None:
    rows = table().assign(grade=np.resize(np.array(labels), ROWS))
    columns = {"target": "grade", "features": ["size"]}
    spec = make_spec(Path("unused"), task="classification", columns=columns, candidates=["majority"])
    result = fit_partition(rows, spec, PartitionKey.of({"machine": 7}))
    assert result.payload is not None, result.failure
    assert set(predict_partition(result.payload, future=rows)["prediction"]) <= expected


def test_lightgbm_splits_text_natively_and_stores_its_categories() -> None:
    family = registry.build(Candidate(family="lightgbm", options=SMALL["lightgbm"]))
    model = family.fit(table(), REGRESSION)
    assert model.categories == [None, ["blue", "green", "red"], None]
    assert "feature_infos=[" in model.booster.text
    assert "-1:0:1:2 [0:1]" in model.booster.text
    rows = pd.DataFrame({"size": 10.0, "colour": ["red", "blue"], "ramp": True})
    red, blue = family.predict(model, rows, REGRESSION)
    assert red - blue == pytest.approx(15, abs=4)


@pytest.mark.parametrize("name", list(SMALL))
def test_a_text_of_ten_values_with_fifteen_rows_each_is_learned(name: str) -> None:
    family = registry.build(Candidate(family=name, options=SMALL[name]))
    letters = np.resize(list("abcdefghij"), ROWS)
    rows = table().assign(colour=letters, y=np.where(np.isin(letters, ["b", "e", "h"]), 50.0, 0.0))
    predicted = family.predict(family.fit(rows, REGRESSION), rows.head(10), REGRESSION)
    assert ((predicted > 25) == np.isin(letters[:10], ["b", "e", "h"])).all()


def test_fits_and_predictions_hold_to_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.linear_model import Ridge
    from threadpoolctl import threadpool_info, threadpool_limits

    seen: list[set[int]] = []

    def threads() -> set[int]:
        # LightGBM brings OpenMP of the system along, which scikit-learn does not use.
        return {pool["num_threads"] for pool in threadpool_info() if "site-packages" in pool["filepath"]}

    class Watched(Ridge):
        def fit(self, *args: Any) -> Any:
            seen.append(threads())
            return super().fit(*args)

        def predict(self, *args: Any) -> Any:
            seen.append(threads())
            return super().predict(*args)

    family = registry.build(Candidate(family="linear"))
    monkeypatch.setattr(type(family), "estimator", lambda *_: Watched())
    with threadpool_limits(2):
        family.predict(family.fit(table(), REGRESSION), table(3), REGRESSION)
        assert threads() == {2}
    assert seen == [{1}, {1}]


def test_lightgbm_is_told_to_use_one_thread_and_to_be_deterministic() -> None:
    family = registry.build(Candidate(family="lightgbm", options=SMALL["lightgbm"]))
    text = family.fit(table(), REGRESSION).booster.text
    assert "[num_threads: 1]" in text
    assert "[deterministic: 1]" in text


cells = st.one_of(
    st.none(),
    st.floats(),
    st.integers(-(2**70), 2**70),
    st.text(max_size=3),
    st.booleans(),
    st.dates(),
    st.decimals(allow_nan=False),
    st.just(pd.NA),
    st.just(pd.NaT),
    st.binary(max_size=2),
    st.just([1]),
    st.just({}),
    st.datetimes(),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(cells, min_size=12, max_size=24), st.sampled_from(["linear", "lightgbm"]))
def test_whatever_a_feature_holds_a_fit_never_raises(values: list[Any], name: str) -> None:
    rows = pd.DataFrame({"x": pd.Series(values, dtype=object), "y": np.arange(len(values), dtype=float)})
    columns = {"target": "y", "features": ["x"]}
    spec = make_spec(
        Path("unused"), task="regression", columns=columns, candidates=[name], backtest={"folds": 2}
    )
    result = fit_partition(rows, spec, PartitionKey.of({"machine": 7}))
    assert result.payload is not None, result.failure
    assert np.isfinite(predict_partition(result.payload, future=rows)["prediction"]).all()
