"""Predict with a payload: one partition's model, its horizon or rows, and intervals. Pure pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from manymodels_spark.errors import FitError, ManyModelsError, Reason
from manymodels_spark.families import registry
from manymodels_spark.families.base import Problem
from manymodels_spark.modeling.conformal import Intervals
from manymodels_spark.modeling.ensemble import combined
from manymodels_spark.modeling.payload import open_payload
from manymodels_spark.spec.frequency import pandas_step
from manymodels_spark.spec.model import Candidate

LONGEST = 100_000


def predict_partition(
    payload: bytes,
    *,
    future: pd.DataFrame | None = None,
    horizon: int | None = None,
    since: pd.Timestamp | None = None,
    levels: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Predictions of one partition's model; see `LoadedPartition.predict`."""
    return LoadedPartition(payload).predict(future=future, horizon=horizon, since=since, levels=levels)


class LoadedPartition:
    """A payload opened once, to predict many times. Raises PayloadError where it cannot be opened."""

    def __init__(
        self, payload: bytes, expected_sha256: str | None = None, *, allow_pickle: bool = False
    ) -> None:
        document = open_payload(payload, expected_sha256, allow_pickle=allow_pickle)
        self.document = document
        self.problem = _problem(document)
        self.cutoff = pd.Timestamp(document["cutoff"]) if document["cutoff"] else None
        self._members = [_load(member) for member in document["members"]]
        self._intervals = Intervals.of_dict(document["intervals"]) if document["intervals"] else None
        self._steps: pd.DatetimeIndex | None = None

    def lighten(self) -> LoadedPartition:
        """Drop the stored form of the fitted members, of which the open form is all that predicts; itself."""
        lean = [
            {name: value for name, value in member.items() if name != "state"}
            for member in self.document["members"]
        ]
        self.document = {**self.document, "members": lean}
        return self

    def predict(
        self,
        *,
        future: pd.DataFrame | None = None,
        horizon: int | None = None,
        since: pd.Timestamp | None = None,
        levels: Sequence[int] | None = None,
    ) -> pd.DataFrame:
        """Forecast: columns time, prediction, lower_80, upper_80, ... with `horizon` rows after `since` (by
        default the payload's horizon and cutoff), or, where only `future` is given, a row for each of its
        times. `future` holds the known-future columns; other columns and earlier rows do not matter.

        Other tasks: a row for each row of `future`: prediction with intervals, or prediction (the class) and
        probability. Raises FitError(MISSING_FEATURE) where a needed feature is missing.

        `levels` are percentages from 1 to 99; bounds of one that the model has no interval for are NaN.
        """
        if self.problem.task == "forecast":
            return pd.DataFrame(self.forecast(future, horizon, since, levels or [80, 95]))
        if future is None:
            raise FitError(
                Reason.MISSING_FEATURE, f"a {self.problem.task} predicts rows, and none were given"
            )
        return pd.DataFrame(self._tabular(self._combined(future), levels or [80, 95]), index=future.index)

    def forecast(
        self,
        future: pd.DataFrame | None,
        horizon: int | None,
        since: pd.Timestamp | None,
        levels: Sequence[int],
    ) -> dict[str, Any]:
        """What `predict` says of a forecast, as columns: the times as a DatetimeIndex, the rest as float
        arrays.
        """
        assert self.cutoff is not None
        wanted = None
        future = None if future is None else self._with_times(future)
        if future is not None and horizon is None and since is None:
            wanted = pd.DatetimeIndex(future[self.problem.time])
        times = (
            self._ahead(horizon) if wanted is None and since is None else self._times(wanted, horizon, since)
        )
        predicted = self._combined(self._frame(times, future))
        steps = np.arange(1, len(times) + 1, dtype=np.float64)
        name, columns = str(self.problem.time), self._with_intervals(predicted, steps, levels)
        if wanted is not None:
            at = times.get_indexer(wanted)
            return {
                name: wanted,
                **{key: np.where(at < 0, np.nan, values[at]) for key, values in columns.items()},
            }
        ahead = horizon or self.problem.horizon
        first = 0 if since is None else int(np.count_nonzero(times <= max(since, self.cutoff)))
        shown = slice(first, first + ahead)
        return {name: times[shown], **{key: values[shown] for key, values in columns.items()}}

    def table(self, columns: Mapping[str, NDArray[Any]], levels: Sequence[int]) -> dict[str, Any]:
        """What `predict` says of rows, as columns, from columns: float64 for numbers, objects for text."""
        predictions = [family.predict_table(model, columns, self.problem) for family, model in self._members]
        return self._tabular(self._mean(predictions), levels)

    def _tabular(self, predicted: np.ndarray, levels: Sequence[int]) -> dict[str, Any]:
        if self.problem.task == "classification":
            return self._classes(predicted)
        return self._with_intervals(predicted, None, levels)

    def _ahead(self, horizon: int | None) -> pd.DatetimeIndex:
        """The steps after the cutoff. Those of the model's own horizon are kept: they are asked for again and
        again.
        """
        ahead = horizon or self.problem.horizon
        if ahead > self.problem.horizon:
            return self._times(None, ahead, None)
        if self._steps is None:
            self._steps = self._times(None, None, None)
        return self._steps[:ahead]

    def _with_times(self, future: pd.DataFrame) -> pd.DataFrame:
        """The rows with their times read; zones are refused, since the model's times have none."""
        name = str(self.problem.time)
        if name not in future:
            raise FitError(Reason.MISSING_FEATURE, f"column {name} is missing in the steps to predict")
        times = pd.to_datetime(future[name], errors="coerce", format="mixed")
        if times.isna().any():
            raise FitError(
                Reason.BAD_TIMES, f"{int(times.isna().sum())} of {len(times)} rows have no valid {name}"
            )
        if times.dt.tz is not None:
            raise FitError(
                Reason.BAD_TIMES, f"{name} has time zone {times.dt.tz}; give local times without one"
            )
        return future.assign(**{name: times})

    def _times(
        self, wanted: pd.DatetimeIndex | None, horizon: int | None, since: pd.Timestamp | None
    ) -> pd.DatetimeIndex:
        """All steps from the one after the cutoff to the last one wanted."""
        frequency = pandas_step(self.problem.frequency)
        first, step, ahead = (
            self.cutoff,
            pd.tseries.frequencies.to_offset(frequency),
            horizon or self.problem.horizon,
        )
        assert first is not None
        try:
            if wanted is not None:
                last = wanted.max()
            else:
                start = max(first, since) if since is not None else first
                following = pd.date_range(start, periods=min(ahead, LONGEST + 1) + 2, freq=step)
                last = following[following > start][min(ahead, LONGEST + 1) - 1]
            times = pd.date_range(first, last, freq=step)
        except pd.errors.OutOfBoundsDatetime as error:
            raise FitError(
                Reason.BAD_TIMES, f"{ahead} steps of {frequency} reach beyond the year 2262"
            ) from error
        times = times[times > first]
        if len(times) > LONGEST:
            message = (
                f"more than {LONGEST} steps from the cutoff {first} are asked for, and at most that many "
                "predicted"
            )
            raise FitError(Reason.BAD_TIMES, message)
        if len(times) == 0:
            raise FitError(Reason.BAD_TIMES, f"no step after the cutoff {first} is asked for")
        return times

    def _frame(self, times: pd.DatetimeIndex, future: pd.DataFrame | None) -> pd.DataFrame:
        """The steps with their known-future columns."""
        names = list(self.problem.known_future)
        frame = pd.DataFrame({self.problem.time: times})
        if not names:
            return frame
        if future is None:
            raise FitError(
                Reason.MISSING_FEATURE,
                f"the model wants {', '.join(names)} of the steps to predict, and none were given",
            )
        missing = [name for name in names if name not in future]
        if missing:
            raise FitError(
                Reason.MISSING_FEATURE, f"column {', '.join(missing)} is missing in the steps to predict"
            )
        known = future.drop_duplicates(self.problem.time, keep="last").set_index(self.problem.time)
        values = known.reindex(times)[names].astype(np.float64)
        if values.isna().to_numpy().any():
            gap = times[values.isna().any(axis=1).to_numpy()]
            raise FitError(
                Reason.MISSING_FEATURE,
                f"{', '.join(names)} missing for {len(gap)} of {len(times)} steps, first {gap[0]}",
            )
        return frame.assign(**{name: values[name].to_numpy() for name in names})

    def _combined(self, frame: pd.DataFrame) -> np.ndarray:
        return self._mean([family.predict(model, frame, self.problem) for family, model in self._members])

    def _mean(self, predictions: list[np.ndarray]) -> np.ndarray:
        return combined(predictions, self.document["combine"], self.document.get("weights"))

    def _classes(self, probabilities: np.ndarray) -> dict[str, Any]:
        classes = np.asarray(self.document["members"][0]["classes"], dtype=object)
        best = probabilities.argmax(axis=1)
        return {"prediction": classes[best], "probability": probabilities[np.arange(len(best)), best]}

    def _with_intervals(
        self, predicted: np.ndarray, steps: np.ndarray | None, levels: Sequence[int]
    ) -> dict[str, np.ndarray]:
        columns: dict[str, np.ndarray] = {"prediction": predicted}
        for level in levels:
            if not 1 <= level <= 99:
                raise ManyModelsError(
                    f"level {level}: an interval's level is a whole percentage from 1 to 99"
                )
            half = np.full(len(predicted), np.nan)
            if self._intervals is not None:
                half = self._intervals.half_width(np.ones(len(predicted)) if steps is None else steps, level)
            columns |= {f"lower_{level}": predicted - half, f"upper_{level}": predicted + half}
        return columns


def _load(member: dict[str, Any]) -> tuple[Any, Any]:
    family = registry.build(Candidate(family=member["family"], options=member["options"]))
    return family, family.load(member["state"])


def _problem(document: dict[str, Any]) -> Problem:
    names = ("task", "target", "time", "frequency", "season", "horizon", "holidays")
    lists = ("known_future", "features", "static")
    values: dict[str, Any] = {name: document[name] for name in names}
    return Problem(**values | {name: tuple(document[name]) for name in lists})
