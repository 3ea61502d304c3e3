"""What a fit gives back: plain records, shared by the pure functions that make them and the stages that store
them.

They know neither pandas nor Spark.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from manymodels_spark.errors import ADVICE, Reason


class Status(StrEnum):
    """How a partition ended."""

    FITTED = "fitted"
    FALLBACK = "fallback"
    FAILED = "failed"


@dataclass(frozen=True)
class Score:
    """How one candidate did in the backtest of one partition."""

    candidate: str
    metrics: dict[str, float]
    folds: list[dict[str, float]]
    seconds: float
    error: str | None = None


@dataclass(frozen=True)
class FoldPrediction:
    """What the champion predicted of one fold: the time of its first row, and a value for it and each row
    with a target after it.
    """

    start: str
    predictions: list[float]


@dataclass(frozen=True)
class Failure:
    """Why a partition was set aside."""

    reason: Reason
    message: str
    exception: str | None = None

    @property
    def advice(self) -> str:
        """What can be done about it."""
        return ADVICE[self.reason]


@dataclass(frozen=True)
class FitResult:
    """The outcome of one partition: a payload with its scores, or a failure; never both, never neither.

    `rows` are those with a target. `family` is the champion's name (`prophet`, `mean_best_3`), `families`
    those inside its payload and `folds`, of forecasts, its predictions of each, latest first.

    `metrics` are those to publish: of the choice that the other folds would have made, over all folds
    together. They are `optimistic` where there was a choice but a fold has no others apart from it (one fold,
    or folds that overlap): then the choice was judged by what it was made by. `scores` are each candidate's
    own.

    `seconds` is the whole fit's wall time and `family_seconds` the part spent inside families' own fit and
    predict. `started_from` is the checksum of the payload that a warm start was given. Times are ISO 8601
    text.
    """

    status: Status
    rows: int
    seconds: float = 0.0
    family_seconds: float = 0.0
    family: str | None = None
    families: tuple[str, ...] = ()
    options: dict[str, object] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    optimistic: bool = False
    scores: tuple[Score, ...] = ()
    folds: tuple[FoldPrediction, ...] = ()
    start: str | None = None
    cutoff: str | None = None
    started_from: str | None = None
    payload: bytes | None = None
    sha256: str | None = None
    failure: Failure | None = None
