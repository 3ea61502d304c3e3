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


def local_times(times: pd.DatetimeIndex, zone: str | None) -> pd.DatetimeIndex:
    """Wall times in the zone of times in UTC; the times themselves where there is no zone."""
    return times if zone is None else times.tz_localize("UTC").tz_convert(zone).tz_localize(None)


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
        """The part of a spec that families may see.

        Where a column names the place of the holidays, it is added for each partition.

        Args:
            spec: the job.
            seed: of whatever a family draws at random.

        Returns:
            The problem without a partition's own parts.
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
        """The times on the local clock, from which calendar features are made.

        Args:
            times: in UTC for steps below a day, else wall times.

        Returns:
            Wall times without a zone, of the same length.
        """
        return local_times(times, self.zone)

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
        """Fewest training rows with which a fit makes sense.

        Args:
            problem: the columns' roles, the calendar and the horizon.

        Returns:
            A number of rows; a partition with less is not tried.
        """
        return 2

    def cost(self, rows: int) -> float:
        """Expected cost of one fit; only ratios between families and lengths matter.

        Args:
            rows: how many training rows.

        Returns:
            Seconds on one core.
        """
        return 0.001 + 1e-6 * rows

    @abstractmethod
    def fit(self, rows: pd.DataFrame, problem: Problem) -> Model:
        """A model of these rows.

        Args:
            rows: one per step or case, sorted by time, with the target and the inputs of `problem`.
            problem: the columns' roles, the calendar and the horizon.

        Returns:
            What `predict` and `dump` take.

        Raises:
            FitError: with a reason; any other exception becomes `fit_failed`.
        """

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
        """Predictions, one per row of `future`, in the target's units.

        Args:
            model: what `fit` or `load` returned.
            future: of a forecast, the steps right after the last training row, in order and without holes,
                with time and known-future columns; of a table, the inputs.
            problem: as in `fit`.

        Returns:
            Shape (len(future),) for forecasts and regression. For classification the probabilities of the
            classes in the order of `classes(model)`, shape (len(future), n classes).
        """

    def predict_table(
        self, model: Model, table: Mapping[str, NDArray[Any]], problem: Problem
    ) -> NDArray[np.float64]:
        """As `predict` for a tabular task, without a DataFrame where a family can do without.

        Args:
            model: what `fit` or `load` returned.
            table: columns by name, each of shape (n rows,): float64 for numbers, object for text.
            problem: as in `fit`.

        Returns:
            As `predict` does.
        """
        return self.predict(model, pd.DataFrame(dict(table)), problem)

    def notes(self, model: Model) -> dict[str, Any]:
        """What is worth keeping of how a model was fitted, beside its options.

        Args:
            model: what `fit` returned.

        Returns:
            Values that JSON can hold, for the fit's record.
        """
        return {}

    def classes(self, model: Model) -> list[str]:
        """The classes of a classification model.

        Args:
            model: what `fit` or `load` returned.

        Returns:
            The classes as text, in the order of `predict`'s columns.
        """
        return []

    @abstractmethod
    def dump(self, model: Model) -> Json:
        """The model as values that JSON can hold.

        Args:
            model: what `fit` returned.

        Returns:
            Dicts with text keys, lists, numbers, text, None.
        """

    @abstractmethod
    def load(self, state: Json) -> Model:
        """The inverse of `dump`, exact to the bit.

        Args:
            state: what `dump` gave.

        Returns:
            A model that predicts what the fitted one did.
        """
