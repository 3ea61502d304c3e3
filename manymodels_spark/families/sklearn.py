"""Scikit-learn pipelines: on lags, calendar and known-future columns for forecasts, on features for tabular
tasks.

Stored by skops inside JSON; nothing is pickled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from manymodels_spark.errors import FitError, Reason
from manymodels_spark.families import skops
from manymodels_spark.families.base import Family, Json, Problem
from manymodels_spark.families.features import LagFeatures, newer_tail
from manymodels_spark.families.numpy_pipeline import Plain, plain
from manymodels_spark.families.options import BoostingOptions, ForestOptions, Options, SklearnOptions
from manymodels_spark.families.threads import is_held

# Rows of a table below which a product is too small for BLAS to share among threads.
FEW = 100


@dataclass
class Fitted:
    """A fitted pipeline and which of its columns are text; for forecasts how its rows are made and the last
    targets.
    """

    estimator: Any
    labels: list[str]
    text: list[int] = field(default_factory=list)
    features: LagFeatures | None = None
    tail: NDArray[np.float64] | None = None
    log: bool = False

    @cached_property
    def quick(self) -> Plain | None:
        """The estimator without scikit-learn's checks, where that is known to predict the same."""
        return plain(self.estimator, probabilities=bool(self.labels))


class Sklearn(Family[Fitted]):
    """Base: builds the estimator of the task and fits it on the rows' features."""

    tasks = frozenset({"forecast", "regression", "classification"})
    packages = ("scikit-learn", "skops")
    Options: ClassVar[type[Options]] = SklearnOptions
    stored_classes: ClassVar[frozenset[str]] = frozenset()
    """Dotted names of classes that a subclass's fitted pipelines hold beyond `skops.ALLOWED`."""

    def estimator(self, problem: Problem, classify: bool) -> Any:
        """An unfitted estimator."""
        raise FitError(Reason.FIT_FAILED, f"{self.name} has no estimator for {problem.task}")

    def min_rows(self, problem: Problem) -> int:
        """Enough rows for the longest lag and a few to learn from."""
        return 2 * self._lags(problem)[-1] + 2 if problem.task == "forecast" else 5

    def fit(self, rows: pd.DataFrame, problem: Problem) -> Fitted:
        """Fit the pipeline."""
        if problem.task == "forecast":
            return self._fit_forecast(rows, problem)
        from manymodels_spark.families.features import tabular_columns

        frame, target = rows[list(problem.inputs)], rows[problem.target]
        if not problem.inputs:
            raise FitError(
                Reason.MISSING_FEATURE,
                f"{self.name} requires columns.features to learn from, and the spec names none",
            )
        classify = problem.task == "classification"
        labels = sorted(target.unique()) if classify else []
        values = (
            np.searchsorted(labels, target.to_numpy(dtype=str))
            if classify
            else target.to_numpy(dtype=np.float64)
        )
        numeric, text = tabular_columns(frame)
        model = self._pipeline(self.estimator(problem, classify), numeric, text)
        with one_thread():
            model.fit(_plain(frame, text), values)
        return Fitted(model, [str(label) for label in labels], text)

    def predict(self, model: Fitted, future: pd.DataFrame, problem: Problem) -> NDArray[np.float64]:
        """Predictions, or probabilities of the classes."""
        with one_thread():
            if model.features is not None and model.tail is not None:
                found = model.features.forecast(model.quick or model.estimator, model.tail, future, problem)
                return np.exp(found) if model.log else found
            missing = [name for name in problem.inputs if name not in future]
            if missing:
                raise FitError(
                    Reason.MISSING_FEATURE, f"column {', '.join(missing)} is missing in the rows to predict"
                )
            columns = [future[name] for name in problem.inputs]
            return _predicted(
                model, [_text(one) if i in model.text else _numbers(one) for i, one in enumerate(columns)]
            )

    def update(self, model: Fitted, rows: pd.DataFrame, problem: Problem) -> Fitted | None:
        """The same estimator with the last targets of these rows."""
        tail = newer_tail(model.tail, rows, problem, model.log)
        return None if tail is None else replace(model, tail=tail)

    def predict_table(
        self, model: Fitted, table: Mapping[str, NDArray[Any]], problem: Problem
    ) -> NDArray[np.float64]:
        """Without a DataFrame on the way, which for one row costs more than the prediction."""
        columns = [
            _words(table[name]) if i in model.text else table[name] for i, name in enumerate(problem.inputs)
        ]
        if len(columns[0]) <= FEW and model.quick is not None:
            return _predicted(model, columns)
        with one_thread():
            return _predicted(model, columns)

    def classes(self, model: Fitted) -> list[str]:
        """The labels seen in training."""
        return model.labels

    def dump(self, model: Fitted) -> Json:
        """The pipeline as skops has it, and the rest as it is."""
        return {
            "skops": skops.dump(model.estimator, self.stored_classes),
            "labels": model.labels,
            "text": model.text,
            **self.dump_series(model),
        }

    def dump_series(self, model: Fitted) -> dict[str, Any]:
        """What a forecast needs beside its estimator."""
        return {
            "features": None if model.features is None else model.features.as_dict(),
            "tail": None if model.tail is None else [float(value) for value in model.tail],
            "log": model.log,
        }

    def load(self, state: Json) -> Fitted:
        """The inverse of `dump`. Raises PayloadError for a type that no pipeline of this package holds."""
        return self.load_series(skops.load(state["skops"], self.stored_classes), state)

    def load_series(self, estimator: Any, state: Json) -> Fitted:
        """A fitted model of its estimator and the rest of its state."""
        features = None if state["features"] is None else LagFeatures(**state["features"])
        tail = None if state["tail"] is None else np.asarray(state["tail"], dtype=np.float64)
        labels, text = state.get("labels", []), state.get("text", [])
        return Fitted(estimator, labels, text, features, tail, state.get("log", False))

    def fit_matrix(self, matrix: NDArray[np.float64], target: NDArray[np.float64], problem: Problem) -> Any:
        """The estimator fitted on a series' features, shape (rows, features), and targets, shape (rows,)."""
        with one_thread():
            return self.estimator(problem, False).fit(matrix, target)

    def _fit_forecast(self, rows: pd.DataFrame, problem: Problem) -> Fitted:
        features = LagFeatures(
            self._lags(problem), problem.known_future, self.options.calendar, problem.holidays
        )
        target = rows[problem.target].to_numpy(dtype=np.float64)
        log = self.options.log and bool((target > 0).all())
        target = np.log(target) if log else target
        matrix = features.matrix(target, rows, problem)
        start = features.lags[-1]
        model = self.fit_matrix(matrix[start:], target[start:], problem)
        return Fitted(model, [], [], features, target[-start:], log)

    def _lags(self, problem: Problem) -> list[int]:
        season = problem.season
        return sorted(self.options.lags) or sorted({1, 2, 3, season, 2 * season})

    def _pipeline(self, estimator: Any, numeric: list[int], text: list[int]) -> Any:
        from sklearn.compose import ColumnTransformer
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import OneHotEncoder

        encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        parts = [("numbers", SimpleImputer(keep_empty_features=True), numeric), ("text", encode, text)]
        return Pipeline([("columns", ColumnTransformer(parts)), ("model", estimator)])


