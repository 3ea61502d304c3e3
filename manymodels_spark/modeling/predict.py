"""Predict with a payload: one partition's model, its horizon or rows, and intervals. Pure pandas."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from manymodels_spark.errors import FitError, ManyModelsError, Reason
from manymodels_spark.families import registry
from manymodels_spark.families.base import Problem
from manymodels_spark.modeling.bounds import Bounds
from manymodels_spark.modeling.closed import ClosedRule, Mask
from manymodels_spark.modeling.conformal import Intervals
from manymodels_spark.modeling.ensemble import combined
from manymodels_spark.modeling.grid import missing_steps
from manymodels_spark.modeling.payload import open_payload
from manymodels_spark.modeling.steps import required, steps_after, with_times
from manymodels_spark.spec.model import Candidate, percent


def predict_partition(
    payload: bytes,
    *,
    future: pd.DataFrame | None = None,
    horizon: int | None = None,
    since: pd.Timestamp | None = None,
    levels: Sequence[int] | None = None,
    observed: pd.DataFrame | None = None,
    families: Collection[str] | None = (),
) -> pd.DataFrame:
    """Predictions of one partition's model; see `LoadedPartition` and its `predict`.

    `observed` are rows that came since the model was trained: see `LoadedPartition.updated`.
    """
    model = LoadedPartition(payload, families=families)
    model = model if observed is None else model.updated(observed)
    return model.predict(future=future, horizon=horizon, since=since, levels=levels)


class LoadedPartition:
    """A payload opened once, to predict many times. Raises PayloadError where it cannot be opened.

    `families` are those named `module:Class` whose modules may be imported for it (see
    `registry.importable`); None imports whatever it names. `trained_until` is the last time that the fit
    saw, `cutoff` the one that forecasts go on from: the same until `updated`.
    """

    def __init__(
        self,
        payload: bytes,
        expected_sha256: str | None = None,
        *,
        allow_pickle: bool = False,
        families: Collection[str] | None = (),
    ) -> None:
        document = open_payload(payload, expected_sha256, allow_pickle=allow_pickle)
        self.document = document
        self.problem = _problem(document)
        self.cutoff = pd.Timestamp(document["cutoff"]) if document["cutoff"] else None
        self.trained_until = self.cutoff
        self.closed = ClosedRule.of_dict(document.get("closed"))
        self.bounds = Bounds.of_dict(document.get("bounds"))
        self._members = [_load(member, families) for member in document["members"]]
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

    def updated(self, rows: pd.DataFrame) -> LoadedPartition:
        """The model brought up to the newest of the rows without a refit, or itself where it cannot be.

        Args:
            rows: of the partition, with time, target and known-future columns; those up to the cutoff, and
                those without a target, do not count. Steps without a row, and closed ones, count as the model
                predicts them.

        Returns:
            A model of the same parameters with newer state, whose `cutoff` is the newest row's time; itself
            where there is no newer row or a family has no `update`.

        """
        if self.problem.task != "forecast" or self.cutoff is None or rows.empty:
            return self
        time, target = str(self.problem.time), self.problem.target
        fresh = with_times(rows, time)
        fresh = fresh[(fresh[time] > self.cutoff) & fresh[target].notna()].sort_values(time)
        if fresh.empty:
            return self
        try:
            steps, known = self._filled(fresh.drop_duplicates(time, keep="last"))
            members = [
                (family, family.update(model, steps if family.every_step else steps[known], self.problem))
                for family, model in self._members
            ]
        except Exception:  # the model as it was still predicts
            return self
        if any(model is None for _, model in members):
            return self
        newer = copy.copy(self)
        newer.cutoff, newer._members, newer._steps = fresh[time].iloc[-1], members, None
        return newer

    def predict(
        self,
        *,
        future: pd.DataFrame | None = None,
        horizon: int | None = None,
        since: pd.Timestamp | None = None,
        levels: Sequence[int] | None = None,
    ) -> pd.DataFrame:
        """Predictions with intervals and, where the spec asked for them, quantiles.

        Args:
            future: the known-future columns (and the one that says closed) by time; other columns and earlier
                rows do not matter. For other tasks than a forecast the rows to predict.
            horizon: steps to forecast, by default the payload's.
            since: forecast the steps after this time, by default after the cutoff.
            levels: percentages from 1 to 99; bounds of one that the model has no interval for are NaN.

        Returns:
            Forecast: time, prediction, lower_80, upper_80, ..., quantile_10, ... with `horizon` rows after
            `since`, or, where only `future` is given, a row for each of its times. Closed steps are 0 or left
            out, as the spec said. Other tasks: a row for each row of `future`: prediction with intervals, or
            prediction (the class) and probability.

        Raises:
            FitError: MISSING_FEATURE where a needed column is missing, BAD_TIMES where no such step can be
                predicted.

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
        name, wanted = str(self.problem.time), None
        future = None if future is None else with_times(future, name)
        if future is not None and horizon is None and since is None:
            wanted = pd.DatetimeIndex(future[name])
        times = self._ahead(horizon, since) if wanted is None else self._times(wanted, horizon, since)
        closed = self._closed(times, future)
        columns = self._shaped(self._combined(self._frame(times, future, since, closed)), closed, levels)
        if wanted is not None:
            at = times.get_indexer(wanted)
            return {
                name: wanted,
                **{key: np.where(at < 0, np.nan, values[at]) for key, values in columns.items()},
            }
        first = 0 if since is None else int(np.count_nonzero(times <= max(since, self.cutoff)))
        shown = np.arange(first, min(first + (horizon or self.problem.horizon), len(times)))
        if self.closed is not None and self.closed.predict == "leave_out":
            shown = shown[~closed[shown]]
        return {name: times[shown], **{key: values[shown] for key, values in columns.items()}}

    def table(self, columns: Mapping[str, NDArray[Any]], levels: Sequence[int]) -> dict[str, Any]:
        """What `predict` says of rows, as columns, from columns: float64 for numbers, objects for text."""
        predictions = [family.predict_table(model, columns, self.problem) for family, model in self._members]
        return self._tabular(self._mean(predictions), levels)

    def _tabular(self, predicted: np.ndarray, levels: Sequence[int]) -> dict[str, Any]:
        if self.problem.task == "classification":
            return self._classes(predicted)
        return self._with_intervals(self.bounds.applied(predicted), np.ones(len(predicted)), levels)

    def _shaped(self, predicted: np.ndarray, closed: Mask, levels: Sequence[int]) -> dict[str, np.ndarray]:
        """Predictions of the steps after the cutoff within the bounds, with intervals; closed steps are 0, or
        NaN where they are to be left out.
        """
        steps = np.arange(1, len(predicted) + 1, dtype=np.float64)
        columns = self._with_intervals(self.bounds.applied(predicted), steps, levels)
        if not closed.any():
            return columns
        value = 0.0 if self.closed is None or self.closed.predict == "zero" else np.nan
        return {name: np.where(closed, value, values) for name, values in columns.items()}

    def _closed(self, times: pd.DatetimeIndex, future: pd.DataFrame | None) -> Mask:
        if self.closed is None:
            return np.zeros(len(times), dtype=np.bool_)
        return self.closed.mask(times, future, str(self.problem.time))

    def _ahead(self, horizon: int | None, since: pd.Timestamp | None) -> pd.DatetimeIndex:
        """The steps after the cutoff. Those of the model's own horizon are kept: they are asked for again and
        again.
        """
        ahead = horizon or self.problem.horizon
        if ahead > self.problem.horizon or since is not None:
            return self._times(None, ahead, since)
        if self._steps is None:
            self._steps = self._times(None, None, None)
        return self._steps[:ahead]

    def _times(
        self, wanted: pd.DatetimeIndex | None, horizon: int | None, since: pd.Timestamp | None
    ) -> pd.DatetimeIndex:
        assert self.cutoff is not None
        ahead = horizon or self.problem.horizon
        return steps_after(self.cutoff, self.problem.frequency, wanted=wanted, ahead=ahead, since=since)

    def _frame(
        self, times: pd.DatetimeIndex, future: pd.DataFrame | None, since: pd.Timestamp | None, closed: Mask
    ) -> pd.DataFrame:
        """The steps with their known-future columns.

        A closed step may lack them. So may one that has passed (no row came of it): the last values before it
        hold, as in a fit.
        """
        names = list(self.problem.known_future)
        frame = pd.DataFrame({self.problem.time: times})
        if not names:
            return frame
        values = required(names, times, future, str(self.problem.time))
        if since is not None:
            values = values.where(~values.isna() | (times > since)[:, None], values.ffill())
        if closed.any():
            values = values.where(~values.isna() | ~closed[:, None], values.ffill().bfill())
        if values.isna().to_numpy().any():
            gap = times[values.isna().any(axis=1).to_numpy()]
            raise FitError(
                Reason.MISSING_FEATURE,
                f"{', '.join(names)} missing for {len(gap)} of {len(times)} steps, first {gap[0]}",
            )
        return frame.assign(**{name: values[name].to_numpy() for name in names})

    def _filled(self, fresh: pd.DataFrame) -> tuple[pd.DataFrame, Mask]:
        """Every step from the cutoff to the last of the rows, and which are known: the others hold what the
        model predicts of them.
        """
        time, target = str(self.problem.time), self.problem.target
        given = pd.DatetimeIndex(fresh[time])
        known_times = pd.DatetimeIndex(given.insert(0, self.cutoff))
        made = missing_steps(known_times, self.problem.frequency)
        times = given.union(made)
        actual = fresh.set_index(time)[target].astype(np.float64).reindex(times).to_numpy()
        closed = self._closed(times, fresh)
        known = ~np.isnan(actual) & ~closed
        frame = self._frame(times, fresh, times[-1], closed)
        if not known.all():
            actual = np.where(known, actual, self.bounds.applied(self._combined(frame)))
        return frame.assign(**{target: actual}), known

    def _combined(self, frame: pd.DataFrame) -> np.ndarray:
        return self._mean([family.predict(model, frame, self.problem) for family, model in self._members])

    def _mean(self, predictions: list[np.ndarray]) -> np.ndarray:
        return combined(predictions, self.document["combine"], self.document.get("weights"))

    def _classes(self, probabilities: np.ndarray) -> dict[str, Any]:
        classes = np.asarray(self.document["members"][0]["classes"], dtype=object)
        best = probabilities.argmax(axis=1)
        return {"prediction": classes[best], "probability": probabilities[np.arange(len(best)), best]}

    def _with_intervals(
        self, predicted: np.ndarray, steps: np.ndarray, levels: Sequence[int]
    ) -> dict[str, np.ndarray]:
        columns: dict[str, np.ndarray] = {"prediction": predicted}
        unknown = np.full(len(predicted), np.nan)
        for level in levels:
            if not 1 <= level <= 99:
                raise ManyModelsError(
                    f"level {level}: an interval's level is a whole percentage from 1 to 99"
                )
            lower, upper = (
                (unknown, unknown) if self._intervals is None else self._intervals.offsets(steps, level)
            )
            columns[f"lower_{level}"] = self.bounds.lower(predicted + lower)
            columns[f"upper_{level}"] = self.bounds.upper(predicted + upper)
        if self._intervals is not None:
            for one in self.document.get("probabilities", []):
                quantile = predicted + self._intervals.quantile(steps, one)
                columns[f"quantile_{percent(one)}"] = self.bounds.applied(quantile)
        return columns


def _load(member: dict[str, Any], families: Collection[str] | None) -> tuple[Any, Any]:
    if families is not None:
        registry.require_importable(member["family"], families)
    family = registry.build(Candidate(family=member["family"], options=member["options"]))
    return family, family.load(member["state"])


def _problem(document: dict[str, Any]) -> Problem:
    names = ("task", "target", "time", "frequency", "season", "horizon", "holidays")
    lists = ("known_future", "features", "static")
    values: dict[str, Any] = {name: document[name] for name in names}
    values["zone"] = document.get("zone")  # format 1 has none
    return Problem(**values | {name: tuple(document[name]) for name in lists})
