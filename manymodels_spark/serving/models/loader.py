"""From a partition id to an open model: ask the source, take the payload from disk or storage, verify, open.

It remembers whether the source can be reached, and the types of the partition's columns. No caching, no HTTP.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from manymodels_spark.errors import PayloadError
from manymodels_spark.modeling.predict import LoadedPartition
from manymodels_spark.serving.models.disk import DiskTier, Stored
from manymodels_spark.serving.models.sources import Champion, ChampionSource, SourceDown, UnknownPartition
from manymodels_spark.serving.settings import ServingSettings

T = TypeVar("T")
Observer = Callable[[str, float], None]


@dataclass(frozen=True)
class Opened:
    """A verified, open model; `checked` is when the source named it, by the loader's clock, `texts` are the
    inputs that hold text.
    """

    champion: Champion
    model: LoadedPartition
    checked: float
    texts: frozenset[str] = frozenset()


class Loader:
    """Opens champions. `observe(origin, seconds)` is told of every load: origin is source or disk."""

    def __init__(
        self,
        source: ChampionSource,
        disk: DiskTier | None,
        settings: ServingSettings,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.source, self.disk, self.settings = source, disk, settings
        self.observe: Observer = lambda origin, seconds: None
        self.kinds: dict[str, str] = {}
        self.trouble: str | None = None
        self.contact = -math.inf
        self._clock, self._wall = clock, wall
        self._lock = threading.Lock()

    @property
    def contacted(self) -> bool:
        """Whether the source was asked at all, with whatever success."""
        return self.contact > -math.inf

    def open(self, partition_id: str) -> Opened:
        """The open champion of a partition. Raises UnknownPartition, PayloadError or SourceDown.

        What the disk has is taken without asking while it is fresher than `ttl`, and at any age while the
        source is down.
        """
        begin = time.perf_counter()
        stored = self.disk.get(partition_id) if self.disk else None
        champion, checked = self._champion(partition_id, stored)
        opened, origin = self._opened(champion, stored, checked)
        self.observe(origin, time.perf_counter() - begin)
        return opened

    def find_many(self, partition_ids: Collection[str]) -> dict[str, Champion]:
        """Ask the source for many at once, and note how it is."""
        return self._asked(lambda: self.source.find_many(partition_ids))

    def partition_ids(self) -> Collection[str]:
        """Ask the source for all that have a champion, and note how it is."""
        return self._asked(self.source.partition_ids)

    def renew(self, current: Champion, found: Champion | None) -> Opened | None:
        """The open champion where `found`, which the source names now, is another than `current`, else None.
        Raises as `open` does.
        """
        if found is None:
            self._gone(current.partition_id)
        if found.model_id == current.model_id:
            if self.disk:
                self.disk.confirm(current.partition_id)
            return None
        return self._opened(found, None, self._clock())[0]

    def find(self, partition_id: str) -> Champion | None:
        """Ask the source, and note how it is."""
        return self._asked(lambda: self.source.find(partition_id))

    def search(self, text: str, limit: int) -> list[Champion]:
        """Ask the source, and note how it is."""
        found = self._asked(lambda: self.source.search(text, limit))
        for champion in found[:1]:
            self._learn(champion)
        return found

    def ping(self) -> None:
        """Note whether the source can be asked."""
        try:
            self._asked(self.source.ping)
        except SourceDown:
            return

    def columns(self) -> dict[str, str]:
        """Partition column to type as keys name them (int, string, date, ...); empty where no champion is
        known.
        """
        if not self.kinds:
            self.search("", 1)
        return self.kinds

    def _champion(self, partition_id: str, stored: Stored | None) -> tuple[Champion, float]:
        if stored is not None:
            age = max(0.0, self._wall() - stored.checked)
            if age < self.settings.ttl:
                return stored.champion, self._clock() - age
        try:
            found = self.find(partition_id)
        except SourceDown:
            if stored is None:
                raise
            return stored.champion, self._clock() - self.settings.ttl
        if found is None:
            self._gone(partition_id)
        return found, self._clock()

    def _gone(self, partition_id: str) -> NoReturn:
        if self.disk:
            self.disk.drop(partition_id)
        raise unknown(partition_id)

    def _opened(self, champion: Champion, stored: Stored | None, checked: float) -> tuple[Opened, str]:
        if not champion.sha256:
            raise PayloadError(
                "the champion has no checksum among its tags and is not loaded. Promote it again"
            )
        if stored is not None and stored.champion.sha256 == champion.sha256:
            payload, origin = stored.payload, "disk"
        else:
            try:
                payload, origin = self._asked(lambda: self.source.payload(champion)), "source"
            except SourceDown:
                if stored is None:
                    raise
                champion, payload, origin = stored.champion, stored.payload, "disk"
                checked = self._clock() - self.settings.ttl
        allowed = self.settings
        model = LoadedPartition(
            payload, champion.sha256, allow_pickle=allowed.allow_pickle, families=allowed.families
        )
        self._keep(champion, payload, stored)
        self._learn(champion)
        return Opened(champion, model, checked, _unburden(model)), origin

    def _keep(self, champion: Champion, payload: bytes, stored: Stored | None) -> None:
        if self.disk is None:
            return
        if stored is None or stored.champion != champion:
            self.disk.put(champion, payload)

    def _asked(self, question: Callable[[], T]) -> T:
        try:
            answer = question()
        except SourceDown as error:
            self.trouble, self.contact = str(error), self._clock()
            raise
        self.trouble, self.contact = None, self._clock()
        return answer

    def _learn(self, champion: Champion) -> None:
        """The columns' types, from any key; a null says nothing of its column."""
        if champion.key is None:
            return
        cells = json.loads(champion.key)
        with self._lock:
            known = {name: kind for name, kind, _ in cells if kind != "null" or name not in self.kinds}
            self.kinds = {**self.kinds, **known}


def unknown(partition_id: str) -> UnknownPartition:
    """The error for a partition that has no champion."""
    return UnknownPartition(
        f"partition {partition_id} has no champion. Train and promote it, or correct the key"
    )


def _unburden(model: LoadedPartition) -> frozenset[str]:
    """Drop the stored form of the fitted members, of which the open form is all that predicts; the text
    inputs.
    """
    members = model.document["members"]
    positions = {
        position for member in members for position in _texts(member["state"], len(model.problem.inputs))
    }
    lean = [{name: value for name, value in member.items() if name != "state"} for member in members]
    model.document = {**model.document, "members": lean}
    return frozenset(model.problem.inputs[position] for position in positions)


def _texts(state: Any, inputs: int) -> list[int]:
    """Positions of the inputs that a member takes as text; a family that does not say may take any of them
    so.
    """
    if isinstance(state, dict) and isinstance(state.get("text"), list):
        return [int(position) for position in state["text"]]
    return list(range(inputs))
