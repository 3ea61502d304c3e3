"""What a request holds on its way through the service, and how large and long its answer will be."""

from __future__ import annotations

import math
from concurrent.futures import Future
from dataclasses import dataclass, field

from manymodels_spark.serving.failures import ScoreError
from manymodels_spark.serving.models.cache import Entry
from manymodels_spark.serving.schemas import Item

# Predicting so many steps or rows costs about as much as predicting one; more cost in proportion.
FEW_STEPS = 100
FIRST_PACE = 0.01
# Writing a row of an answer, and each of its values.
ROW_SECONDS, CELL_SECONDS = 1e-6, 2e-7


@dataclass
class Work:
    """One item on its way: what was asked, and the model that is there or to come, or why it fails."""

    item: Item | None = None
    partition_id: str | None = None
    future: Future[Entry] | None = None
    error: ScoreError | None = None


@dataclass
class Request:
    """A parsed request with its models on the way."""

    works: list[Work]
    batch: bool

    @property
    def pending(self) -> list[Future[Entry]]:
        """The models still being loaded."""
        return [work.future for work in self.works if work.future is not None and not work.future.done()]


@dataclass
class Answer:
    """What goes back: an HTTP status, a JSON body, and what the log and the metrics record."""

    status: int
    body: bytes
    retry_after: int | None = None
    model_seconds: float = 0.0
    outcomes: list[str] = field(default_factory=list)


def values_per_row(item: Item) -> int:
    """A prediction, and two bounds for each interval."""
    return 1 + 2 * len(item.intervals)


def cells_of(work: Work) -> int:
    """Values in an item's answer, 0 where it fails anyway."""
    entry = _loaded(work)
    return 0 if entry is None or work.item is None else _steps(work.item, entry) * values_per_row(work.item)


def seconds_of(work: Work) -> float:
    """Processor time that an item should take: to predict, by its model's last prediction, and to write."""
    entry = _loaded(work)
    if entry is None or work.item is None:
        return 0.0
    pace = entry.pace if entry.pace < math.inf else FIRST_PACE
    rows = _steps(work.item, entry)
    writing = rows * (ROW_SECONDS + CELL_SECONDS * values_per_row(work.item))
    return pace * length_of(work.item, entry) + writing


def length_of(item: Item, entry: Entry) -> float:
    """How many times longer than a short one an item is."""
    return max(1.0, _steps(item, entry) / FEW_STEPS)


def _loaded(work: Work) -> Entry | None:
    """The item's model where it is there and usable."""
    future = work.future
    if work.error is not None or future is None or not future.done() or future.exception() is not None:
        return None
    return future.result()


def _steps(item: Item, entry: Entry) -> int:
    """How many steps or rows are answered: those that were given, or asked for, or the model's own."""
    return item.horizon or item.rows or entry.model.problem.horizon
