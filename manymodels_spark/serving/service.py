"""Score requests apart from any web framework: a body in, a status and a body out.

`begin` parses and asks for the models, `finish` predicts; between them the caller waits in its own way, on an event
loop or in a thread.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any

import orjson
import pandas as pd

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.serving.cache import Entry, ModelCache
from manymodels_spark.serving.failures import ScoreError, explained, invalid
from manymodels_spark.serving.frames import frame_of, last_step, predictions_of
from manymodels_spark.serving.partitions import partition_id_of
from manymodels_spark.serving.schemas import Item, items_of
from manymodels_spark.serving.settings import ServingSettings
from manymodels_spark.serving.sources import SourceDown

log = logging.getLogger(__name__)
QUICK_SECONDS = 0.005
QUICK_STEPS = 100
# A model takes no level as its own default, which is several; what nobody asked for is not shown.
CHEAPEST = [80]
_DUMP = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


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
    """What goes back: an HTTP status, a JSON body, and what the log and the metrics want to know."""

    status: int
    body: bytes
    retry_after: int | None = None
    model_seconds: float = 0.0
    outcomes: list[str] = field(default_factory=list)


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
            return self.finish(request)
        except Exception as error:
            return self.failed(error)

    def begin(self, body: bytes) -> Request:
        """Parse and ask for the models, without waiting. Raises ScoreError where the body as a whole is bad."""
        try:
            data = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise ScoreError(400, "malformed_json", f"the body is no valid JSON ({where}). NaN is written as null") from None
        items, batch = items_of(data, self.settings.items)
        return Request([self._work(item) for item in items], batch)

    def is_quick(self, request: Request) -> bool:
        """Whether predicting is known to be so short that a hop to another thread would cost more."""
        if request.batch or request.works[0].error is not None:
            return not request.batch
        work = request.works[0]
        if work.item is None or work.future is None or not work.future.done() or work.future.exception():
            return True
        small = (work.item.horizon or 0) <= QUICK_STEPS and work.item.rows <= QUICK_STEPS
        return small and work.future.result().seconds < QUICK_SECONDS

    def finish(self, request: Request) -> Answer:
        """Predict every item whose model is there; an item whose model is still on its way fails with 503."""
        answer = Answer(200, b"")
        results = [self._result(work, answer) for work in request.works]
        if request.batch:
            answer.body = orjson.dumps({"results": results}, option=_DUMP)
            return answer
        error = request.works[0].error
        if error is not None:
            return self.failed(error, answer)
        answer.body = orjson.dumps(results[0], option=_DUMP)
        return answer

    def failed(self, error: BaseException, answer: Answer | None = None) -> Answer:
        """The answer of a request that fails as a whole."""
        shown = self.explain(error)
        answer = answer or Answer(200, b"", outcomes=[shown.code])
        answer.status, answer.retry_after = shown.status, shown.retry_after
        answer.body = orjson.dumps({"error": shown.as_dict()})
        return answer

    def explain(self, error: BaseException) -> ScoreError:
        """A failure as it may be shown; the log gets the rest."""
        shown = explained(error, self.settings.retry_after)
        if shown.status == 500:
            log.error("a request failed", exc_info=error)
        return shown

    def _work(self, item: Item | ScoreError) -> Work:
        if isinstance(item, ScoreError):
            return Work(error=item)
        try:
            if item.horizon is not None and item.horizon > self.settings.horizon:
                raise invalid(f"horizon: {item.horizon} is too large. At most {self.settings.horizon} steps are answered")
            partition_id = partition_id_of(item, self.cache.loader.kinds)
            return Work(item, partition_id, self.cache.load(partition_id))
        except ScoreError as error:
            return Work(item, error=error)

    def _result(self, work: Work, answer: Answer) -> dict[str, Any]:
        try:
            if work.error is not None:
                raise work.error
            assert work.item is not None and work.future is not None
            if not work.future.done():
                raise TimeoutError
            result = self._predicted(work.item, work.future.result(), answer)
        except Exception as error:
            work.error = self.explain(error)
            answer.outcomes.append(work.error.code)
            asked = {"partition_id": work.partition_id} if work.partition_id else {}
            return {**asked, "status": work.error.status, "error": work.error.as_dict()}
        answer.outcomes.append("ok")
        return result

    def _predicted(self, item: Item, entry: Entry, answer: Answer) -> dict[str, Any]:
        model, champion = entry.model, entry.champion
        rows = self._rows(item, entry)
        begin = time.perf_counter()
        try:
            table = model.predict(future=rows, horizon=item.horizon, levels=item.intervals or CHEAPEST)
        except ManyModelsError:
            raise
        except (ValueError, TypeError, KeyError, OverflowError, IndexError) as error:
            raise self._at_fault(error, rows is not None or item.horizon is not None) from error
        finally:
            entry.seconds = time.perf_counter() - begin
            answer.model_seconds += entry.seconds
        if rows is not None and item.horizon is None and model.problem.task == "forecast":
            _refuse_off_grid(table, model.problem.frequency)
        return {
            "status": 200,
            "partition_id": champion.partition_id,
            "partition": entry.partition,
            "model_id": champion.model_id,
            "family": champion.family,
            "predictions": predictions_of(table, item, model.problem),
        }

    def _rows(self, item: Item, entry: Entry) -> pd.DataFrame | None:
        model = entry.model
        if model.problem.task != "forecast" and item.horizon is not None:
            raise invalid(f"horizon: a {model.problem.task} model predicts rows. Give them and leave horizon out")
        latest = last_step(model, self.settings.horizon)
        rows = frame_of(item, model, entry.partition, self.settings.rows, latest, entry.texts)
        if rows is None and model.problem.task != "forecast":
            raise invalid(f"rows: a {model.problem.task} model wants dataframe_split or dataframe_records")
        return rows

    def _at_fault(self, error: Exception, given: bool) -> Exception:
        """Values that a model cannot digest are the client's to correct; without any, the model is at fault."""
        if not given:
            return error
        log.warning("a model refused the values of a request (%s)", type(error).__name__)
        return invalid("the model could not predict from these values. Check their types and ranges")


def _refuse_off_grid(table: pd.DataFrame, frequency: str) -> None:
    missing = table["prediction"].isna().to_numpy()
    if missing.any():
        raise invalid(f"{table.iloc[:, 0][missing].iat[0]} is no step of the model, which has frequency {frequency} after its cutoff")
