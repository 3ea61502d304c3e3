"""A polite MLflow client: it counts its calls, keeps to a server's limits and
repeats what a bad moment refused.

It knows which calls may be repeated blindly and which may not;
what the calls mean is the repository's business.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from manymodels_spark.errors import TrackingError
from manymodels_spark.spec.source import resolve
from manymodels_spark.tracking import faults
from manymodels_spark.tracking.embedded import keep_a_log, make_folder_of
from manymodels_spark.tracking.faults import LostAnswer
from manymodels_spark.tracking.limits import Limits, TokenBucket, limits_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from manymodels_spark.tracking.transport import Transport

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Client:
    """An `MlflowClient` whose calls are counted, limited and repeated.

    `calls` counts by method; over HTTP every request counts, so that an upload of five files is six calls.
    `sleep`, `clock` and `share` (a random number in 0..1) are for tests.
    """

    mlflow: MlflowClient
    uri: str
    limits: Limits
    attempts: int = 8
    calls: Counter[str] = field(default_factory=Counter)
    transport: Transport | None = None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    share: Callable[[], float] = random.random
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Make the buckets that the limits ask for."""
        rates = {"default": self.limits.default, "batch": self.limits.batch, "search": self.limits.search}
        self._buckets = {kind: TokenBucket(rate, self.clock) for kind, rate in rates.items() if rate}

    @classmethod
    def connect(cls, tracking: str, registry: str | None = None) -> Client:
        """A client for a tracking URI as written in the spec (variables are resolved here)."""
        from mlflow import MlflowClient

        from manymodels_spark.tracking.transport import watch

        uri = server_uri(resolve(tracking))
        make_folder_of(uri)
        transport = watch(uri)
        client = MlflowClient(
            tracking_uri=uri, registry_uri=server_uri(resolve(registry)) if registry else uri
        )
        keep_a_log(uri)
        return cls(client, uri, limits_of(uri), transport=transport)

    @property
    def total(self) -> int:
        """All calls so far, repeats included."""
        return sum(self.calls.values())

    def call(
        self,
        function: Callable[..., R],
        *args: Any,
        kind: str = "default",
        safe: bool = True,
        patience: int = 0,
        **kwargs: Any,
    ) -> R:
        """Call a method of `self.mlflow`, waiting for the limits and repeating passing faults.

        `safe=False` marks a call that must not be made twice: it is repeated only where it certainly changed
        nothing (429, never sent), and LostAnswer is raised where nobody knows. `patience` is how many tries
        there are, by default `attempts`. Raises TrackingError when patience ends; other answers of the server
        pass as they are.
        """
        name, tries = getattr(function, "__name__", "call"), patience or self.attempts
        for attempt in range(1, tries + 1):
            self._wait(kind)
            try:
                return self._counted(name, partial(function, *args, **kwargs))
            except Exception as error:
                lost = self._judge(error, name, safe)
                if lost is None and attempt == tries:
                    raise self._gave_up(error, name, tries) from error
                self._pause(attempt, error)
                if lost is not None:
                    raise lost from error
        raise AssertionError("unreachable")

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """`function` over the items, several at a time where the server takes it, results in order.

        The first error is raised; what has not begun by then is not begun.
        """
        if self.limits.threads == 1:
            return [function(item) for item in items]
        failed: list[Exception] = []

        def one(item: T) -> R | None:
            if failed:
                return None
            try:
                return function(item)
            except Exception as error:
                failed.append(error)
                return None

        with ThreadPoolExecutor(self.limits.threads, thread_name_prefix="mlflow") as pool:
            results = list(pool.map(one, items))
        if failed:
            raise failed[0]
        return cast("list[R]", results)

    def _counted(self, name: str, function: Callable[[], R]) -> R:
        if self.transport is not None:
            self.transport.begin()
        try:
            return function()
        finally:
            with self._lock:
                self.calls[name] += max(1, self.transport.sent if self.transport is not None else 1)

    def _judge(self, error: Exception, name: str, safe: bool) -> LostAnswer | None:
        """None where the call is to be made again; what to raise where nobody knows whether it worked.
        Raises all else.
        """
        if (status := faults.status_of(error)) in faults.NOT_ALLOWED:
            words = " ".join(public(str(error)).split())[:200]
            raise TrackingError(
                f"MLflow at {public(self.uri)} does not allow {name} (status {status}: {words}). Check user "
                "and password in the spec's address (https://${USER}:${PASSWORD}@host), "
                "MLFLOW_TRACKING_USERNAME with MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, and what "
                "they may do there"
            ) from None
        if not faults.is_transient(error):
            raise error
        if safe or faults.is_not_done(error):
            return None
        return LostAnswer(f"{name} at {public(self.uri)}: the answer was lost ({type(error).__name__})")

    def _pause(self, attempt: int, error: Exception) -> None:
        """Wait as long as the server asks, or a little longer each time:
        also before somebody looks what a lost call did.
        """
        pause = faults.seconds_of(self._retry_after(error))
        self.sleep(
            faults.backoff(attempt, self.share()) if pause is None else pause * (1 + 0.1 * self.share())
        )

    def _retry_after(self, error: Exception) -> str | None:
        carried = faults.retry_after_of(error)
        return carried or (self.transport.retry_after if self.transport is not None else None)

    def _gave_up(self, error: Exception, name: str, tries: int) -> TrackingError:
        status = faults.status_of(error)
        what = (
            "did not answer" if faults.is_lost(error) else f"refused {name} {tries} times (status {status})"
        )
        return TrackingError(
            f"MLflow at {public(self.uri)} {what} ({name}: {type(error).__name__}). Check that the server "
            "runs and that "
            "mlflow.*.tracking in the spec is its address; what was committed so far is safe, run the same "
            "command again"
        )

    def _wait(self, kind: str) -> None:
        bucket = self._buckets.get(kind) or self._buckets.get("default")
        if bucket is not None and (pause := bucket.reserve()) > 0:
            self.sleep(pause)


def server_uri(uri: str) -> str:
    """The address to call. `azureml://` is Azure ML's own name for an HTTPS server that speaks MLflow's REST.

    Its plugin does not work with a current MLflow; a token in MLFLOW_TRACKING_TOKEN does.
    """
    return "https://" + uri.removeprefix("azureml://") if uri.startswith("azureml://") else uri


def public(uri: str) -> str:
    """A URI without its credentials."""
    scheme, mark, rest = uri.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"
