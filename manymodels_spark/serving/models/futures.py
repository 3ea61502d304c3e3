"""Futures that nobody can cancel: one client that goes away must not fail the others who wait for a model."""

from __future__ import annotations

import copy
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def running() -> Future[T]:
    """A future whose result is still to come."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()
    return future


def done(value: T) -> Future[T]:
    """A future with its result."""
    future: Future[T] = running()
    future.set_result(value)
    return future


def failed(error: Exception) -> Future[T]:
    """A future with the error that its `result` raises: a copy, since an error keeps the frames, and so the
    requests, of all who ever raised it.
    """
    future: Future[T] = running()
    future.set_exception(copy.copy(error))
    return future
