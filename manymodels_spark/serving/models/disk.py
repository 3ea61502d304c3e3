"""The disk tier: verified payloads on the server's own disk, for restarts with MLflow or storage away."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from manymodels_spark.errors import PayloadError
from manymodels_spark.modeling.payload import sha256
from manymodels_spark.serving.models.sources import (
    SUFFIX,
    Champion,
    is_partition_id,
    model_path,
    read_model,
    write_model,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stored:
    """A champion with its verified payload; `checked` is the wall time at which the source last confirmed
    it.
    """

    champion: Champion
    payload: bytes
    checked: float


class DiskTier:
    """A file per partition, within `limit` bytes: the ones not used for longest go first.

    A full or read-only disk is no reason to refuse a request: writes that fail are logged and forgotten.
    """

    def __init__(self, folder: Path, limit: int, clock: Callable[[], float] = time.time) -> None:
        self.folder, self.limit, self._clock = folder, limit, clock
        self._lock = threading.Lock()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self.bytes = 0
        for partition_id, size in self._found():
            self._sizes[partition_id] = size
            self.bytes += size

    def __len__(self) -> int:
        return len(self._sizes)

    def get(self, partition_id: str) -> Stored | None:
        """What is kept of a partition, verified; a damaged file is removed and None."""
        path = model_path(self.folder, partition_id)
        try:
            champion, payload = read_model(path)
            checked = path.stat().st_mtime
            if sha256(payload) != champion.sha256:
                raise PayloadError(f"{path.name} does not have its checksum")
        except FileNotFoundError:
            return None
        except (PayloadError, OSError) as error:
            log.warning("a file of the disk tier is damaged and removed: %s", error)
            self.drop(partition_id)
            return None
        with self._lock:
            if partition_id in self._sizes:
                self._sizes.move_to_end(partition_id)
        return Stored(champion, payload, checked)

    def put(self, champion: Champion, payload: bytes) -> None:
        """Keep a verified payload, in place of what the partition had."""
        try:
            size = write_model(model_path(self.folder, champion.partition_id), champion, payload)
        except OSError as error:
            log.warning(
                "the disk tier cannot be written (%s): models are kept in memory only", type(error).__name__
            )
            return
        with self._lock:
            self.bytes += size - self._sizes.pop(champion.partition_id, 0)
            self._sizes[champion.partition_id] = size
            surplus = self._surplus()
        for partition_id in surplus:
            self._unlink(partition_id)

    def confirm(self, partition_id: str) -> None:
        """Note that the source still names this champion."""
        try:
            path = model_path(self.folder, partition_id)
            now = self._clock()
            os.utime(path, (now, now))
        except OSError:
            return

    def drop(self, partition_id: str) -> None:
        """Forget a partition."""
        with self._lock:
            self.bytes -= self._sizes.pop(partition_id, 0)
        self._unlink(partition_id)

    def _surplus(self) -> list[str]:
        found = []
        while self.bytes > self.limit and len(self._sizes) > 1:
            partition_id, size = self._sizes.popitem(last=False)
            self.bytes -= size
            found.append(partition_id)
        return found

    def _unlink(self, partition_id: str) -> None:
        try:
            model_path(self.folder, partition_id).unlink(missing_ok=True)
        except OSError as error:
            log.warning("a file of the disk tier cannot be removed (%s)", type(error).__name__)

    def _found(self) -> list[tuple[str, int]]:
        """Partition id and size of every file, the one confirmed longest ago first."""
        found = []
        for path in self.folder.glob(f"??/*{SUFFIX}"):
            name = path.name.removesuffix(SUFFIX)
            if is_partition_id(name):
                facts = path.stat()
                found.append((facts.st_mtime, name, facts.st_size))
        return [(name, size) for _, name, size in sorted(found)]