class GradientBoosting(Sklearn):
    """Gradient boosted trees on histograms."""

    name = "gradient_boosting"
    Options = BoostingOptions

    def cost(self, rows: int) -> float:
        """As measured on one core."""
        return 0.05 + 2.5e-5 * rows

    def estimator(self, problem: Problem, classify: bool) -> Any:
        """HistGradientBoosting of the task."""
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        o = self.options
        cls = HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor
        return cls(
            max_iter=o.iterations,
            learning_rate=o.learning_rate,
            max_depth=o.depth,
            min_samples_leaf=o.leaf,
            early_stopping=False,
            random_state=problem.seed,
        )


class RandomForest(Sklearn):
    """A random forest on one thread."""

    name = "random_forest"
    Options = ForestOptions

    def cost(self, rows: int) -> float:
        """As measured on one core."""
        return 0.12 + 2.2e-4 * rows

    def estimator(self, problem: Problem, classify: bool) -> Any:
        """The forest of the task."""
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        o = self.options
        cls = RandomForestClassifier if classify else RandomForestRegressor
        return cls(
            n_estimators=o.trees,
            max_depth=o.depth,
            min_samples_leaf=o.leaf,
            n_jobs=1,
            random_state=problem.seed,
        )


@lru_cache(maxsize=1)
def _pools() -> Any:
    import sklearn.ensemble  # noqa: F401  so that its OpenMP is among those found
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped, unused-ignore]

    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Holds OpenMP and BLAS to one thread: a task has one core, and sums do not depend on their number."""
    if is_held():
        return nullcontext()
    limit: AbstractContextManager[Any] = _pools().limit(limits=1)
    return limit


def _predicted(model: Fitted, columns: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """Predictions, or probabilities, of columns: float64 where they are numbers, text as objects."""
    numbers = [column for i, column in enumerate(columns) if i not in model.text]
    if model.quick is not None and not any(np.isinf(column).any() for column in numbers):
        return model.quick.predict_columns(columns)
    method = model.estimator.predict_proba if model.labels else model.estimator.predict
    return np.asarray(method(_rows(columns)), dtype=np.float64)


def _plain(frame: pd.DataFrame, text: list[int]) -> NDArray[Any]:
    """The rows of a table as an object array, as the pipeline is fitted on."""
    return _rows(
        [_text(column) if i in text else _numbers(column) for i, (_, column) in enumerate(frame.items())]
    )


def _rows(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Columns side by side in an object array: no names, types or dates for skops to disagree about."""
    return np.column_stack([column.astype(object) for column in columns])


def _text(column: pd.Series) -> NDArray[np.object_]:
    values = column.astype(object)
    return values.where(column.notna(), "missing").map(str).to_numpy(dtype=object)


def _words(values: NDArray[Any]) -> NDArray[np.object_]:
    """As `_text`, without pandas where there is nothing but text and None."""
    if values.dtype == object and all(value is None or isinstance(value, str) for value in values):
        return np.array(["missing" if value is None else value for value in values], dtype=object)
    return _text(pd.Series(values))


def _numbers(column: pd.Series) -> NDArray[Any]:
    return pd.to_numeric(column, errors="coerce").astype(np.float64).to_numpy()
