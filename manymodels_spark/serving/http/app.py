"""The HTTP face of the service: `create_app(source, settings)` gives a FastAPI app for uvicorn or any ASGI
server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, Response
from starlette.exceptions import HTTPException

from manymodels_spark._version import __version__
from manymodels_spark.errors import ManyModelsError
from manymodels_spark.families.deadline import Deadline
from manymodels_spark.serving.details import Catalogue
from manymodels_spark.serving.failures import ScoreError, invalid
from manymodels_spark.serving.http import documents, page
from manymodels_spark.serving.http.auth import Gate
from manymodels_spark.serving.http.middleware import Guard, body_of, failure, json_response
from manymodels_spark.serving.http.telemetry import Telemetry, access
from manymodels_spark.serving.lanes import Lane
from manymodels_spark.serving.models import sizes
from manymodels_spark.serving.models.cache import ModelCache
from manymodels_spark.serving.models.sources import ChampionSource
from manymodels_spark.serving.partitions import named
from manymodels_spark.serving.readiness import Readiness
from manymodels_spark.serving.service import ScoringService
from manymodels_spark.serving.settings import MIB, ServingSettings
from manymodels_spark.serving.work import Answer

log = logging.getLogger(__name__)
# Parsing and checking a body of more bytes (a batch of some hundred items) takes longer than other requests
# should wait.
LARGE_BODY = 20_000
# So many small requests may wait in place of a large one.
SMALL_PER_LARGE = 32


class Server:
    """One process's cache, service and threads, behind the routes."""

    def __init__(self, source: ChampionSource, settings: ServingSettings) -> None:
        self.settings = settings
        self.cache = ModelCache(source, settings)
        self.service = ScoringService(self.cache, settings)
        self.catalogue = Catalogue(self.cache)
        self.readiness = Readiness(self.cache, settings)
        self.telemetry = Telemetry(self.cache)
        self._parsing = Lane("parse", 1, settings.queue)
        self._small = Lane("predict", settings.predictors, settings.queue * SMALL_PER_LARGE)
        # Large requests share half of the threads, so that they take turns among themselves.
        self._large = Lane("batch", max(1, settings.predictors // 2), settings.queue)
        self._asking = ThreadPoolExecutor(2, "ask")

    async def score(self, request: Request) -> Response:
        """POST /v1/score."""
        body = await body_of(request, int(self.settings.body_mb * MIB), self.settings.body_seconds)
        deadline = Deadline(self.settings.request_seconds)
        try:
            async with asyncio.timeout(self.settings.request_seconds):
                answer = await self._answer(body, deadline, request)
        except TimeoutError:
            seconds = f"{self.settings.request_seconds:g}"
            message = f"no answer within {seconds} seconds. Send fewer items or a shorter horizon"
            answer = self.service.failed(ScoreError(503, "timeout", message, 1))
        finally:
            # Whatever is still being computed, nobody waits for it any more.
            deadline.cancel()
        self.telemetry.scored(answer.outcomes, answer.model_seconds)
        headers = {"Server-Timing": f"model;dur={answer.model_seconds * 1e3:.3f}"}
        if answer.retry_after is not None:
            headers["Retry-After"] = str(answer.retry_after)
        return Response(answer.body, answer.status, headers, "application/json")

    async def _answer(self, body: bytes, deadline: Deadline, request: Request) -> Answer:
        loop = asyncio.get_running_loop()
        try:
            if not self.service.knows_columns:
                await loop.run_in_executor(self._asking, self.service.learn_columns)
            if len(body) > LARGE_BODY:
                parsed = await self._parsing.run(partial(self.service.begin, body))
            else:
                parsed = self.service.begin(body)
            if pending := [asyncio.wrap_future(future) for future in parsed.pending]:
                await asyncio.wait(pending, timeout=self.settings.load_seconds)
                for future in pending:
                    future.cancelled() or (future.done() and future.exception())
            if len(body) <= LARGE_BODY and self.service.is_quick(parsed):
                return self.service.finish(parsed)
            lane = self._small if self.service.is_small(parsed) else self._large
            with _watched(request, deadline):
                return await lane.run(partial(self.service.finish, parsed, deadline))
        except ManyModelsError as error:
            return self.service.failed(error)

    async def model(self, text: str) -> Response:
        """GET /v1/models/{partition}."""
        loop = asyncio.get_running_loop()
        try:
            if not self.service.knows_columns:
                await loop.run_in_executor(self._asking, self.service.learn_columns)
            future = self.cache.load(named(text, self.cache.loader.kinds))
            entry = await asyncio.wait_for(asyncio.wrap_future(future), self.settings.load_seconds)
            return json_response(self.catalogue.describe(entry))
        except Exception as error:
            return failure(self.service.explain(error))

    async def models(self, text: str, limit: int) -> Response:
        """GET /v1/models."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._asking, partial(self.catalogue.search, text, limit))
        return json_response(found)

    async def alive(self, request: Request) -> Response:
        """GET /healthz."""
        return json_response({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """GET /readyz."""
        status, content = self.readiness.state()
        return json_response(content, status)

    def start(self) -> None:
        """Load the warm list, in the background."""
        sizes.settle()
        self.readiness.begin()

    def stop(self) -> None:
        """End the threads, and write what the log still holds."""
        for handler in access.handlers:
            handler.flush()
        self.cache.close()
        for lane in (self._parsing, self._small, self._large):
            lane.close()
        self._asking.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _watched(request: Request, deadline: Deadline) -> Iterator[None]:
    """Ends the deadline where the client goes away meanwhile."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        deadline.cancel()

    watching = asyncio.ensure_future(watch())
    try:
        yield
    finally:
        watching.cancel()


def create_app(source: ChampionSource, settings: ServingSettings | None = None) -> FastAPI:
    """The app over a source of champions. Its `state.server` is the Server, for tests and embedding."""
    server = Server(source, settings or ServingSettings())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        server.start()
        yield
        server.stop()

    app = FastAPI(
        title="Many Models",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        description="Scores every partition with its champion, which is loaded on first use.",
    )
    app.state.server = server
    direct = {
        ("POST", "/v1/score"): server.score,
        ("GET", "/healthz"): server.alive,
        ("GET", "/readyz"): server.ready,
    }
    app.add_middleware(Guard, gate=Gate(server.settings), telemetry=server.telemetry, direct=direct)
    app.add_exception_handler(HTTPException, _plain)
    app.add_exception_handler(RequestValidationError, _plain)
    app.add_exception_handler(ScoreError, _plain)
    _add_scoring(app, server)
    _add_operations(app, server)
    documents.complete(app)
    return app


def _add_scoring(app: FastAPI, server: Server) -> None:
    @app.post("/v1/score", summary="Score one partition or many", **documents.SCORE)
    async def score(request: Request) -> Response:
        return await server.score(request)

    @app.get("/v1/models", summary="Find partitions", **documents.MODELS)
    async def models(
        q: Annotated[str, Query(max_length=200, description="Parts of the key, e.g. store=3 item=7")] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> Response:
        return await server.models(q, limit)

    @app.get("/v1/models/{partition:path}", summary="One partition's champion", **documents.MODEL)
    async def model(partition: str) -> Response:
        return await server.model(partition)


def _add_operations(app: FastAPI, server: Server) -> None:
    @app.get("/healthz", summary="Whether the process lives")
    async def healthz(request: Request) -> Response:
        return await server.alive(request)

    @app.get(
        "/readyz", summary="Whether requests can be answered", responses={503: {"description": "Not yet"}}
    )
    async def readyz(request: Request) -> Response:
        return await server.ready(request)

    @app.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(server.telemetry.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return page.response("index.html")

    @app.get("/page/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        return page.response(name)


async def _plain(request: Request, error: Exception) -> Response:
    """Every refusal in one form: {"error": {"code", "message"}}."""
    if isinstance(error, ScoreError):
        return failure(error)
    if isinstance(error, RequestValidationError):
        details = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()]
        return failure(invalid("; ".join(details)))
    status = error.status_code if isinstance(error, HTTPException) else 500
    words: dict[int, tuple[str, str]] = {
        404: ("not_found", "there is nothing at this address. See /openapi.json"),
        405: ("method_not_allowed", "this address does not take this method. See /openapi.json"),
    }
    code, message = words.get(status, ("refused", "the request cannot be served"))
    response = failure(ScoreError(status, code, message))
    response.headers.update(getattr(error, "headers", None) or {})
    return response
