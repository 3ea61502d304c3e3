"""The models in memory: least recently used ones go first, within measured bytes and the process's own
memory.

One load per model however many ask at once; what is not there is remembered for a while; a new champion
replaces the old one behind the scenes. It knows threads and futures, neither HTTP nor MLflow.
"""

from __future__ import annotations

import copy
import logging
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from cachetools import TTLCache

from manymodels_spark.errors import ManyModelsError, PayloadError
from manymodels_spark.modeling.predict import LoadedPartition
from manymodels_spark.serving.models import sizes
from manymodels_spark.serving.models.directory import Directory
from manymodels_spark.serving.models.disk import DiskTier
from manymodels_spark.serving.models.futures import done, failed, running
from manymodels_spark.serving.models.loader import Loader, Opened, unknown
from manymodels_spark.serving.models.sources import Champion, ChampionSource, SourceDown, UnknownPartition
from manymodels_spark.serving.settings import MIB, ServingSettings

log = logging.getLogger(__name__)
NEGATIVES = 10_000
PRESSURE_PAUSE = 1.0
PROBE_SECONDS = 10.0
# Share of the time-to-live after which a model is looked at together with others that are due.
NEARLY = 0.8


class Busy(ManyModelsError):
    """More models are waiting to be loaded than the server allows; the request may be repeated."""


@dataclass
class Entry:
    """One model in memory. `checked` is the clock's time at which the source last named it champion;
    `partition` is its key as JSON holds it, `texts` are its inputs that hold text, `pace` is the processor
    time in seconds that a short prediction takes, by the last one.
    """

    champion: Champion
    model: LoadedPartition
    size: int
    checked: float
    partition: dict[str, Any] = field(default_factory=dict)
    texts: frozenset[str] = frozenset()
    pace: float = math.inf


