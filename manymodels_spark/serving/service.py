"""Score requests apart from any web framework: a body in, a status and a body out.

`begin` parses and asks for the models, `finish` predicts; between them the caller waits in its own way, on an
event loop or in a thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import wait
from typing import Any

import numpy as np
import orjson

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.families.deadline import Deadline, DeadlinePassed, check, until
from manymodels_spark.serving.failures import ScoreError, explained, forget_frames, invalid
from manymodels_spark.serving.frames import DUMP, predictions_of, steps_of, table_of
from manymodels_spark.serving.models.cache import Entry, ModelCache
from manymodels_spark.serving.models.sources import SourceDown
from manymodels_spark.serving.partitions import partition_id_of
from manymodels_spark.serving.schemas import Item, decoded, items_of
from manymodels_spark.serving.settings import ServingSettings
from manymodels_spark.serving.work import (
    Answer,
    Request,
    Work,
    cells_of,
    length_of,
    seconds_of,
    values_per_row,
)

log = logging.getLogger(__name__)
QUICK_SECONDS = 0.005
SMALL_ITEMS = 10
SMALL_SECONDS = 0.05
Prediction = Callable[[], dict[str, Any]]


class ScoringService:
    """Answers score requests with the models of a cache."""

    def __init__(self, cache: ModelCache, settings: ServingSettings) -> None:
        self.cache, self.settings = cache, settings
        self._asked_columns = -1e9

    @property
    def knows_columns(self) -> bool:
        """Whether the types of the partition columns are known, or were asked for in vain a moment ago."""
        waited = time.monotonic() - self._asked_columns > self.settings.negative_ttl
        return bool(self.cache.loader.kinds) or not waited

    def learn_columns(self) -> None:
        """Ask the source for the types of the partition columns; may wait for it."""
        self._asked_columns = time.monotonic()
        try:
            self.cache.loader.columns()
        except SourceDown:
            log.warning("the partition columns' types are not known: values are taken as JSON types them")

    def score(self, body: bytes) -> Answer:
        """The whole way in the calling thread."""
        try:
            if not self.knows_columns:
                self.learn_columns()
            request = self.begin(body)
            wait(request.pending, timeout=self.settings.load_seconds)
            return self.finish(request, Deadline(self.settings.request_seconds))
        except Exception as error:
            return self.failed(error)

    def begin(self, body: bytes) -> Request:
        """Parse and ask for the models, without waiting.

        Raises:
            ScoreError: The body as a whole is bad (400, 422), or asks for more than is ever answered (413):
                then no model is loaded for it.

        """
        data = decoded(body, self.settings.values)
        items, batch = items_of(data, self.settings.items, self.settings.rows)
        self._bound(sum(self._stated(item) for item in items if isinstance(item, Item)))
        return Request([self._work(item) for item in items], batch)

    def is_quick(self, request: Request) -> bool:
        """Whether predicting is known to be so short that a hop to another thread would cost more."""
        return not request.batch and self.expected_seconds(request) < QUICK_SECONDS

    def is_small(self, request: Request) -> bool:
        """Whether predicting is expected to take less than what a person notices."""
        return len(request.works) <= SMALL_ITEMS and self.expected_seconds(request) < SMALL_SECONDS

    def expected_seconds(self, request: Request) -> float:
        """Processor time that predicting should take."""
        return sum(map(seconds_of, request.works))

    def finish(self, request: Request, deadline: Deadline | None = None) -> Answer:
        """Predict every item whose model is there; an item whose model is still on its way fails with 503.

        Answers are written item by item, so that no more than one is in memory as Python's objects.

        Raises:
            ScoreError: The whole answer would have more than `cells` values (413); nothing was predicted.
            DeadlinePassed: The deadline came between two items, or between two steps of one.

        """
        self._bound(sum(map(cells_of, request.works)))
        answer, parts = Answer(200, b""), list[bytes]()
        with until(deadline):
            for work in request.works:
                check()
                parts.append(orjson.dumps(self._result(work, answer), option=DUMP))
        if request.batch:
            answer.body = b'{"results":[' + b",".join(parts) + b"]}"
            return answer
        error = request.works[0].error
        if error is not None:
            return self.failed(error, answer)
        answer.body = parts[0]
        return answer

    def _bound(self, cells: int) -> None:
        """Refuse a request whose answer would be larger than anybody should hold in memory."""
        if cells > self.settings.cells:
            raise ScoreError(
                413,
                "answer_too_large",
                f"the answer would have {cells:,} values (steps or rows x (1 + 2 x intervals), all items), "
                f"at most {self.settings.cells:,} are given. Ask for fewer items, steps or intervals",
            )

    def _stated(self, item: Item) -> int:
        """Values in an item's answer as far as the item itself says; 0 for a horizon that is refused."""
        if item.horizon is not None and item.horizon > self.settings.horizon:
            return 0
        return (item.horizon or item.rows) * values_per_row(item)

    def failed(self, error: BaseException, answer: Answer | None = None) -> Answer:
        """The answer of a request that fails as a whole."""
        shown = self.explain(error)
        answer = answer or Answer(200, b"", outcomes=[shown.code])
        answer.status, answer.retry_after = shown.status, shown.retry_after
        answer.body = orjson.dumps({"error": shown.as_dict()})
        return answer

    def explain(self, error: BaseException) -> ScoreError:
        """A failure as it may be shown, without frames; the log gets the rest."""
        shown = explained(error, self.settings.retry_after)
        if shown.status == 500:
            log.error("a request failed", exc_info=error)
        forget_frames(error)
        return forget_frames(shown)

    def _work(self, item: Item | ScoreError) -> Work:
        if isinstance(item, ScoreError):
            return Work(error=item)
        try:
            if item.horizon is not None and item.horizon > self.settings.horizon:
                raise invalid(
                    f"horizon: {item.horizon} is too large. At most {self.settings.horizon} steps are "
                    "answered"
                )
            partition_id = partition_id_of(item, self.cache.loader.kinds)
            return Work(item, partition_id, self.cache.load(partition_id))
        except Exception as error:
            # Whatever an item says that nobody thought of, the others are to be answered.
            return Work(item, error=self.explain(error))

    def _result(self, work: Work, answer: Answer) -> dict[str, Any]:
        try:
            if work.error is not None:
                raise work.error
            assert work.item is not None and work.future is not None
            if not work.future.done():
                raise TimeoutError
            result = self._predicted(work.item, work.future.result(), answer)
        except DeadlinePassed:
            raise
        except Exception as error:
            work.error = self.explain(error)
            answer.outcomes.append(work.error.code)
            asked = {"partition_id": work.partition_id} if work.partition_id else {}
            return {**asked, "status": work.error.status, "error": work.error.as_dict()}
        answer.outcomes.append("ok")
        return result

    def _predicted(self, item: Item, entry: Entry, answer: Answer) -> dict[str, Any]:
        champion, forecasts = entry.champion, entry.model.problem.task == "forecast"
        predict = self._forecast(item, entry) if forecasts else self._rows(item, entry)
        begin, used = time.perf_counter(), time.thread_time()
        try:
            table = predict()
        except ManyModelsError:
            raise
        except (ValueError, TypeError, KeyError, OverflowError, IndexError) as error:
            raise self._at_fault(error, item.rows > 0 or item.horizon is not None) from error
        finally:
            entry.pace = (time.thread_time() - used) / length_of(item, entry)
            answer.model_seconds += time.perf_counter() - begin
        if forecasts and item.rows and item.horizon is None:
            _refuse_off_grid(table, entry.model.problem.frequency)
        return {
            "status": 200,
            "partition_id": champion.partition_id,
            "partition": entry.partition,
            "model_id": champion.model_id,
            "family": champion.family,
            "predictions": predictions_of(table, item),
        }

    def _forecast(self, item: Item, entry: Entry) -> Prediction:
        rows = steps_of(item, entry.model, entry.partition, self.settings.horizon)
        return lambda: entry.model.forecast(rows, item.horizon, None, item.intervals)

    def _rows(self, item: Item, entry: Entry) -> Prediction:
        task = entry.model.problem.task
        if item.horizon is not None:
            raise invalid(f"horizon: a {task} model predicts rows. Give them and leave horizon out")
        table = table_of(item, entry.model, entry.partition, entry.texts)
        if table is None:
            raise invalid(f"rows: a {task} model requires dataframe_split or dataframe_records")
        return lambda: entry.model.table(table, item.intervals)

    def _at_fault(self, error: Exception, given: bool) -> Exception:
        """Values that a model cannot digest are the client's to correct; without any, the model is at
        fault.
        """
        if not given:
            return error
        log.warning("a model refused the values of a request (%s)", type(error).__name__)
        return invalid("the model could not predict from these values. Check their types and ranges")


def _refuse_off_grid(table: dict[str, Any], frequency: str) -> None:
    times, missing = next(iter(table.values())), np.isnan(table["prediction"])
    if missing.any():
        raise invalid(
            f"{times[missing][0]} is no step of the model, which has frequency {frequency} after its cutoff"
        )
