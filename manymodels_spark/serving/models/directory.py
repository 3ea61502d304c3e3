"""Which partitions have a champion: read in bulk once many are asked for that have none, so that a flood of
unknown keys costs a page of the source's search now and then, and not a search each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from manymodels_spark.serving.models.sources import SourceDown

# So many searches in vain take as long as a few pages of all champions.
MANY = 50


class Directory:
    """The ids of all partitions with a champion, which count for `ttl` seconds after they were read."""

    def __init__(
        self, partition_ids: Callable[[], Collection[str]], ttl: float, clock: Callable[[], float]
    ) -> None:
        self._partition_ids, self._ttl, self._clock = partition_ids, ttl, clock
        self._ids: frozenset[str] | None = None
        self._read_at = self._since = clock()
        self._unknown = 0
        self._reading = False
        self._lock = threading.Lock()

    def lacks(self, partition_id: str) -> bool:
        """Whether the partition is known to have no champion."""
        return self._fresh and partition_id not in (self._ids or ())

    def note_unknown(self) -> bool:
        """Note that the source knew no champion of a partition; True where the caller should `read` now."""
        with self._lock:
            now = self._clock()
            if now - self._since >= self._ttl:
                self._since, self._unknown = now, 0
            self._unknown += 1
            due = self._unknown >= MANY and not self._reading and not self._fresh
            self._reading = self._reading or due
            return due

    def read(self) -> None:
        """Ask the source for all ids; where it is down, each partition is asked for as before."""
        began = self._clock()
        try:
            self._ids = frozenset(self._partition_ids())
            self._read_at = began
        except SourceDown:
            self._ids = None
        finally:
            self._reading = False

    @property
    def _fresh(self) -> bool:
        return self._ids is not None and self._clock() - self._read_at < self._ttl