class ModelCache:
    """Champions by partition id. All methods may be called from any thread; only `load` threads wait for
    I/O.
    """

    def __init__(
        self,
        source: ChampionSource,
        settings: ServingSettings,
        clock: Callable[[], float] = time.monotonic,
        resident: Callable[[], int] = sizes.resident,
    ) -> None:
        self.settings = settings
        self.disk = DiskTier(settings.disk, int(settings.disk_mb * MIB)) if settings.disk else None
        self.loader = Loader(source, self.disk, settings, clock)
        self.directory = Directory(self.loader.partition_ids, settings.negative_ttl, clock)
        self.counts: Counter[str] = Counter()
        self.bytes = 0
        self._clock, self._resident = clock, resident
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._negative: TTLCache[str, ManyModelsError] = TTLCache(NEGATIVES, settings.negative_ttl, clock)
        self._loading: dict[str, Future[Entry]] = {}
        # Models whose time-to-live is over and that were asked for since; one sweep looks at all of them.
        self._refreshing: set[str] = set()
        self._sweeping = False
        self._probing = False
        self._lock = threading.Lock()
        self._relieved_at = -PRESSURE_PAUSE
        self._pool = ThreadPoolExecutor(settings.loaders, "load")
        # Refreshes have a thread of their own: a source that hangs must not hold up loads from disk.
        self._background = ThreadPoolExecutor(1, "refresh")
        self._swappers = ThreadPoolExecutor(settings.loaders, "swap")

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, partition_id: str) -> bool:
        return partition_id in self._entries

    def get(self, partition_id: str) -> Entry | None:
        """The model where it is in memory, without waiting for anything; a stale one is refreshed
        meanwhile.
        """
        with self._lock:
            entry = self._entries.get(partition_id)
            if entry is None:
                return None
            self._entries.move_to_end(partition_id)
            self.counts["hits"] += 1
            due = self._clock() - entry.checked >= self.settings.ttl and partition_id not in self._refreshing
            if due:
                self._refreshing.add(partition_id)
                sweep, self._sweeping = not self._sweeping, True
        if due and sweep:
            self._background.submit(self._sweep)
        return entry

    def load(self, partition_id: str) -> Future[Entry]:
        """The model, now or later. Its future raises UnknownPartition, PayloadError, SourceDown or Busy.

        All who ask for one model while it is loading get the same future, which nobody can cancel.
        """
        entry = self.get(partition_id)
        if entry is not None:
            return done(entry)
        with self._lock:
            known = self._negative.get(partition_id)
            if known is not None:
                self.counts["negative_hits"] += 1
                return failed(known)
            if self.directory.lacks(partition_id):
                self.counts["negative_hits"] += 1
                return failed(unknown(partition_id))
            waiting = self._loading.get(partition_id)
            if waiting is not None:
                self.counts["joined"] += 1
                return waiting
            if len(self._loading) >= self.settings.pending_loads:
                self.counts["busy"] += 1
                return failed(
                    Busy(f"{len(self._loading)} models are being loaded already. Ask again in a moment")
                )
            self.counts["misses"] += 1
            future: Future[Entry] = running()
            self._loading[partition_id] = future
        self._pool.submit(self._fill, partition_id, future)
        return future

    def probe(self) -> None:
        """See whether the source can be reached, in the background, where it was not asked for a while."""
        with self._lock:
            if self._probing or self._clock() - self.loader.contact < PROBE_SECONDS:
                return
            self._probing = True
        self._background.submit(self._probe)

    def known(self) -> list[Champion]:
        """The champions in memory, the least recently used first."""
        with self._lock:
            return [entry.champion for entry in self._entries.values()]

    def close(self) -> None:
        """Stop loading; what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._background.shutdown(wait=False, cancel_futures=True)
        self._swappers.shutdown(wait=False, cancel_futures=True)

    def _probe(self) -> None:
        try:
            self.loader.ping()
        finally:
            self._probing = False

    def _fill(self, partition_id: str, future: Future[Entry]) -> None:
        """Load one model and answer all who wait for it."""
        try:
            if self.directory.lacks(partition_id):  # known since this load was asked for
                raise unknown(partition_id)
            entry = self._entry(self.loader.open(partition_id))
            self._insert(entry)
        except Exception as error:
            # A copy has no frames: those of this call hold the future, which holds the error.
            known = copy.copy(error) if isinstance(error, ManyModelsError) else _unusable(error)
            self._remember(partition_id, known)
            self._settle(partition_id)
            future.set_exception(known)
        else:
            self._settle(partition_id)
            future.set_result(entry)

    def _settle(self, partition_id: str) -> None:
        with self._lock:
            self._loading.pop(partition_id, None)

    def _entry(self, opened: Opened) -> Entry:
        champion, size = opened.champion, sizes.measure(opened.model)
        return Entry(champion, opened.model, size, opened.checked, champion.partition, opened.texts)

    def _insert(self, entry: Entry) -> None:
        partition_id = entry.champion.partition_id
        with self._lock:
            self.counts["loads"] += 1
            old = self._entries.pop(partition_id, None)
            self.bytes += entry.size - (old.size if old else 0)
            self._entries[partition_id] = entry
            self._negative.pop(partition_id, None)
            self._shrink(self.settings.cache_mb * MIB, self.settings.cache_models)
        self._relieve()

    def _shrink(self, limit: float, models: int | None = None) -> None:
        """Drop the least recently used models until the rest fit; the newest one always stays. Under the
        lock.
        """
        while len(self._entries) > 1 and (
            self.bytes > limit or (models is not None and len(self._entries) > models)
        ):
            _, entry = self._entries.popitem(last=False)
            self.bytes -= entry.size
            self.counts["evictions"] += 1

    def _relieve(self) -> None:
        """Where the process takes more memory than it may, drop a fifth of the models and give the pages
        back.
        """
        if self.settings.rss_mb is None or self._resident() <= self.settings.rss_mb * MIB:
            return
        with self._lock:
            if self._clock() - self._relieved_at < PRESSURE_PAUSE:
                return
            self._relieved_at = self._clock()
            self._shrink(self.bytes * 0.8)
            self.counts["pressure"] += 1
        sizes.give_back()

    def _remember(self, partition_id: str, error: ManyModelsError) -> None:
        """Keep a failure that would only repeat itself; a source that is down may be back at any moment."""
        self.counts["load_failures"] += 1
        if isinstance(error, SourceDown):
            return
        with self._lock:
            self._negative[partition_id] = error
        if isinstance(error, UnknownPartition) and self.directory.note_unknown():
            self._background.submit(self.directory.read)

    def _sweep(self) -> None:
        """Ask the source again for all models whose time is over, in one go, and swap what has changed."""
        entries = self._due()
        try:
            found = self.loader.find_many(list(entries))
        except Exception as error:
            for partition_id, entry in entries.items():
                self._keep(partition_id, entry, error)
        else:
            # Opening is what takes long: a promotion of everything changes every model at once.
            champions = [found.get(partition_id) for partition_id in entries]
            list(self._swappers.map(self._refresh, entries, entries.values(), champions))
        finally:
            with self._lock:
                self._refreshing.difference_update(entries)
                self._sweeping = bool(self._refreshing)
                again = self._sweeping
        if again:
            self._background.submit(self._sweep)

    def _due(self) -> dict[str, Entry]:
        """The models that were asked for after their time, and those whose time is nearly over with them."""
        soon = self._clock() - self.settings.ttl * NEARLY
        with self._lock:
            due = {one: self._entries[one] for one in self._refreshing if one in self._entries}
            self._refreshing.intersection_update(due)
            if len(due) > 1:
                more = [(one, entry) for one, entry in self._entries.items() if entry.checked <= soon]
                due.update(more)
                self._refreshing.update(due)
            return due

    def _refresh(self, partition_id: str, entry: Entry, found: Champion | None) -> None:
        """Keep the model where the source names the same champion, replace it in one step by another one, or
        forget it where there is none any more.
        """
        try:
            opened = self.loader.renew(entry.champion, found)
            if opened is None:
                entry.checked = self._clock()
            else:
                self._insert(self._entry(opened))
                self.counts["swaps"] += 1
            self.counts["refreshes"] += 1
        except UnknownPartition as error:
            self._forget(partition_id)
            self._remember(partition_id, error)
        except Exception as error:
            self._keep(partition_id, entry, error)

    def _keep(self, partition_id: str, entry: Entry, error: Exception) -> None:
        """The model at hand goes on answering; the source is asked again soon, not at every request."""
        self.counts["refresh_failures"] += 1
        entry.checked = self._clock() - self.settings.ttl + min(self.settings.retry_after, self.settings.ttl)
        log.warning("partition %s keeps its model: %s", partition_id, error)

    def _forget(self, partition_id: str) -> None:
        with self._lock:
            entry = self._entries.pop(partition_id, None)
            self.bytes -= entry.size if entry else 0


def _unusable(error: Exception) -> PayloadError:
    log.error("a model cannot be opened", exc_info=error)
    return PayloadError(
        f"the model cannot be opened ({type(error).__name__}). Train and promote the partition again"
    )
