"""Predict with a payload: one partition's model, its horizon or rows, and intervals. Pure pandas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from manymodels_spark.conformal import Intervals
from manymodels_spark.errors import FitError, Reason
from manymodels_spark.models import registry
from manymodels_spark.models.base import Problem
from manymodels_spark.payload import open_payload
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

    def __init__(self, payload: bytes, expected_sha256: str | None = None, *, allow_pickle: bool = False) -> None:
        document = open_payload(payload, expected_sha256, allow_pickle=allow_pickle)
        self.document = document
        self.problem = _problem(document)
        self.cutoff = pd.Timestamp(document["cutoff"]) if document["cutoff"] else None
        self._members = [_load(member) for member in document["members"]]
        self._intervals = Intervals.of_dict(document["intervals"]) if document["intervals"] else None

    def predict(
        self,
        *,
        future: pd.DataFrame | None = None,
        horizon: int | None = None,
        since: pd.Timestamp | None = None,
        levels: Sequence[int] | None = None,
    ) -> pd.DataFrame:
        """Forecast: columns time, prediction, lower_80, upper_80, ... with `horizon` rows after `since` (by default
        the payload's horizon and cutoff), or, where only `future` is given, a row for each of its times. `future`
        holds the known-future columns; other columns and earlier rows do not matter.

        Other tasks: a row for each row of `future`: prediction with intervals, or prediction (the class) and
        probability. Raises FitError(MISSING_FEATURE) where a needed feature is missing.
        """
        if self.problem.task == "forecast":
            return self._forecast(future, horizon, since, levels or [80, 95])
        if future is None:
            raise FitError(Reason.MISSING_FEATURE, f"a {self.problem.task} predicts rows, and none were given")
        if self.problem.task == "classification":
            return self._classify(future)
        return self._with_intervals(pd.DataFrame(index=future.index), self._combined(future), None, levels or [80, 95])

    def _forecast(
        self, future: pd.DataFrame | None, horizon: int | None, since: pd.Timestamp | None, levels: Sequence[int]
    ) -> pd.DataFrame:
        assert self.cutoff is not None
        wanted = None
        if future is not None and horizon is None and since is None:
            wanted = pd.DatetimeIndex(pd.to_datetime(future[self.problem.time]))
        times = self._times(wanted, horizon, since)
        predicted = self._combined(self._frame(times, future))
        steps = np.arange(1, len(times) + 1, dtype=np.float64)
        table = self._with_intervals(pd.DataFrame({self.problem.time: times}), predicted, steps, levels)
        if wanted is not None:
            return table.set_index(self.problem.time).reindex(wanted).rename_axis(self.problem.time).reset_index()
        return table[times > (self.cutoff if since is None else since)].head(horizon or self.problem.horizon).reset_index(drop=True)

    def _times(
        self, wanted: pd.DatetimeIndex | None, horizon: int | None, since: pd.Timestamp | None
    ) -> pd.DatetimeIndex:
        """All steps from the one after the cutoff to the last one wanted."""
        first, step = self.cutoff, pd.tseries.frequencies.to_offset(self.problem.frequency)
        assert first is not None
        if wanted is not None:
            last = wanted.max()
        else:
            start = max(first, since) if since is not None else first
            last = pd.date_range(start, periods=(horizon or self.problem.horizon) + 2, freq=step)
            last = last[last > start][(horizon or self.problem.horizon) - 1]
        times = pd.date_range(first, last, freq=step)
        times = times[times > first]
        if len(times) > LONGEST:
            raise FitError(Reason.MISSING_FEATURE, f"{len(times)} steps from the cutoff {first}, at most {LONGEST} are predicted")
        if len(times) == 0:
            raise FitError(Reason.MISSING_FEATURE, f"no step after the cutoff {first} is asked for")
        return times

    def _frame(self, times: pd.DatetimeIndex, future: pd.DataFrame | None) -> pd.DataFrame:
        """The steps with their known-future columns."""
        names = list(self.problem.known_future)
        frame = pd.DataFrame({self.problem.time: times})
        if not names:
            return frame
        if future is None:
            raise FitError(Reason.MISSING_FEATURE, f"the model wants {', '.join(names)} of the steps to predict, and none were given")
        known = future.assign(**{str(self.problem.time): pd.to_datetime(future[self.problem.time])})
        known = known.drop_duplicates(self.problem.time, keep="last").set_index(self.problem.time)
        values = known.reindex(times)[names].astype(np.float64)
        if values.isna().to_numpy().any():
            gap = times[values.isna().any(axis=1).to_numpy()]
            raise FitError(
                Reason.MISSING_FEATURE, f"{', '.join(names)} missing for {len(gap)} of {len(times)} steps, first {gap[0]}"
            )
        return frame.assign(**{name: values[name].to_numpy() for name in names})

    def _combined(self, frame: pd.DataFrame) -> np.ndarray:
        predictions = [family.predict(model, frame, self.problem) for family, model in self._members]
        if len(predictions) == 1:
            return np.asarray(predictions[0])
        return np.asarray((np.median if self.document["combine"] == "median" else np.mean)(predictions, axis=0))

    def _classify(self, rows: pd.DataFrame) -> pd.DataFrame:
        probabilities = self._combined(rows)
        classes = np.asarray(self.document["members"][0]["classes"], dtype=object)
        best = probabilities.argmax(axis=1)
        columns = {"prediction": classes[best], "probability": probabilities[np.arange(len(best)), best]}
        return pd.DataFrame(columns, index=rows.index)

    def _with_intervals(
        self, table: pd.DataFrame, predicted: np.ndarray, steps: np.ndarray | None, levels: Sequence[int]
    ) -> pd.DataFrame:
        columns: dict[str, np.ndarray] = {"prediction": predicted}
        for level in levels:
            half = np.full(len(predicted), np.nan)
            if self._intervals is not None:
                half = self._intervals.half_width(np.ones(len(predicted)) if steps is None else steps, level)
            columns |= {f"lower_{level}": predicted - half, f"upper_{level}": predicted + half}
        return table.assign(**columns)


def _load(member: dict[str, Any]) -> tuple[Any, Any]:
    family = registry.build(Candidate(family=member["family"], options=member["options"]))
    return family, family.load(member["state"])


def _problem(document: dict[str, Any]) -> Problem:
    names = ("task", "target", "time", "frequency", "season", "horizon", "holidays")
    lists = ("known_future", "features", "static")
    return Problem(**{name: document[name] for name in names}, **{name: tuple(document[name]) for name in lists})
