"""Linear models: ridge regression in closed form for forecasts, pipelines of scikit-learn for tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from manymodels_spark.families.base import Json, Problem
from manymodels_spark.families.options import LinearOptions
from manymodels_spark.families.ridge import Ridge
from manymodels_spark.families.sklearn import Fitted, Sklearn
from manymodels_spark.families.threads import one_blas_thread


class Linear(Sklearn):
    """Ridge regression, or logistic regression for classes, on standardised columns."""

    name = "linear"
    Options = LinearOptions

    def cost(self, rows: int) -> float:
        """As measured on one core."""
        return 0.001 + 3e-7 * rows

    def estimator(self, problem: Problem, classify: bool) -> Any:
        """Scaled ridge or logistic regression."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.linear_model import Ridge as SklearnRidge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        alpha = self.options.alpha
        if classify:
            return make_pipeline(StandardScaler(), LogisticRegression(C=1 / max(alpha, 1e-6), max_iter=500))
        return make_pipeline(StandardScaler(), SklearnRidge(alpha))

    def predict(self, model: Fitted, future: pd.DataFrame, problem: Problem) -> NDArray[np.float64]:
        """Predictions, or probabilities of the classes."""
        if not isinstance(model.estimator, Ridge):
            return super().predict(model, future, problem)
        assert model.features is not None and model.tail is not None
        found = model.estimator.forecast(model.features, model.tail, future, problem)
        return np.exp(found) if model.log else found

    def dump(self, model: Fitted) -> Json:
        """The weights of a forecast; a table's pipeline as skops has it."""
        if not isinstance(model.estimator, Ridge):
            return super().dump(model)
        return {"ridge": model.estimator.as_dict(), **self.dump_series(model)}

    def load(self, state: Json) -> Fitted:
        """The inverse of `dump`, also of what earlier versions stored."""
        if "ridge" not in state:
            return super().load(state)
        return self.load_series(Ridge.of_dict(state["ridge"]), state)

    def fit_matrix(self, matrix: NDArray[np.float64], target: NDArray[np.float64], problem: Problem) -> Any:
        """The ridge regression of a series' features."""
        with one_blas_thread():
            return Ridge.fit(matrix, target, self.options.alpha)
