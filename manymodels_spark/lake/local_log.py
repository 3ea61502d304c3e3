"""The log of a Delta table on this machine's disk, read as the JSON files that it is.

Spark answers the same questions (`DESCRIBE DETAIL`, `DESCRIBE HISTORY`) with a job each, which in a small run
took longer than the work. Format: https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from manymodels_spark.spark.session import is_provided

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_FILE = "file://"


@dataclass(frozen=True)
class Detail:
    """What a table is: its id, which changes when it is created anew, where it lies (a URI), the columns that
    it is partitioned by, its properties, and the features that readers and writers need beyond its versions.
    """

    id: str
    location: str
    partition_columns: tuple[str, ...]
    properties: Mapping[str, str]
    features: frozenset[str]
    reader_version: int


@dataclass(frozen=True)
class LocalLog:
    """The commits of one table."""

    folder: Path

    @classmethod
    def of(cls, spark: SparkSession, location: str) -> LocalLog | None:
        """The log of the table at a location, whether there is one or not; None where Spark must be asked:
        its files may lie on another machine, or paths mean something else to the platform.
        """
        path = location.removeprefix(_FILE)
        if not path.startswith("/") or is_provided() or _is_remote(spark):
            return None
        return cls(Path(path) / "_delta_log")

    @property
    def is_there(self) -> bool:
        """Whether the table has been written."""
        return next(self._files(), None) is not None

    @property
    def version(self) -> int:
        """The newest version."""
        return max(int(file.stem) for file in self._files())

    def commits(self, count: int) -> list[tuple[int, dict[str, Any]]]:
        """Version and `commitInfo` of the last commits, the newest first; {} of one that has none."""
        return [(int(file.stem), _action(file, "commitInfo") or {}) for file in islice(self._newest(), count)]

    def detail(self) -> Detail | None:
        """What the newest commits say that the table is; None where those that did are no longer there."""
        metadata, protocol = self._last("metaData"), self._last("protocol")
        if metadata is None or protocol is None:
            return None
        features = [*protocol.get("readerFeatures", ()), *protocol.get("writerFeatures", ())]
        return Detail(
            metadata["id"],
            self.folder.parent.as_uri(),
            tuple(metadata["partitionColumns"]),
            metadata["configuration"],
            frozenset(features),
            protocol["minReaderVersion"],
        )

    def _last(self, action: str) -> dict[str, Any] | None:
        found = (_action(file, action) for file in self._newest())
        return next((content for content in found if content is not None), None)

    def _newest(self) -> list[Path]:
        return sorted(self._files(), key=lambda file: file.stem, reverse=True)

    def _files(self) -> Iterator[Path]:
        return (file for file in self.folder.glob("*.json") if file.stem.isdigit())


def _action(file: Path, name: str) -> dict[str, Any] | None:
    """The first action of this name in a commit."""
    begin = f'{{"{name}"'.encode()
    with file.open("rb") as lines:
        found = next((line for line in lines if line.startswith(begin)), None)
    return None if found is None else dict(orjson.loads(found)[name])


def _is_remote(spark: SparkSession) -> bool:
    """Whether Spark, and so perhaps the disk that it sees, is on another machine."""
    if type(spark).__module__.startswith("pyspark.sql.connect"):
        return True
    return not str(spark.conf.get("spark.master", "")).startswith("local")
