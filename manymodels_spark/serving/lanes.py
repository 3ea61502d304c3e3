"""Threads for predictions in two lanes, so that a large batch never keeps a small request waiting.

Each lane takes a bounded number of requests; one more is refused at once, which is kinder than an answer that
comes when nobody waits for it any more.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from manymodels_spark.serving.failures import ScoreError

T = TypeVar("T")


class Lane:
    """`threads` at work and at most `waiting` more requests."""

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._room, self._lock = threads + waiting, threading.Lock()
        self.taken = 0

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, from a thread of the lane. Raises ScoreError (503) where the lane is full."""
        with self._lock:
            if self.taken >= self._room:
                raise ScoreError(503, "overloaded", "too many requests are waiting already", 1)
            self.taken += 1
        # The place is given back when the work ends, not when somebody stops waiting for it.
        future = self._pool.submit(work)
        future.add_done_callback(lambda _: self._leave())
        try:
            return await asyncio.wrap_future(future)
        finally:
            # An error holds this frame; the future, which holds the error, must not be in it, or the request
            # stays in memory until the garbage collector finds the circle.
            del future

    def close(self) -> None:
        """End the threads; what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _leave(self) -> None:
        with self._lock:
            self.taken -= 1
