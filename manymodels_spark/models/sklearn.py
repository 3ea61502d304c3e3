"""Scikit-learn pipelines: on lags, calendar and known-future columns for forecasts, on features for tabular tasks.

Stored by skops inside JSON; nothing is pickled.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from manymodels_spark.errors import FitError, PayloadError, Reason
from manymodels_spark.models.base import Family, Json, Options, Problem
from manymodels_spark.models.features import LagFeatures

_TRUSTED_PREFIXES = ("sklearn.", "numpy.", "scipy.", "builtins.", "collections.")


class SklearnOptions(Options):
    """`lags` and `calendar` shape a forecast's features; tabular tasks use the spec's columns as they are."""

    lags: list[Annotated[int, Field(ge=1, le=10_000)]] = []
    calendar: bool = True


@dataclass
class Fitted:
    """A fitted pipeline; for forecasts also how its rows are made and the last targets, for the next lags."""

    estimator: Any
    labels: list[str]
    features: LagFeatures | None = None
    tail: NDArray[np.float64] | None = None


class Sklearn(Family[Fitted]):
    """Base: builds the estimator of the task and fits it on the rows' features."""

    tasks = frozenset({"forecast", "regression", "classification"})
    packages = ("scikit-learn", "skops")
    Options: ClassVar[type[Options]] = SklearnOptions

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
        from manymodels_spark.models.features import tabular_columns

        frame, target = rows[list(problem.inputs)], rows[problem.target]
        if not problem.inputs:
            raise FitError(Reason.MISSING_FEATURE, f"{self.name} wants columns.features to learn from, and the spec names none")
        classify = problem.task == "classification"
        labels = sorted(target.unique()) if classify else []
        values = np.searchsorted(labels, target.to_numpy(dtype=str)) if classify else target.to_numpy(dtype=np.float64)
        model = self._pipeline(self.estimator(problem, classify), *tabular_columns(frame))
        return Fitted(model.fit(_plain(frame), values), [str(label) for label in labels])

    def predict(self, model: Fitted, future: pd.DataFrame, problem: Problem) -> NDArray[np.float64]:
        """Predictions, or probabilities of the classes."""
        if model.features is not None and model.tail is not None:
            return model.features.forecast(model.estimator, model.tail, future, problem)
        missing = [name for name in problem.inputs if name not in future]
        if missing:
            raise FitError(Reason.MISSING_FEATURE, f"column {', '.join(missing)} is missing in the rows to predict")
        frame = _plain(future[list(problem.inputs)])
        if model.labels:
            return np.asarray(model.estimator.predict_proba(frame), dtype=np.float64)
        return np.asarray(model.estimator.predict(frame), dtype=np.float64)

    def classes(self, model: Fitted) -> list[str]:
        """The labels seen in training."""
        return model.labels

    def dump(self, model: Fitted) -> Json:
        """skops' bytes in base 64, and the rest as it is."""
        import skops.io

        return {
            "skops": base64.b64encode(skops.io.dumps(model.estimator)).decode(),
            "labels": model.labels,
            "features": None if model.features is None else model.features.as_dict(),
            "tail": None if model.tail is None else [float(value) for value in model.tail],
        }

    def load(self, state: Json) -> Fitted:
        """The inverse of `dump`. Raises PayloadError for a type that no pipeline of this package holds."""
        import skops.io

        data = base64.b64decode(state["skops"])
        untrusted = skops.io.get_untrusted_types(data=data)
        foreign = [name for name in untrusted if not name.startswith(_TRUSTED_PREFIXES)]
        if foreign:
            raise PayloadError(f"the stored pipeline holds {', '.join(foreign)}, which is not loaded. Train it again")
        features = None if state["features"] is None else LagFeatures(**state["features"])
        tail = None if state["tail"] is None else np.asarray(state["tail"], dtype=np.float64)
        return Fitted(skops.io.loads(data, trusted=untrusted), state["labels"], features, tail)

    def _fit_forecast(self, rows: pd.DataFrame, problem: Problem) -> Fitted:
        features = LagFeatures(self._lags(problem), problem.known_future, self.options.calendar)
        target = rows[problem.target].to_numpy(dtype=np.float64)
        matrix = features.matrix(target, rows, problem)
        start = features.lags[-1]
        model = self.estimator(problem, False).fit(matrix[start:], target[start:])
        return Fitted(model, [], features, target[-start:])

    def _lags(self, problem: Problem) -> list[int]:
        season = problem.season
        return sorted(self.options.lags) or sorted({1, 2, 3, season, 2 * season})

    def _pipeline(self, estimator: Any, numeric: list[int], text: list[int]) -> Any:
        from sklearn.compose import ColumnTransformer
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import OneHotEncoder

        encode = Pipeline([
            ("fill", SimpleImputer(strategy="constant", fill_value="missing")),
            ("encode", OneHotEncoder(handle_unknown="ignore", sparse_output=False)),
        ])  # fmt: skip
        parts = [("numbers", SimpleImputer(keep_empty_features=True), numeric), ("text", encode, text)]
        return Pipeline([("columns", ColumnTransformer(parts)), ("model", estimator)])


