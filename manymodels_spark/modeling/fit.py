"""One partition: check its rows, try every candidate on folds, choose, fit, and seal the model into a
payload.

Pure: it knows pandas and the families, neither Spark nor MLflow. Same rows, same spec, same versions give the
same payload, bit for bit.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from manymodels_spark.errors import FitError, Reason
from manymodels_spark.families import public_holidays, registry
from manymodels_spark.families.base import Family, Problem
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.backtest import (
    Fold,
    Trial,
    folds_of,
    judge,
    mean_metrics,
    predicted,
    rows_at,
    try_family,
)
from manymodels_spark.modeling.cleaning import clean, require_classes
from manymodels_spark.modeling.conformal import calibrate, coverage
from manymodels_spark.modeling.payload import open_payload, seal, sha256
from manymodels_spark.modeling.profile import profile, ruled_out, seasons_of
from manymodels_spark.modeling.results import Failure, FitResult, Score, Status
from manymodels_spark.modeling.selection import (
    combination,
    how_of,
    leave_one_fold_out,
    rank,
    shares_of,
    size_of,
)
from manymodels_spark.spec.model import Candidate, Spec

REFERENCE = "seasonal_naive"
_LONGEST_MESSAGE = 2000


def fit_partition(rows: pd.DataFrame, spec: Spec, key: PartitionKey, start: bytes | None = None) -> FitResult:
    """The best model of one partition's rows (in any order, extra columns allowed), or a structured failure.

    `start` is the payload of the partition's present champion: an input like the rows, for families with
    `warm_start`. Never raises: whatever goes wrong becomes a `Failure` with a reason of the closed list.
    """
    began = time.perf_counter()
    try:
        # Overflows show in the numbers and are judged there.
        with np.errstate(all="ignore"):
            result = _Fit(clean(rows, spec), spec, problem_of(rows, spec, key), start).result()
    except FitError as error:
        result = _failure(rows, error.reason, str(error))
    except Exception as error:
        result = _failure(
            rows, _reason(error), f"{type(error).__name__}: {error}", traceback.format_exc(limit=-3)
        )
    return _timed(result, time.perf_counter() - began)


def problem_of(rows: pd.DataFrame, spec: Spec, key: PartitionKey) -> Problem:
    """What families may know of one partition beside its rows. Raises FitError."""
    return replace(Problem.of(spec, key.seed), holidays=public_holidays.place_of(spec, key, rows))


@dataclass
class _Fit:
    """One fit on its way: clean rows, the spec, and what families may know."""

    rows: pd.DataFrame
    spec: Spec
    problem: Problem
    start: bytes | None = None
    family_seconds: float = 0.0

    def result(self) -> FitResult:
        """Try, choose, fit and seal; the fallback where no candidate can be tried or all fail."""
        try:
            return self._champion(*trials_of(self.rows, self.spec, self.problem))
        except FitError as error:
            if self.spec.fallback is None or self.rows.empty:
                raise
            return self._fallback(self.spec.fallback, error)

    def _champion(self, trials: list[Trial], folds: Sequence[Fold], out: dict[int, str]) -> FitResult:
        self.family_seconds += sum(trial.seconds for trial in trials)
        members, models = self._members(trials)
        best = members[0] if len(members) == 1 else self._combined(members, folds)
        residuals = self._residuals(trials, folds)
        document = self._document(members, models, residuals, folds)
        payload = seal(document)
        scores = [_score(trial) for trial in [*trials, *([best] if len(members) > 1 else [])]]
        scores += [
            Score(label(self.spec.candidates[i]), {}, [], 0.0, f"ruled out: {why}") for i, why in out.items()
        ]
        return FitResult(
            status=Status.FITTED,
            rows=len(self.rows),
            family_seconds=self.family_seconds,
            family=best.name,
            families=tuple(member["family"] for member in document["members"]),
            options={
                member.name: {
                    **member.family.options.model_dump(exclude_defaults=True),
                    **member.family.notes(model),
                }
                for member, model in zip(members, models, strict=True)
            },
            metrics={
                **mean_metrics(best.metrics),
                **self._reference(trials, folds),
                **self._coverage(residuals),
            },
            scores=tuple(scores),
            folds=predicted(best, folds, self.rows, self.problem),
            start=self._time(0),
            cutoff=document["cutoff"],
            started_from=self._started_from(members),
            payload=payload,
            sha256=sha256(payload),
        )

    def _members(self, trials: list[Trial]) -> tuple[list[Trial], list[Any]]:
        """The best trials and their models; one whose fit on all rows fails gives way to the next."""
        while ranked := rank([t for t in trials if t.error is None], self.spec.metric, len(self.rows)):
            members = ranked[: size_of(self.spec)]
            models = [self._refitted(member) for member in members]
            if all(member.error is None for member in members):
                return members, models
        raise _all_failed(trials)

    def _combined(self, members: list[Trial], folds: Sequence[Fold]) -> Trial:
        """The members' predictions of every fold combined, as a trial of its own."""
        predictions, first = combination(members, self.spec), members[0]
        scored = [
            judge(
                rows_at(self.rows, fold.train), rows_at(self.rows, fold.test), values, classes, self.problem
            )
            for fold, values, classes in zip(folds, predictions, first.classes, strict=True)
        ]
        return Trial(f"{how_of(self.spec)}_best_{len(members)}", first.family, predictions, scored)

    def _residuals(self, trials: list[Trial], folds: Sequence[Fold]) -> list[np.ndarray]:
        """What the choice got wrong on each fold when made without it; none for classes."""
        if self.problem.task == "classification":
            return []
        target = self.rows[self.problem.target].to_numpy()
        predictions = leave_one_fold_out(
            [trial for trial in trials if trial.error is None], self.spec, len(self.rows)
        )
        residuals = [target[fold.test] - values for fold, values in zip(folds, predictions, strict=True)]
        if not all(np.isfinite(fold).all() for fold in residuals):
            raise FitError(
                Reason.NOT_FINITE, f"targets up to {np.abs(target).max():.3g}: their errors overflow"
            )
        return residuals

    def _document(
        self, members: list[Trial], models: list[Any], residuals: list[np.ndarray], folds: Sequence[Fold]
    ) -> dict[str, Any]:
        """The payload's document."""
        document = self._header(len(self.rows) if self.spec.refit else len(folds[0].train))
        document["members"] = [
            _member(trial.family, model) for trial, model in zip(members, models, strict=True)
        ]
        if how_of(self.spec) == "weighted":
            document["weights"] = shares_of(members, self.spec)
        if residuals:
            made = calibrate(
                residuals, self.spec.backtest.intervals, stepwise=self.problem.task == "forecast"
            )
            document["intervals"] = made.as_dict()
        return document

    def _refitted(self, trial: Trial) -> Any:
        if not self.spec.refit:
            return trial.model
        began = time.perf_counter()
        try:
            problem = replace(self.problem, start=self._state(trial.family))
            return trial.family.refit(trial.earliest, self.rows, problem)
        except Exception as error:
            trial.error = error
            return None
        finally:
            self.family_seconds += time.perf_counter() - began

    def _state(self, family: Family[Any]) -> Any:
        """The present champion's state where the family begins there: that of the same class and version,
        else None.
        """
        if self.start is None or not family.warm_start:
            return None
        same, members = (registry.name_of(type(family)), family.version), open_payload(self.start)["members"]
        return next(
            (member["state"] for member in members if (member["family"], member["version"]) == same), None
        )

    def _started_from(self, members: Sequence[Trial]) -> str | None:
        """The checksum of the payload whose state a fit of these members was given to begin at."""
        if (
            self.start is None
            or not self.spec.refit
            or all(self._state(member.family) is None for member in members)
        ):
            return None
        return sha256(self.start)

    def _header(self, used: int) -> dict[str, Any]:
        """All of the document but members and intervals; `used` rows trained the model."""
        p = self.problem
        tail = self.rows[p.target].to_numpy()[max(0, used - 3 * max(p.horizon, p.season)) : used]
        return {
            "task": p.task,
            "target": p.target,
            "time": p.time,
            "frequency": p.frequency,
            "horizon": p.horizon,
            "season": p.season,
            "known_future": list(p.known_future),
            "features": list(p.features),
            "static": list(p.static),
            "holidays": p.holidays,
            "combine": how_of(self.spec),
            "intervals": None,
            "cutoff": self._time(used - 1),
            "history": list(tail) if p.task == "forecast" else [],
        }

    def _time(self, position: int) -> str | None:
        if self.problem.time is None:
            return None
        return pd.DatetimeIndex(self.rows[self.problem.time])[position].isoformat()

    def _reference(self, trials: list[Trial], folds: Sequence[Fold]) -> dict[str, float]:
        """How the seasonal naive did on the same folds, to compare with."""
        if self.problem.task != "forecast":
            return {}
        own = next((t for t in trials if t.name == REFERENCE and t.error is None), None)
        own = own or try_family(
            REFERENCE, registry.build(Candidate(family=REFERENCE)), self.rows, folds, self.problem
        )
        value = mean_metrics(own.metrics).get(self.spec.metric)
        return {} if value is None else {f"{REFERENCE}_{self.spec.metric}": value}

    def _coverage(self, residuals: list[np.ndarray]) -> dict[str, float]:
        stepwise = self.problem.task == "forecast"
        found = {
            f"coverage_{n}": coverage(residuals, n, stepwise=stepwise) for n in self.spec.backtest.intervals
        }
        return {name: value for name, value in found.items() if not math.isnan(value)}

    def _fallback(self, candidate: Candidate, cause: FitError) -> FitResult:
        """The spec's fallback on all rows, without a backtest: marked as such, with the cause in its
        scores.
        """
        family = registry.build(candidate)
        began = time.perf_counter()
        try:
            model = family.fit(self.rows, self.problem)
        except Exception as error:
            message = f"{cause}; the fallback {family.name} failed too: {type(error).__name__}: {error}"
            raise FitError(cause.reason, message) from error
        self.family_seconds += time.perf_counter() - began
        member = _member(family, model)
        payload = seal({**self._header(len(self.rows)), "members": [member]})
        return FitResult(
            status=Status.FALLBACK,
            rows=len(self.rows),
            family_seconds=self.family_seconds,
            family=member["family"],
            families=(member["family"],),
            scores=(Score(label(candidate), {}, [], 0.0, f"fallback, since {cause.reason}: {cause}"),),
            start=self._time(0),
            cutoff=self._time(len(self.rows) - 1),
            payload=payload,
            sha256=sha256(payload),
        )


