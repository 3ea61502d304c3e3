"""A polite MLflow client: it counts its calls, keeps to a server's limits and repeats what a bad moment refused.

It knows which calls may be repeated blindly and which may not; what the calls mean is the repository's business.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from manymodels_spark.errors import TrackingError
from manymodels_spark.spec.source import resolve

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")
R = TypeVar("R")

TRANSIENT = {429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Limits:
    """Calls per second that a server allows, by class of endpoint; None is no limit. `page` is a search's page."""

    default: float | None = None
    batch: float | None = None
    search: float | None = None
    page: int = 1000
    threads: int = 8


# Published per workspace limits of Azure Databricks; a tenth is left to everybody else's work.
DATABRICKS = Limits(default=108, batch=42, search=6, page=50, threads=16)
EMBEDDED = Limits(threads=1)
SERVER = Limits()


class TokenBucket:
    """At most `rate` calls a second, with a burst of one second's worth."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._tokens, self._last = rate, clock()
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Take one token; the seconds to wait before using it."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._rate, self._tokens + (now - self._last) * self._rate)
            self._last = now
            self._tokens -= 1
            return max(0.0, -self._tokens / self._rate)


@dataclass
class Client:
    """An `MlflowClient` whose calls are counted, limited and repeated."""

    mlflow: MlflowClient
    uri: str
    limits: Limits
    attempts: int = 8
    calls: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        rates = {"default": self.limits.default, "batch": self.limits.batch, "search": self.limits.search}
        self._buckets = {kind: TokenBucket(rate) for kind, rate in rates.items() if rate}

    @classmethod
    def connect(cls, tracking: str, registry: str | None = None) -> Client:
        """A client for a tracking URI as written in the spec (variables are resolved here)."""
        from mlflow import MlflowClient

        uri = resolve(tracking)
        _make_folder_of(uri)
        if uri.startswith(("http", "databricks")):
            # Its blind repeats of a POST whose answer was lost would create a model twice; ours look first.
            os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        client = MlflowClient(tracking_uri=uri, registry_uri=resolve(registry) if registry else uri)
        return cls(client, uri, limits_of(uri))

    @property
    def total(self) -> int:
        """All calls so far, repeats included."""
        return sum(self.calls.values())

    def call(self, function: Callable[..., R], *args: Any, kind: str = "default", safe: bool = True, **kwargs: Any) -> R:
        """Call a method of `self.mlflow`, waiting for the limits and repeating passing faults.

        `safe=False` marks a call that may have worked although its answer was lost: then only answers that
        prove that it did not (429) are repeated here. Raises TrackingError when patience ends.
        """
        name = getattr(function, "__name__", "call")
        for attempt in range(1, self.attempts + 1):
            self._wait(kind)
            with self._lock:
                self.calls[name] += 1
            try:
                return function(*args, **kwargs)
            except Exception as error:
                pause = _pause(error, attempt, safe)
                if pause is None or attempt == self.attempts:
                    raise _explained(error, name, self.uri) from error
                time.sleep(pause)
        raise AssertionError("unreachable")

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """`function` over the items, several at a time where the server takes it, results in order."""
        if self.limits.threads == 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(self.limits.threads) as pool:
            return list(pool.map(function, items))

    def _wait(self, kind: str) -> None:
        bucket = self._buckets.get(kind) or self._buckets.get("default")
        if bucket is not None and (pause := bucket.reserve()) > 0:
            time.sleep(pause)


def limits_of(uri: str) -> Limits:
    """The limits of the server behind a tracking URI."""
    if uri.startswith("databricks"):
        return DATABRICKS
    return SERVER if uri.startswith("http") else EMBEDDED


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an MLflow exception, None for a lost connection or anything else."""
    import re

    getter = getattr(error, "get_http_status_code", None)
    found = re.search(r"error code (\d{3})|failed with error code (\d{3})|status code (\d{3})|\b(429)\b", str(error))
    if found:
        return int(next(group for group in found.groups() if group))
    return int(getter()) if callable(getter) and not is_lost(error) else None


def is_lost(error: BaseException) -> bool:
    """Whether the connection broke, so that nobody knows whether the call worked."""
    text = f"{type(error).__name__} {error}".lower()
    words = ("connection", "timed out", "timeout", "remote end closed", "max retries exceeded", "econnreset", "reset by peer")
    return any(word in text for word in words)


def _pause(error: BaseException, attempt: int, safe: bool) -> float | None:
    """Seconds until the next try, or None where repeating is of no use or not safe."""
    status, backoff = status_of(error), min(30.0, 0.25 * 2**attempt) * random.uniform(0.5, 1.0)
    if status == 429:
        return _retry_after(error) or backoff
    transient = is_lost(error) or status in TRANSIENT or "database is locked" in str(error)
    return backoff if transient and safe else None


def _retry_after(error: BaseException) -> float | None:
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    value = getattr(response, "headers", {}).get("Retry-After") if response is not None else None
    return float(value) if value and str(value).isdigit() else None


def _explained(error: Exception, name: str, uri: str) -> Exception:
    """A TrackingError that says where MLflow was looked for; other answers of the server pass as they are."""
    if not is_lost(error):
        return error
    return TrackingError(
        f"MLflow at {public(uri)} did not answer ({name}: {type(error).__name__}). Check that the server runs and that "
        "mlflow.*.tracking in the spec is its address; what was committed so far is safe, run the same command again"
    )


def public(uri: str) -> str:
    """A URI without its credentials."""
    scheme, mark, rest = uri.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


def _make_folder_of(uri: str) -> None:
    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
