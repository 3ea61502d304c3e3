"""The log of a Delta table on this machine's disk, read as the JSON files that it is.

Spark answers the same questions (`DESCRIBE DETAIL`, `DESCRIBE HISTORY`) with a job each, which in a small run
took longer than the work. Format: https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from manymodels_spark.spark.session import is_provided

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_FILE = "file://"
_INFO = b'{"commitInfo"'


@dataclass(frozen=True)
class LocalLog:
    """The commits of one table, of which there is at least one."""

    folder: Path

    @classmethod
    def of(cls, spark: SparkSession, location: str) -> LocalLog | None:
        """The log of the table at a location; None where Spark must be asked: the table is not there, its
        files may lie on another machine, or paths mean something else to the platform.
        """
        path = location.removeprefix(_FILE)
        log = cls(Path(path) / "_delta_log")
        if not path.startswith("/") or next(log._files(), None) is None:
            return None
        return None if is_provided() or _is_remote(spark) else log

    @property
    def version(self) -> int:
        """The newest version."""
        return max(int(file.stem) for file in self._files())

    def commits(self, count: int) -> list[tuple[int, dict[str, Any]]]:
        """Version and `commitInfo` of the last commits, the newest first; {} of one that has none."""
        newest = sorted(self._files(), key=lambda file: file.stem, reverse=True)
        return [(int(file.stem), _info(file)) for file in islice(newest, count)]

    def _files(self) -> Iterator[Path]:
        return (file for file in self.folder.glob("*.json") if file.stem.isdigit())


def _info(file: Path) -> dict[str, Any]:
    with file.open("rb") as lines:
        found = next((line for line in lines if line.startswith(_INFO)), None)
    return {} if found is None else dict(orjson.loads(found)["commitInfo"])


def _is_remote(spark: SparkSession) -> bool:
    """Whether Spark, and so perhaps the disk that it sees, is on another machine."""
    if type(spark).__module__.startswith("pyspark.sql.connect"):
        return True
    return not str(spark.conf.get("spark.master", "")).startswith("local")
