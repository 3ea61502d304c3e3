"""Around every request: an id, who may ask, how much and how long, a line in the log, and no trace in an
answer.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from manymodels_spark.serving.failures import ScoreError
from manymodels_spark.serving.http.auth import Gate
from manymodels_spark.serving.http.telemetry import Telemetry

log = logging.getLogger(__name__)
OPEN = ("/", "/healthz", "/readyz", "/metrics", "/openapi.json")
# A request's own id: random for the process, counted within it.
_PROCESS, _NUMBERS = uuid.uuid4().hex[:20], itertools.count(1)
_ID = re.compile(r"[\w.-]{1,64}\Z", re.ASCII)
INTERNAL = ScoreError(500, "internal", "the request failed; the server's log has the reason under its id")
_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


Endpoint = Callable[[Request], Awaitable[Response]]


class Guard:
    """The one middleware, in plain ASGI: a framework's own would cost more than the rest of a request.

    `direct` are the routes (method and path) that are answered without a look at the framework's routing,
    which costs more than a small model; the framework knows them too, for its document and for other methods.
    """

    def __init__(
        self,
        app: ASGIApp,
        gate: Gate,
        telemetry: Telemetry,
        direct: Mapping[tuple[str, str], Endpoint] | None = None,
    ) -> None:
        self._app, self._gate, self._telemetry, self._direct = app, gate, telemetry, direct or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP passes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status, started = time.perf_counter(), 500, False
        headers = dict(scope["headers"])
        request_id = request_id_of(headers.get(b"x-request-id"))

        async def sending(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                started = True
                status = message["status"]
                own = {name for name, _ in message["headers"]}
                extra = [(name, value) for name, value in _HEADERS if name not in own]
                message["headers"] = [*message["headers"], *extra, (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._admit(scope, headers)
            await self._served(scope, receive, sending)
        except ScoreError as error:
            await failure(error)(scope, receive, sending)
        except ClientDisconnect:
            status = 499  # nobody is there to be answered; the log says so as nginx does
        except Exception as error:
            log.error("request %s failed", request_id, exc_info=error)
            # What was sent cannot be taken back: then the connection ends.
            if not started:
                await failure(INTERNAL)(scope, receive, sending)
        finally:
            route = getattr(scope.get("route"), "path", None) or self._path(scope)
            self._telemetry.request(request_id, scope["method"], route, status, time.perf_counter() - begin)

    async def _served(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._direct.get((scope["method"], scope["path"]))
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        response = await endpoint(Request(scope, receive))
        await response(scope, receive, send)

    def _path(self, scope: Scope) -> str:
        """The route's path where it was answered directly; any other address may hold a key."""
        return str(scope["path"]) if (scope["method"], scope["path"]) in self._direct else "other"

    async def _admit(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        if self._gate.open or scope["path"] in OPEN or scope["path"].startswith("/page/"):
            return
        header = headers.get(b"authorization", b"").decode("latin-1")
        if self._gate.waits:
            await asyncio.to_thread(self._gate.check, header)
        else:
            self._gate.check(header)


def request_id_of(given: bytes | None) -> str:
    """The client's own request id where it is harmless, else a new one."""
    text = (given or b"").decode("latin-1")
    return text if _ID.match(text) else f"{_PROCESS}{next(_NUMBERS):012x}"


def failure(error: ScoreError) -> Response:
    """An error as an HTTP response."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return json_response({"error": error.as_dict()}, error.status, headers)


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON by orjson; what is not finite becomes null."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    return Response(body, status, headers, "application/json")


async def body_of(request: Request, limit: int, seconds: float) -> bytes:
    """The body, at most `limit` bytes and complete within `seconds`. Raises ScoreError (413, 408, 400)."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    chunks, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                chunks.append(chunk)
    except TimeoutError:
        raise ScoreError(408, "slow_body", f"the body was not complete after {seconds:g} seconds") from None
    return b"".join(chunks)


def _too_large(limit: int) -> ScoreError:
    return ScoreError(
        413, "body_too_large", f"the body is larger than {limit:,} bytes. Send the items in parts"
    )
