"""The order in which waves are fitted and logged: fits without a pause, logs at the same time.

It knows neither Spark nor MLflow: two functions fit and log a wave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

from manymodels_spark.stages.train.packing import Wave

# While the last tasks of one wave run, the first of the next one start.
FITTING = 2
# While one wave waits for the lake, another one is logged to MLflow.
LOGGING = 2

Work = Callable[[Wave], object]
T = TypeVar("T")


def run_waves(waves: Iterator[Wave], fit: Work, log: Work, fitted: Callable[[], T]) -> T:
    """Fit every wave and then log it. A wave is taken from `waves` when a thread is free to fit it.

    Returns:
        What `fitted` gives, which is called once all are fitted, during the last logs.

    Raises:
        The first error, when all that had begun by then has ended. After an error nothing is fitted any more
        and `fitted` is not called; what was fitted before is still logged, unless logging is what failed.

    """
    errors = _Errors()
    with ThreadPoolExecutor(LOGGING, "log") as loggers, ThreadPoolExecutor(FITTING, "fit") as fitters:

        def fit_and_log() -> None:
            for wave in waves:
                if not errors.catch(fit, wave, "fit"):
                    return
                loggers.submit(errors.catch, log, wave, "log")

        for _ in range(FITTING):
            fitters.submit(fit_and_log)
        try:
            fitters.shutdown()
            errors.reraise()
            result = fitted()
        except BaseException as interrupt:
            errors.add("fit", interrupt)
    errors.reraise()
    return result


class _Errors:
    """What went wrong in the threads, and whether work of a kind still makes sense."""

    def __init__(self) -> None:
        self._found: dict[str, BaseException] = {}
        self._lock = Lock()

    def catch(self, work: Work, wave: Wave, kind: str) -> bool:
        """Do the work, unless it or its like failed already; whether it was done."""
        if kind in self._found or (kind == "fit" and self._found):
            return False
        try:
            work(wave)
        except BaseException as error:
            self.add(kind, error)
            return False
        return True

    def add(self, kind: str, error: BaseException) -> None:
        """Remember the first error of a kind."""
        with self._lock:
            self._found.setdefault(kind, error)

    def reraise(self) -> None:
        """Raise the first error, if there is one."""
        for error in self._found.values():
            raise error