def trials_of(
    rows: pd.DataFrame, spec: Spec, problem: Problem
) -> tuple[list[Trial], list[Fold], dict[int, str]]:
    """Every candidate through the folds of clean rows, the folds, and the candidates that were not tried,
    with why.

    Raises FitError where the rows allow no fold, or hold one class only.
    """
    require_classes(rows, spec)
    folds = folds_of(rows, spec, problem.seed)
    out = _ruled_out(rows, spec, problem)
    tried = [candidate for position, candidate in enumerate(spec.candidates) if position not in out]
    return [try_family(label(c), registry.build(c), rows, folds, problem) for c in tried], folds, out


def _ruled_out(rows: pd.DataFrame, spec: Spec, problem: Problem) -> dict[int, str]:
    """Positions of the candidates that the series' profile rules out, with why; none unless the spec asks for
    it.
    """
    if problem.task != "forecast" or not spec.backtest.rule_out:
        return {}
    found = profile(rows[problem.target].to_numpy(), seasons_of(problem.frequency, problem.season))
    return ruled_out(found, spec.candidates)


def label(candidate: Candidate) -> str:
    """A candidate's name in scores; options tell two of one family apart."""
    options = ",".join(f"{name}={value}" for name, value in sorted(candidate.options.items()))
    return f"{candidate.family}({options})" if options else candidate.family


