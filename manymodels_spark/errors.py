"""The exceptions of the package and the closed list of reasons for which one partition is set aside.

Everything here is plain Python: the lowest layer, imported by all others and importing none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class ManyModelsError(Exception):
    """Root of all errors that a user can act on; the message says what, where and what to do."""


@dataclass(frozen=True)
class Mistake:
    """One mistake in a spec: where it stands, what is wrong and what was expected."""

    path: str
    message: str
    line: int | None = None
    source: str | None = None

    def __str__(self) -> str:
        where = f"\n      line {self.line}:   {self.source}" if self.line is not None and self.source else ""
        return f"  {self.path}: {self.message}{where}"


class SpecError(ManyModelsError):
    """A spec that cannot be used. Carries every mistake found, not only the first."""

    def __init__(self, name: str, mistakes: list[Mistake]) -> None:
        self.name = name
        self.mistakes = mistakes
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__(f"{name} has {count}\n\n" + "\n".join(str(m) for m in mistakes))

    def __reduce__(self) -> tuple[type[SpecError], tuple[str, list[Mistake]]]:
        return type(self), (self.name, self.mistakes)


class SourceError(ManyModelsError):
    """The source cannot be read, or its columns are not those of the spec."""


class TrackingError(ManyModelsError):
    """MLflow cannot be reached, or answered with something that cannot be used."""


class WarehouseError(ManyModelsError):
    """The warehouse cannot be reached, or refused a load."""


class PayloadError(ManyModelsError):
    """A payload that is damaged, of an unknown format, or not allowed to be loaded."""


class ConcurrentWrite(ManyModelsError):
    """Another process wrote to the same table at the same moment; this one's write was not made."""


class TooManyFailures(ManyModelsError):
    """More partitions were quarantined than the spec's `limits.failures` allows.
    `report` is the stage's report.
    """

    def __init__(self, message: str, report: Any = None) -> None:
        self.report = report
        super().__init__(message)


class TooManyAlerts(TooManyFailures):
    """More partitions have an alert than the spec's `monitor.alerts` allows.
    `report` is the stage's report.
    """


class TooManyUnscored(TooManyFailures):
    """More partitions lost their forecast than the spec's `limits.unscored` allows.
    `report` is the stage's report.
    """


class Reason(StrEnum):
    """Why a partition is in quarantine. The list is closed: reports and alerts may rely on it."""

    NULL_KEY = "null_key"
    TOO_SHORT = "too_short"
    ALL_NULL = "all_null"
    NOT_FINITE = "not_finite"
    NOT_NUMERIC = "not_numeric"
    DUPLICATE_TIMES = "duplicate_times"
    BAD_TIMES = "bad_times"
    MISSING_FEATURE = "missing_feature"
    ONE_CLASS = "one_class"
    FIT_FAILED = "fit_failed"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    WORKER_CRASHED = "worker_crashed"


ADVICE: dict[Reason, str] = {
    Reason.NULL_KEY: "Fill the partition columns in the source, or set prepare.null_keys: keep",
    Reason.TOO_SHORT: "Shorten the horizon, lower backtest.folds, or set fallback: seasonal_naive",
    Reason.ALL_NULL: "The target has no value at all: check the source's filter and the column's name",
    Reason.NOT_FINITE: "Remove infinite values at the source, or set prepare.not_finite: drop",
    Reason.NOT_NUMERIC: "The target holds text that is no number: correct it at the source",
    Reason.DUPLICATE_TIMES: "Set prepare.duplicates to last, sum or mean, or remove the repeated rows",
    Reason.BAD_TIMES: "Some rows have no valid time: correct them at the source, or set prepare.bad_times: "
    "drop",
    Reason.MISSING_FEATURE: "Fill the feature in the source, or take it out of the spec's columns",
    Reason.ONE_CLASS: "Only one class in the training rows: widen the window, or set fallback: majority",
    Reason.FIT_FAILED: "See the exception; run the partition alone with `manymodels train SPEC --only ...`",
    Reason.TIMED_OUT: "Raise limits.seconds_per_fit, or leave the slow candidate out for this partition",
    Reason.OUT_OF_MEMORY: "Raise limits.memory_per_fit, or shorten the history",
    Reason.WORKER_CRASHED: "The fit killed its process; run it alone with `manymodels train SPEC --only ...`",
}


class FitError(ManyModelsError):
    """A partition that cannot be fitted, with its reason. Raised by families and checks, caught by
    `fit_partition`.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason = reason
        super().__init__(message)

    def __reduce__(self) -> tuple[type[FitError], tuple[Reason, str]]:
        return type(self), (self.reason, str(self))
