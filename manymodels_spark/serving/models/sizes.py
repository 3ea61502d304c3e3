"""How much memory a model and the process take, and giving freed memory back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys
from functools import lru_cache
from typing import Any

import psutil

from manymodels_spark.modeling.memory import measure

# Objects made and not freed before a young, a middle and a full collection (in multiples of the one before).
COLLECT = (5_000, 10, 20)
HAND_OVER_SECONDS = 0.0005

__all__ = ["few_arenas", "give_back", "measure", "resident", "settle"]


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(_process().memory_info().rss)


def give_back() -> None:
    """Collect cycles and return free pages to the system, where the C library knows how (glibc)."""
    gc.collect()
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def settle() -> None:
    """Prepare a process that holds many objects for long and answers in milliseconds.

    What there is now is never looked at again by the garbage collector, and a full collection, which stands
    still for as long as all models' objects take, waits until many more have piled up: reference counts free
    nearly all. Threads hand over ten times as often, so that opening one model does not hold up the answers
    of others.
    """
    few_arenas()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)
    sys.setswitchinterval(HAND_OVER_SECONDS)


def few_arenas(count: int = 2) -> None:
    """Keep threads from having a heap each: with many, freed models leave holes that nobody else fills
    (glibc).
    """
    mallopt = getattr(_libc(), "mallopt", None)
    if mallopt is not None:
        mallopt(-8, count)


@lru_cache(maxsize=1)
def _process() -> psutil.Process:
    return psutil.Process()


@lru_cache(maxsize=1)
def _libc() -> Any:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):
        return None
