"""BLAS and OpenMP on one thread, without importing a library that the fit does not use."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import lru_cache
from typing import Any

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "STAN_NUM_THREADS",
)
_held = False


def hold_one_thread() -> None:
    """Hold BLAS, OpenMP and Stan to one core while this process lives: libraries loaded and yet to load."""
    global _held
    os.environ.update(dict.fromkeys(THREADS, "1"))
    with suppress(ImportError):
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

        threadpool_limits(limits=1)
        _held = True


def is_held() -> bool:
    """Whether this process is held to one thread, so that no limit must be set for a single fit."""
    return _held


def one_blas_thread() -> AbstractContextManager[Any]:
    """Holds BLAS to one thread: a task has one core, and sums then never depend on how many there are."""
    if _held:
        return nullcontext()
    limit: AbstractContextManager[Any] = _pools().limit(limits=1)
    return limit


@lru_cache(maxsize=1)
def _pools() -> Any:
    import scipy.linalg  # noqa: F401  so that its BLAS is among those found
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped, unused-ignore]

    return ThreadpoolController().select(user_api="blas")
