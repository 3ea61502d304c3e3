"""One partition: check its rows, try every candidate on folds, choose, fit, and seal the model into a
payload.

Pure: it knows pandas and the families, neither Spark nor MLflow. Same rows, same spec, same versions give the
same payload, bit for bit.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from manymodels_spark.errors import FitError, Reason
from manymodels_spark.families import public_holidays, registry
from manymodels_spark.families.base import Family, Problem
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.backtest import Backtest, Trial
from manymodels_spark.modeling.candidates import backtest_of, chosen_by, grid_of, label, trials_of
from manymodels_spark.modeling.cleaning import clean
from manymodels_spark.modeling.document import document_of, member_of, time_at
from manymodels_spark.modeling.folds import apart
from manymodels_spark.modeling.grid import Grid
from manymodels_spark.modeling.held_out import HeldOut
from manymodels_spark.modeling.judged import pooled
from manymodels_spark.modeling.payload import open_payload, seal, sha256
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
    """The best model of one partition's rows, or a structured failure.

    Args:
        rows: in any order, extra columns allowed. A forecast's rows are put onto the grid of its frequency;
            steps without a row, and those on which `prepare.closed` says closed, are not known.
        spec: what to fit and how to choose.
        key: the partition's, from which seeds are derived.
        start: the payload of the partition's present champion: an input like the rows, for families with
            `warm_start`.

    Returns:
        The result. Never raises: whatever goes wrong becomes a `Failure` with a reason of the closed list.

    """
    began = time.perf_counter()
    try:
        # Overflows show in the numbers and are judged there.
        with np.errstate(all="ignore"):
            problem = problem_of(rows, spec, key)
            result = _Fit(grid_of(clean(rows, spec), spec, problem), spec, problem, start).result()
    except FitError as error:
        result = _failure(rows, error.reason, str(error))
    except Exception as error:
        result = _failure(
            rows, _reason(error), f"{type(error).__name__}: {error}", traceback.format_exc(limit=-3)
        )
    return replace(result, seconds=time.perf_counter() - began)


def problem_of(rows: pd.DataFrame, spec: Spec, key: PartitionKey) -> Problem:
    """What families may know of one partition beside its rows. Raises FitError."""
    return replace(Problem.of(spec, key.seed), holidays=public_holidays.place_of(spec, key, rows))


@dataclass
class _Fit:
    """One fit on its way: rows on their grid, the spec, and what families may know."""

    grid: Grid
    spec: Spec
    problem: Problem
    start: bytes | None = None
    family_seconds: float = 0.0

    @cached_property
    def choice(self) -> Spec:
        """The spec with the metric by which this partition's champion is chosen."""
        return chosen_by(self.grid, self.spec, self.problem)

    @property
    def rows(self) -> int:
        """Rows with a target."""
        return int(self.grid.observed.sum())

    def result(self) -> FitResult:
        """Try, choose, fit and seal; the fallback where no candidate can be tried or all fail."""
        try:
            backtest = backtest_of(self.grid, self.spec, self.problem)
            return self._champion(backtest, *trials_of(backtest, self.spec))
        except FitError as error:
            if self.spec.fallback is None or self.grid.rows.empty:
                raise
            return self._fallback(self.spec.fallback, error)

    def _champion(self, backtest: Backtest, trials: list[Trial], out: dict[int, str]) -> FitResult:
        self.family_seconds += sum(trial.seconds for trial in trials)
        members, models = self._members(backtest, trials)
        best = members[0] if len(members) == 1 else _combined(backtest, members, self.choice)
        held_out, metrics = self._held_out(backtest, [trial for trial in trials if trial.error is None])
        document = self._document(backtest, members, models, held_out)
        payload = seal(document)
        scores = [_score(trial) for trial in [*trials, *([best] if len(members) > 1 else [])]]
        scores += [
            Score(label(self.spec.candidates[i]), {}, [], 0.0, f"ruled out: {why}") for i, why in out.items()
        ]
        return FitResult(
            status=Status.FITTED,
            rows=self.rows,
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
            metrics={**metrics, **self._reference(backtest, trials)},
            optimistic=len(trials) > 1 and not all(apart(backtest.folds)),
            scores=tuple(scores),
            folds=backtest.kept(best.predictions),
            start=time_at(self.grid, 0, self.problem),
            cutoff=document["cutoff"],
            started_from=self._started_from(members),
            payload=payload,
            sha256=sha256(payload),
        )

    def _members(self, backtest: Backtest, trials: list[Trial]) -> tuple[list[Trial], list[Any]]:
        """The best trials and their models; one whose fit on all rows fails gives way to the next."""
        while ranked := rank([t for t in trials if t.error is None], self.choice.metric, len(self.grid.rows)):
            members = ranked[: size_of(self.spec)]
            models = [self._refitted(backtest, member) for member in members]
            if all(member.error is None for member in members):
                return members, models
        raise _all_failed(trials)

    def _held_out(self, backtest: Backtest, trials: list[Trial]) -> tuple[HeldOut | None, dict[str, float]]:
        """What the choice predicted of each fold when made without it (None for classes), and its metrics:
        those that the fit publishes.
        """
        folds = backtest.folds
        predictions, firsts = leave_one_fold_out(trials, self.choice, len(self.grid.rows), apart(folds))
        judged = [
            first.judged[k]
            if values is first.predictions[k]
            else backtest.judge(fold, values, first.classes[k])
            for k, (fold, values, first) in enumerate(zip(folds, predictions, firsts, strict=True))
        ]
        if self.problem.task == "classification":
            return None, pooled(judged)
        target = self.grid.rows[self.problem.target].to_numpy()
        found = HeldOut(
            actual=[np.where(self.grid.known[fold.test], target[fold.test], np.nan) for fold in folds],
            predicted=[backtest.bounds.applied(values) for values in predictions],
            folds=folds,
            levels=self.spec.backtest.intervals,
            probabilities=self.spec.predict.quantiles,
            bounds=backtest.bounds,
            stepwise=self.problem.task == "forecast",
        )
        if any(np.isinf(fold).any() for fold in found.residuals):
            largest = np.nanmax(np.abs(target))
            raise FitError(Reason.NOT_FINITE, f"targets up to {largest:.3g}: their errors overflow")
        return found, {**pooled(judged), **found.metrics()}

    def _document(
        self, backtest: Backtest, members: list[Trial], models: list[Any], held_out: HeldOut | None
    ) -> dict[str, Any]:
        """The payload's document."""
        last = len(self.grid.rows) - 1 if self.spec.refit else int(backtest.folds[0].train[-1])
        stored = [member_of(trial.family, model) for trial, model in zip(members, models, strict=True)]
        weights = shares_of(members, self.choice) if how_of(self.spec) == "weighted" else None
        intervals = held_out.intervals() if held_out else None
        return document_of(
            stored, self.grid, last, self.spec, self.problem, weights=weights, intervals=intervals
        )

    def _refitted(self, backtest: Backtest, trial: Trial) -> Any:
        if not self.spec.refit:
            return trial.model
        began = time.perf_counter()
        try:
            rows = backtest.training(trial.family, np.arange(len(self.grid.rows)))
            problem = replace(self.problem, start=self._state(trial.family))
            return trial.family.refit(trial.earliest, rows, problem)
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

    def _started_from(self, members: list[Trial]) -> str | None:
        """The checksum of the payload whose state a fit of these members was given to begin at."""
        if (
            self.start is None
            or not self.spec.refit
            or all(self._state(member.family) is None for member in members)
        ):
            return None
        return sha256(self.start)

    def _reference(self, backtest: Backtest, trials: list[Trial]) -> dict[str, float]:
        """How the seasonal naive did on the same folds, to compare with."""
        if self.problem.task != "forecast":
            return {}
        own = next((t for t in trials if t.name == REFERENCE and t.error is None), None)
        own = own or backtest.tried(REFERENCE, registry.build(Candidate(family=REFERENCE)))
        value = own.metrics.get(self.spec.metric)
        return {} if value is None else {f"{REFERENCE}_{self.spec.metric}": value}

    def _fallback(self, candidate: Candidate, cause: FitError) -> FitResult:
        """The spec's fallback on all rows, without a backtest: marked as such, with the cause in its
        scores.
        """
        family, last = registry.build(candidate), len(self.grid.rows) - 1
        began = time.perf_counter()
        try:
            rows = self.grid.training(np.arange(last + 1), self.problem, every_step=family.every_step)
            model = family.fit(rows, self.problem)
        except Exception as error:
            message = f"{cause}; the fallback {family.name} failed too: {type(error).__name__}: {error}"
            raise FitError(cause.reason, message) from error
        self.family_seconds += time.perf_counter() - began
        member = member_of(family, model)
        payload = seal(document_of([member], self.grid, last, self.spec, self.problem))
        return FitResult(
            status=Status.FALLBACK,
            rows=self.rows,
            family_seconds=self.family_seconds,
            family=member["family"],
            families=(member["family"],),
            scores=(Score(label(candidate), {}, [], 0.0, f"fallback, since {cause.reason}: {cause}"),),
            start=time_at(self.grid, 0, self.problem),
            cutoff=time_at(self.grid, last, self.problem),
            payload=payload,
            sha256=sha256(payload),
        )


def _combined(backtest: Backtest, members: list[Trial], spec: Spec) -> Trial:
    """The members' predictions of every fold combined, as a trial of its own."""
    predictions, first = combination(members, spec), members[0]
    judged = [
        backtest.judge(fold, values, classes)
        for fold, values, classes in zip(backtest.folds, predictions, first.classes, strict=True)
    ]
    return Trial(f"{how_of(spec)}_best_{len(members)}", first.family, predictions, judged)


def _score(trial: Trial) -> Score:
    error = None if trial.error is None else f"{type(trial.error).__name__}: {trial.error}"
    folds = [pooled([fold]) for fold in trial.judged]
    return Score(trial.name, trial.metrics, folds, trial.seconds, error)


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
