"""The protocol that every model family implements, and what a family is told of the task.

A family fits one model on the rows of one partition and predicts with it. It knows pandas and its own
library, never Spark, Delta, MLflow or the spec's file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from manymodels_spark.families.options import Options as Options
from manymodels_spark.spec.clock import local_zone
from manymodels_spark.spec.model import Spec

Model = TypeVar("Model")
Json = Any


def pandas_step(frequency: str) -> str:
    """The step to the next time, as pandas names it: a plain `W` goes on in seven days from any weekday,
    pandas' own to Sunday.
    """
    return "7D" if frequency == "W" else frequency


@dataclass(frozen=True)
class Problem:
    """What a family must know beside the rows: the columns' roles, the calendar, the horizon and a seed.

    `zone` is that of the local clock where times are in UTC (steps below a day), else None: hours and days of
    the week are local ones (see `local`).

    `start` is the state (as `dump` gave it) of an earlier model of the same family to begin the fit at, or
    None.
    """

    task: str
    target: str
    time: str | None
    frequency: str
    season: int
    horizon: int
    known_future: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    holidays: str | None = None
    seed: int = 0
    start: Json = None
    zone: str | None = None

    @classmethod
    def of(cls, spec: Spec, seed: int = 0) -> Problem:
        """The part of a spec that families may see; a place of holidays that a column names is the
        partition's to add.
        """
        columns = spec.columns
        return cls(
            task=spec.task,
            target=columns.target,
            time=columns.time,
            frequency=columns.frequency,
            season=spec.season_length,
            horizon=spec.horizon,
            known_future=tuple(columns.known_future),
            features=tuple(columns.features),
            static=tuple(columns.static),
            holidays=columns.holidays if isinstance(columns.holidays, str) else None,
            seed=seed,
            zone=local_zone(spec),
        )

    def local(self, times: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """The times on the local clock, from which calendar features are made."""
        if self.zone is None:
            return times
        return times.tz_localize("UTC").tz_convert(self.zone).tz_localize(None)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns that may be used to predict, in the spec's order and without repeats."""
        return tuple(dict.fromkeys([*self.known_future, *self.features, *self.static]))


class Family(ABC, Generic[Model]):
    """One way to fit a model to a partition. One instance holds the options and serves many partitions.

    Rows come sorted by time, with a float target without NaN (forecast, regression) or labels as text
    (classification), and the spec's own column names. `Model` is what `fit` returns and `predict` takes; it
    is stored as JSON by `dump` and `load`, exactly: a loaded model predicts what the fitted one did, bit for
    bit.
    """

    name: ClassVar[str]
    tasks: ClassVar[frozenset[str]]
    packages: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1
    # Whether rows must be one a step, those that are not known interpolated. False for families that lose
    # nothing without these rows: what they forecast depends on times, or is the same for every step.
    every_step: ClassVar[bool] = True
    Options: ClassVar[type[Options]] = Options

    def __init__(self, options: Any) -> None:
        self.options = options

    @property
    def warm_start(self) -> bool:
        """Whether the fit on all rows begins at the present champion's state, `problem.start`."""
        return False

    def min_rows(self, problem: Problem) -> int:
        """Fewest training rows with which a fit makes sense."""
        return 2

    def cost(self, rows: int) -> float:
        """Expected seconds of one fit on one core; only ratios matter, for balance and plans."""
        return 0.001 + 1e-6 * rows

    @abstractmethod
    def fit(self, rows: pd.DataFrame, problem: Problem) -> Model:
        """A model of these rows. Raises FitError with a reason; any other exception is a `fit_failed`."""

    def refit(self, model: Model, rows: pd.DataFrame, problem: Problem) -> Model:
        """A model of these rows that has the form of `model`, whose parameters are estimated again.

        A backtest calls `fit` on the earliest fold and `refit` on the later ones and on all rows, with the
        earliest fold's model, so that a family with a costly search for its form searches once. By default
        the same as `fit`.

        Args:
            model: what `fit` returned for the training rows of the earliest fold.
            rows: as in `fit`; in a forecast they end no earlier than those that `model` was fitted on.
            problem: as in `fit`.

        Returns:
            A new model. `model` itself is left as it was.

        Raises:
            FitError: with a reason; any other exception becomes `fit_failed`.

        """
        return self.fit(rows, problem)

    def update(self, model: Model, rows: pd.DataFrame, problem: Problem) -> Model | None:
        """The model brought up to the last of `rows` without a refit: same parameters, newer state.

        Args:
            model: what `fit` or `load` returned, of a forecast.
            rows: the partition's clean rows after the last row that the model was fitted on (or last
                updated with), sorted by time, with a float target without NaN and the known-future
                columns; none or more.
            problem: as in `fit`.

        Returns:
            A new model whose `predict` takes the steps right after the last of `rows`, or None where the
            family cannot do without a refit. `model` itself is left as it was.

        Raises:
            Any exception: the caller then predicts from the model as it was.

        """
        return None

    @abstractmethod
    def predict(self, model: Model, future: pd.DataFrame, problem: Problem) -> NDArray[np.float64]:
        """Predictions, one per row of `future`.

        Forecast: `future` holds the steps right after the last training row, in order and without holes (time
        and known-future columns); shape (len(future),). Regression: shape (len(future),). Classification:
        probabilities of the classes in the order of `classes(model)`, shape (len(future), n classes).
        """

    def predict_table(
        self, model: Model, table: Mapping[str, NDArray[Any]], problem: Problem
    ) -> NDArray[np.float64]:
        """As `predict` for a tabular task, of columns by name: float64 for numbers, what may be text as it
        comes.

        A family overrides it where it can do without the DataFrame.
        """
        return self.predict(model, pd.DataFrame(dict(table)), problem)

    def notes(self, model: Model) -> dict[str, Any]:
        """What is worth keeping of how a model was fitted, beside the options in the fit's record."""
        return {}

    def classes(self, model: Model) -> list[str]:
        """The classes of a classification model, as text, in the order of `predict`'s columns."""
        return []

    @abstractmethod
    def dump(self, model: Model) -> Json:
        """The model as values that JSON can hold (dicts with text keys, lists, numbers, text, None)."""

    @abstractmethod
    def load(self, state: Json) -> Model:
        """The inverse of `dump`."""
