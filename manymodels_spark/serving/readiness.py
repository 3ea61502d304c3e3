"""Whether a server can answer: starting, ready, degraded (the source is away, known models answer),
unavailable.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from concurrent.futures import wait
from typing import Any

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.serving.models import sizes
from manymodels_spark.serving.models.cache import ModelCache
from manymodels_spark.serving.partitions import named
from manymodels_spark.serving.settings import ServingSettings

log = logging.getLogger(__name__)
# Importing a library of models takes seconds, on a busy machine many.
WARM_SECONDS = 120


class Readiness:
    """Warms the cache and keeps an eye on the source; `state` never waits."""

    def __init__(self, cache: ModelCache, settings: ServingSettings) -> None:
        self._cache, self._settings = cache, settings
        self._warming: threading.Thread | None = None
        self.warmed = 0

    def begin(self) -> None:
        """Ask for the source and warm up, in the background."""
        self._cache.probe()
        self._warming = threading.Thread(target=self.warm, name="warm", daemon=True)
        self._warming.start()

    def wait(self) -> None:
        """Until warming is over."""
        if self._warming is not None:
            self._warming.join()

    def warm(self) -> None:
        """Load a champion of each family, so that no request waits for a library's import, and the warm list.

        A few at a time; what cannot be loaded is logged and left for its first request.
        """
        self._load(self._sample())
        listed, step = self._settings.warm, self._settings.loaders
        for start in range(0, len(listed), step):
            self.warmed += self._load(self._ids(listed[start : start + step]))
        # The libraries that the models brought along are here to stay, too.
        sizes.settle()

    def _sample(self) -> list[str]:
        try:
            found = self._cache.loader.search("", self._settings.sample) if self._settings.sample else []
        except ManyModelsError as error:
            log.warning("starting without the source: %s", error)
            return []
        return list({champion.family: champion.partition_id for champion in found}.values())

    def _ids(self, listed: Iterable[str]) -> list[str]:
        ids = []
        for text in listed:
            try:
                ids.append(named(text, self._cache.loader.columns()))
            except ManyModelsError as error:
                log.warning("an entry of the warm list cannot be loaded: %s", error)
        return ids

    def _load(self, ids: list[str]) -> int:
        """Load these; how many were."""
        futures = [self._cache.load(partition_id) for partition_id in ids]
        wait(futures, timeout=WARM_SECONDS)
        return sum(future.done() and future.exception() is None for future in futures)

    def state(self) -> tuple[int, dict[str, Any]]:
        """An HTTP status and what to say. Degraded is 200: taking the server away would silence what still
        works.
        """
        self._cache.probe()
        cache, trouble = self._cache, self._cache.loader.trouble
        facts = {"models": len(cache), "on_disk": len(cache.disk) if cache.disk else 0}
        warming = self._warming is not None and self._warming.is_alive()
        if warming or not cache.loader.contacted:
            return 503, {"status": "starting", **facts}
        if trouble is None:
            return 200, {"status": "ready", **facts}
        if not any(facts.values()):
            return 503, {"status": "unavailable", **facts, "reason": trouble}
        return 200, {"status": "degraded", **facts, "reason": trouble}
