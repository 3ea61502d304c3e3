"""How far the waves under way are, for the bar: a wave takes up to a minute, and longer where fits do.

Spark writes one file a task into the table of fits long before the wave is committed, and any session can
list files, also through Spark Connect. Nothing is run for it and nothing depends on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread

from manymodels_spark.lake.tables import Lake
from manymodels_spark.stages.train.packing import Wave

EVERY_SECONDS = 5.0
# Of the time between two looks, the share that looking may take where a table has many files.
_SHARE = 0.1


class InFlight:
    """Counts the partitions that are fitted, committed or not: never too many while no task is repeated.

    Args:
        files: how many files the table has.
        cores: tasks at once; so many files do not count, since on a disk a task's file is there from its
            beginning.

    """

    def __init__(self, files: Callable[[], int], cores: int) -> None:
        self._files, self._cores = files, cores
        self._waves: dict[int, Wave] = {}
        self._before, self._tasks, self._members = 0, 0, 0
        self._lock = Lock()

    def begin(self) -> None:
        """Count the files that are there before the first wave has written any."""
        self._before = self._files()

    @contextmanager
    def during(self, wave: Wave) -> Iterator[None]:
        """A wave is under way, and committed where the block ends without an error."""
        with self._lock:
            self._waves[wave.number] = wave
        yield
        with self._lock:
            del self._waves[wave.number]
            self._tasks, self._members = self._tasks + wave.tasks, self._members + len(wave.members)

    def fitted(self) -> int:
        """Partitions fitted so far."""
        written = self._files() - self._before - self._cores
        with self._lock:
            tasks = sum(wave.tasks for wave in self._waves.values())
            members = sum(len(wave.members) for wave in self._waves.values())
            share = min(max(written - self._tasks, 0) / tasks, 1.0) if tasks else 0.0
            return self._members + int(share * members)


def files_of(lake: Lake, table: str) -> int:
    """How many data files lie in the table's folder, by a listing of the driver's."""
    reader = lake.spark.read.format("binaryFile").option("pathGlobFilter", "*.parquet")
    return len(reader.option("recursiveFileLookup", "true").load(lake.location(table)).inputFiles())


@contextmanager
def looking(in_flight: InFlight, show: Callable[[int], None]) -> Iterator[None]:
    """While the block runs, show every few seconds how many partitions have been fitted."""
    ended = Event()

    def look() -> None:
        pause = EVERY_SECONDS
        with suppress(Exception):  # a table that cannot be listed: the bar moves with the waves alone
            in_flight.begin()
            while not ended.wait(pause):
                began = time.monotonic()
                show(in_flight.fitted())
                pause = max(EVERY_SECONDS, (time.monotonic() - began) / _SHARE)

    thread = Thread(target=look, name="looking", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
