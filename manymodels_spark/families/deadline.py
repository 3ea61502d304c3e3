"""A time after which nobody waits for a prediction any more, looked at between its steps.

Whoever predicts on demand sets it around a prediction; families with a loop over steps call `check` in it.
Elsewhere (training, batch scoring) there is none, and `check` costs a look at a variable of the thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from manymodels_spark.errors import ManyModelsError


class DeadlinePassed(ManyModelsError):
    """Nobody waits for this prediction any more."""


class Deadline:
    """A moment of `time.monotonic`, or the moment at which `cancel` is called, whichever is first."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def cancel(self) -> None:
        """Nobody waits any more, from now on. May be called from any thread."""
        self._until = 0.0

    def check(self) -> None:
        """Return, or raise DeadlinePassed."""
        if time.monotonic() >= self._until:
            raise DeadlinePassed("the time for this request is over. Send fewer items or a shorter horizon")


class _Current(threading.local):
    deadline: Deadline | None = None


_current = _Current()


@contextmanager
def until(deadline: Deadline | None) -> Iterator[None]:
    """What this thread does inside stops at the deadline, where it looks at `check`."""
    before, _current.deadline = _current.deadline, deadline
    try:
        yield
    finally:
        _current.deadline = before


def check() -> None:
    """Return, or raise DeadlinePassed where the thread's deadline is over."""
    if _current.deadline is not None:
        _current.deadline.check()