class LinearOptions(SklearnOptions):
    """`alpha`: strength of the ridge penalty."""

    alpha: Annotated[float, Field(ge=0)] = 1.0


class Linear(Sklearn):
    """Ridge regression, or logistic regression for classes, on standardised columns."""

    name = "linear"
    Options = LinearOptions

    def cost(self, rows: int) -> float:
        """As measured on one core."""
        return 0.006 + 3e-6 * rows

    def estimator(self, problem: Problem, classify: bool) -> Any:
        """Scaled ridge or logistic regression."""
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        alpha = self.options.alpha
        model = LogisticRegression(C=1 / max(alpha, 1e-6), max_iter=500) if classify else Ridge(alpha)
        return make_pipeline(StandardScaler(), model)


class BoostingOptions(SklearnOptions):
    """Of scikit-learn's HistGradientBoosting."""

    iterations: Annotated[int, Field(ge=1)] = 100
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    depth: Annotated[int, Field(ge=1)] | None = None
    leaf: Annotated[int, Field(ge=1)] = 20


class GradientBoosting(Sklearn):
    """Gradient boosted trees on histograms."""

    name = "gradient_boosting"
    Options = BoostingOptions

    def cost(self, rows: int) -> float:
        """As measured on one core."""
        return 0.15 + 1e-4 * rows

    def estimator(self, problem: Problem, classify: bool) -> Any:
        """HistGradientBoosting of the task."""
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        o = self.options
        cls = HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor
        return cls(max_iter=o.iterations, learning_rate=o.learning_rate, max_depth=o.depth, min_samples_leaf=o.leaf,
                   early_stopping=False, random_state=problem.seed)


class ForestOptions(SklearnOptions):
    """Of scikit-learn's random forest."""

    trees: Annotated[int, Field(ge=1)] = 100
    depth: Annotated[int, Field(ge=1)] | None = None
    leaf: Annotated[int, Field(ge=1)] = 3


class RandomForest(Sklearn):
    """A random forest on one thread."""

    name = "random_forest"
    Options = ForestOptions

    def cost(self, rows: int) -> float:
        """As measured on one core."""
        return 0.2 + 5e-4 * rows

    def estimator(self, problem: Problem, classify: bool) -> Any:
        """The forest of the task."""
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        o = self.options
        cls = RandomForestClassifier if classify else RandomForestRegressor
        return cls(n_estimators=o.trees, max_depth=o.depth, min_samples_leaf=o.leaf, n_jobs=1, random_state=problem.seed)


def _plain(frame: pd.DataFrame) -> NDArray[Any]:
    """The rows as an object array: skops and scikit-learn then keep no column names to disagree about."""
    return frame.astype(object).where(frame.notna(), np.nan).to_numpy()