def _member(family: Family[Any], model: Any) -> dict[str, Any]:
    return {
        "family": registry.name_of(type(family)),
        "version": family.version,
        "options": family.options.model_dump(mode="json"),
        "state": family.dump(model),
        "classes": family.classes(model),
    }


def _score(trial: Trial) -> Score:
    error = None if trial.error is None else f"{type(trial.error).__name__}: {trial.error}"
    return Score(trial.name, mean_metrics(trial.metrics), trial.metrics, trial.seconds, error)


def _all_failed(trials: list[Trial]) -> FitError:
    reasons = {_reason(trial.error) for trial in trials}
    reason = reasons.pop() if len(reasons) == 1 else Reason.FIT_FAILED
    return FitError(reason, "; ".join(f"{t.name}: {type(t.error).__name__}: {t.error}" for t in trials))


def _reason(error: Exception | None) -> Reason:
    if isinstance(error, FitError):
        return error.reason
    return Reason.OUT_OF_MEMORY if isinstance(error, MemoryError) else Reason.FIT_FAILED


def _failure(rows: pd.DataFrame, reason: Reason, message: str, exception: str | None = None) -> FitResult:
    return FitResult(
        Status.FAILED, rows=len(rows), failure=Failure(reason, message[:_LONGEST_MESSAGE], exception)
    )


def _timed(result: FitResult, seconds: float) -> FitResult:
    return replace(result, seconds=seconds)
