"""What a server allows: calls per second by class of endpoint, models per page, calls at once;
and a token bucket.

Nothing here knows MLflow: a bucket only computes how long to wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

BURST_SECONDS = 0.1


@dataclass(frozen=True)
class Limits:
    """Calls per second that a server allows, by class of endpoint; None is no limit.

    `page` is the most models in one page of a search, `threads` the calls at once. `verify` says that
    something between us and the server repeats lost calls by itself, so that every batch of new models is
    looked at once. `free_names` says that a registered model may be called anything: Unity Catalog requires
    catalog and schema before it, and nobody tried Azure ML's registry with artifacts of ours. `both_ends`
    says that large results are read from both ends at once: the server compares times of creation and has
    more than one worker.
    """

    default: float | None = None
    batch: float | None = None
    search: float | None = None
    page: int = 1000
    threads: int = 8
    verify: bool = False
    free_names: bool = True
    both_ends: bool = False


# Published per workspace limits of Azure Databricks (120, 47 and 7 calls a second); a tenth is left to
# everybody else's work. The Databricks SDK repeats a POST whose connection broke.
DATABRICKS = Limits(default=108, batch=42, search=6, page=50, threads=16, verify=True, free_names=False)
# Azure ML publishes no number; its answers to too many calls carry Retry-After, which is kept to.
AZUREML = Limits(default=50, batch=25, search=5, page=1000, threads=8, free_names=False)
EMBEDDED = Limits(threads=1)
SERVER = Limits(both_ends=True)


def limits_of(uri: str) -> Limits:
    """The limits of the server behind a tracking URI."""
    if uri.startswith("databricks"):
        return DATABRICKS
    if is_azureml(uri):
        return AZUREML
    return SERVER if uri.startswith("http") else EMBEDDED


def is_azureml(uri: str) -> bool:
    """Whether the tracking server is an Azure ML workspace, which has runs but no logged models."""
    return uri.startswith("azureml:") or (uri.startswith("https://") and ".api.azureml.ms/" in uri)


class TokenBucket:
    """At most `rate` calls in any second, shared by all threads;
    a tenth of a second's worth may go at once.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        """A full bucket; `clock` gives seconds."""
        self._rate, self._clock = rate, clock
        self._size = max(1.0, rate * BURST_SECONDS)
        self._tokens, self._last = self._size, clock()
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Take one token; the seconds to wait before using it."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._size, self._tokens + (now - self._last) * self._rate)
            self._last = now
            self._tokens -= 1
            return max(0.0, -self._tokens / self._rate)
