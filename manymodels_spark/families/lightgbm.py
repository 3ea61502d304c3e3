"""LightGBM on lags, calendar and known-future columns for forecasts, on features with native categories for
tables.

The booster is stored as its own text, categories beside it; nothing is pickled. One thread, so that the same
rows give the same trees and Spark's tasks do not fight for cores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from manymodels_spark.errors import FitError, Reason
from manymodels_spark.families.base import Family, Json, Problem
from manymodels_spark.families.features import LagFeatures, newer_tail, tabular_columns
from manymodels_spark.families.options import LightGBMOptions

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Booster:
    """A trained booster that predicts on one thread."""

    text: str
    trees: Any

    @classmethod
    def of(cls, text: str) -> Booster:
        """The booster of LightGBM's text."""
        import lightgbm

        return cls(text, lightgbm.Booster(model_str=text))

    def predict(self, matrix: Floats) -> Floats:
        """Predictions, shape (rows,), or (rows, classes) for three classes and more."""
        return np.asarray(self.trees.predict(matrix, num_threads=1), dtype=np.float64)


@dataclass(frozen=True)
class Fitted:
    """A booster, and how rows become its matrix: lags for forecasts, a category list per text column for
    tables.
    """

    booster: Booster
    labels: list[str]
    categories: list[list[str] | None]
    features: LagFeatures | None = None
    tail: Floats | None = None


