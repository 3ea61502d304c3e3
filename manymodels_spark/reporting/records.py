"""What a report shows, as plain records. Whoever collects them knows the lake;
who draws them knows only these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

# The columns of `ReportData.partitions`, beside one text column per partition column (prefixed, see
# `column`).
PARTITION_COLUMNS = (
    "partition_id",
    "status",
    "family",
    "metric",
    "naive",
    "previous",
    "rows",
    "seconds",
    "decision",
    "fresh",
)
FITTED, FALLBACK, FAILED, NEVER = "fitted", "fallback", "failed", "never fitted"


def column(name: str) -> str:
    """The name in `ReportData.partitions` of a partition column, which may be called like one of ours."""
    return f"key.{name}"


@dataclass(frozen=True)
class StageRow:
    """The newest event of one stage: `seconds` of wall time, MLflow `calls`, its own line."""

    stage: str
    run_id: str
    status: str
    started_at: str
    seconds: float
    calls: int
    note: str


@dataclass(frozen=True)
class TrainRow:
    """One training run: counts as it reported them, and core-seconds inside fits and inside families."""

    run_id: str
    status: str
    started_at: str
    seconds: float
    counts: dict[str, int]
    fit_seconds: float = 0.0
    family_seconds: float = 0.0
    tasks: int = 0


@dataclass(frozen=True)
class CandidateRow:
    """One candidate over all partitions: where it was tried, failed and won;
    quartiles of its error; its seconds.
    """

    candidate: str
    tried: int
    errors: int
    wins: int
    quartiles: tuple[float | None, float | None, float | None]
    seconds: float


@dataclass(frozen=True)
class SpreadRow:
    """The quantiles 0.1, 0.25, 0.5, 0.75, 0.9 of one metric over the partitions
    whose model is of one family.
    """

    metric: str
    family: str
    partitions: int
    quantiles: tuple[float | None, ...]


@dataclass(frozen=True)
class CoverageRow:
    """How often actuals fell into the interval of `level` percent:
    mean, tenth and ninetieth percentile of partitions.
    """

    level: int
    partitions: int
    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class QuarantineRow:
    """The partitions of one reason: how many, some of them as (key, message), and what to do."""

    reason: str
    partitions: int
    advice: str
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ShareRow:
    """A share of something counted: champions by family, decisions by reason."""

    name: str
    count: int
    detail: str = ""


@dataclass
class Detail:
    """One partition from near: its last rows, its newest forecast, every candidate's folds, its decision.

    `history` holds (time, value), `folds` the newest fit's (time, prediction) of each fold, latest first, at
    times of the history, `forecast` (time, prediction, {level: (lower, upper)}); `scores` are those that
    `fits` keeps as JSON, and `caution` says why its metric may be better than what will come.
    """

    history: list[tuple[str, float | None]] = field(default_factory=list)
    folds: list[list[tuple[str, float]]] = field(default_factory=list)
    forecast: list[tuple[str, float | None, dict[int, tuple[float | None, float | None]]]] = field(
        default_factory=list
    )
    scores: list[dict[str, object]] = field(default_factory=list)
    champion: str | None = None
    decision: str | None = None
    message: str | None = None
    advice: str | None = None
    unscored: str | None = None
    caution: str | None = None

    def curves(self) -> list[tuple[int, list[float | None]]]:
        """Each fold as the place in the history where it begins, and a value for each row from there, None
        where it has none.
        """
        place = {time: number for number, (time, _) in enumerate(self.history)}
        found = []
        for fold in self.folds:
            at = {place[time]: value for time, value in fold if time in place}
            if at:
                found.append((min(at), [at.get(number) for number in range(min(at), max(at) + 1)]))
        return found


@dataclass
class ReportData:
    """Everything on the page. `partitions` has `PARTITION_COLUMNS` and the key's columns,
    a row per partition.

    Of its columns `metric`, `naive` (the seasonal naive's) and `previous` (the
    model before) are values of the spec's metric, NaN where there is none;
    `fresh` says that the newest training run fitted the partition.
    """

    spec: str
    task: str
    metric: str
    higher_is_better: bool
    partition_by: Sequence[str]
    target: str
    horizon: int
    made_at: str
    cores: int
    partitions: pd.DataFrame
    stages: list[StageRow] = field(default_factory=list)
    training: list[TrainRow] = field(default_factory=list)
    candidates: list[CandidateRow] = field(default_factory=list)
    spreads: list[SpreadRow] = field(default_factory=list)
    coverage: list[CoverageRow] = field(default_factory=list)
    quarantine: list[QuarantineRow] = field(default_factory=list)
    champions: list[ShareRow] = field(default_factory=list)
    decisions: list[ShareRow] = field(default_factory=list)
    unscored: list[ShareRow] = field(default_factory=list)
    predictions: int = 0
    details: dict[str, Detail] = field(default_factory=dict)