class LightGBM(Family[Fitted]):
    """Gradient boosted trees by LightGBM; missing values and categories unseen in training are its own
    'missing'.
    """

    name = "lightgbm"
    tasks = frozenset({"forecast", "regression", "classification"})
    packages = ("lightgbm",)
    Options = LightGBMOptions
    options: LightGBMOptions

    def min_rows(self, problem: Problem) -> int:
        """Enough rows for the longest lag and a few to learn from."""
        return 2 * self._lags(problem)[-1] + 2 if problem.task == "forecast" else 5

    def cost(self, rows: int) -> float:
        """As measured on one core."""
        return 0.012 + 1.2e-5 * rows

    def fit(self, rows: pd.DataFrame, problem: Problem) -> Fitted:
        """Train the booster. Raises FitError(MISSING_FEATURE) for a tabular task without features."""
        if problem.task == "forecast":
            return self._fit_forecast(rows, problem)
        if not problem.inputs:
            message = f"{self.name} requires columns.features to learn from, and the spec names none"
            raise FitError(Reason.MISSING_FEATURE, message)
        frame, target = rows[list(problem.inputs)], rows[problem.target]
        classify = problem.task == "classification"
        labels = [str(label) for label in sorted(target.unique())] if classify else []
        numbers = np.searchsorted(labels, target.to_numpy(dtype=str)) if classify else target.to_numpy()
        categories = _categories(frame)
        booster = self._train(
            _matrix(frame, categories), numbers.astype(np.float64), labels, categories, problem.seed
        )
        return Fitted(booster, labels, categories)

    def predict(self, model: Fitted, future: pd.DataFrame, problem: Problem) -> Floats:
        """Predictions, or probabilities of the classes."""
        if model.features is not None and model.tail is not None:
            return model.features.forecast(model.booster, model.tail, future, problem)
        missing = [name for name in problem.inputs if name not in future]
        if missing:
            raise FitError(
                Reason.MISSING_FEATURE, f"column {', '.join(missing)} is missing in the rows to predict"
            )
        predicted = model.booster.predict(_matrix(future[list(problem.inputs)], model.categories))
        if not model.labels or predicted.ndim == 2:
            return predicted
        return np.column_stack([1 - predicted, predicted])[:, : len(model.labels)]

    def update(self, model: Fitted, rows: pd.DataFrame, problem: Problem) -> Fitted | None:
        """The same booster with the last targets of these rows."""
        tail = newer_tail(model.tail, rows, problem)
        return None if tail is None else replace(model, tail=tail)

    def classes(self, model: Fitted) -> list[str]:
        """The labels seen in training."""
        return model.labels

    def dump(self, model: Fitted) -> Json:
        """LightGBM's text, and the rest as it is."""
        return {
            "booster": model.booster.text,
            "labels": model.labels,
            "categories": model.categories,
            "features": None if model.features is None else model.features.as_dict(),
            "tail": None if model.tail is None else [float(value) for value in model.tail],
        }

    def load(self, state: Json) -> Fitted:
        """The inverse of `dump`."""
        features = None if state["features"] is None else LagFeatures(**state["features"])
        tail = None if state["tail"] is None else np.asarray(state["tail"], dtype=np.float64)
        return Fitted(Booster.of(state["booster"]), state["labels"], state["categories"], features, tail)

    def _fit_forecast(self, rows: pd.DataFrame, problem: Problem) -> Fitted:
        features = LagFeatures(
            self._lags(problem), problem.known_future, self.options.calendar, problem.holidays
        )
        target = rows[problem.target].to_numpy(dtype=np.float64)
        matrix = features.matrix(target, rows, problem)
        start = features.lags[-1]
        booster = self._train(matrix[start:], target[start:], [], [None] * matrix.shape[1], problem.seed)
        return Fitted(booster, [], [], features, target[-start:])

    def _train(
        self, matrix: Floats, target: Floats, labels: list[str], categories: list[list[str] | None], seed: int
    ) -> Booster:
        import lightgbm

        native = [index for index, known in enumerate(categories) if known is not None]
        parameters = self._parameters(labels, seed)
        data = lightgbm.Dataset(matrix, target, categorical_feature=native, params=parameters)
        trained = lightgbm.train(parameters, data, num_boost_round=self.options.iterations)
        # Through the text already here: a fitted and a loaded model are the same thing.
        return Booster.of(trained.model_to_string(num_iteration=-1))

    def _parameters(self, labels: list[str], seed: int) -> dict[str, Any]:
        o = self.options
        task: dict[str, Any] = {"objective": o.objective} if not labels else {"objective": "binary"}
        if len(labels) > 2:
            task = {"objective": "multiclass", "num_class": len(labels)}
        return {
            **task,
            "learning_rate": o.learning_rate,
            "num_leaves": o.leaves,
            "max_depth": o.depth or -1,
            # Its default of 100 rows per category would leave text unused in most partitions.
            "min_data_per_group": o.leaf,
            "min_data_in_leaf": o.leaf,
            "lambda_l2": o.l2,
            "seed": seed % 2**31,
            "num_threads": 1,
            "verbose": -1,
            "deterministic": True,
            "force_row_wise": True,
            "feature_pre_filter": False,
        }

    def _lags(self, problem: Problem) -> list[int]:
        season = problem.season
        return sorted(self.options.lags) or sorted({1, 2, 3, season, 2 * season})


def _categories(frame: pd.DataFrame) -> list[list[str] | None]:
    """For each column None where it is numeric, else the values that it takes, as text."""
    text = set(tabular_columns(frame)[1])
    columns = [frame.iloc[:, index].dropna() for index in range(frame.shape[1])]
    return [
        sorted(column.astype(object).map(str).unique()) if index in text else None
        for index, column in enumerate(columns)
    ]


def _matrix(frame: pd.DataFrame, categories: list[list[str] | None]) -> Floats:
    """Rows as numbers: text as its position among the categories; what is missing or unknown as NaN."""
    return np.column_stack([_numbers(frame.iloc[:, index], known) for index, known in enumerate(categories)])


def _numbers(column: pd.Series, known: list[str] | None) -> Floats:
    if known is None:
        return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)
    positions = {value: float(index) for index, value in enumerate(known)}
    texts = column.where(column.notna(), None)
    found = [positions.get(str(value), np.nan) if value is not None else np.nan for value in texts]
    return np.asarray(found, dtype=np.float64)
