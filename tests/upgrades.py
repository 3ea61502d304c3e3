"""A lake, two MLflow repositories and two warehouses as version 0.1.0 wrote them, to upgrade in a test.

`data/make_version_0_1_0.py` made them. MLflow's records name absolute paths, so they are unpacked where they
were made; a lock keeps two test runs on one machine apart.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path("/tmp/manymodels-version-0.1.0")
ARCHIVE = Path(__file__).parent / "data" / "version-0.1.0.tar.xz"


@dataclass(frozen=True)
class OldFiles:
    """The unpacked folder, and what version 0.1.0 read of it."""

    folder: Path
    champions: dict[str, str]
    sha256: dict[str, str]
    predictions: dict[str, float]
    versions: dict[str, int]

    @property
    def spec(self) -> Path:
        """The spec with the DuckDB warehouse."""
        return self.folder / "sales.yaml"

    @property
    def postgres_spec(self) -> Path:
        """The same with Postgres at `SALES_WAREHOUSE`."""
        return self.folder / "postgres.yaml"


@contextmanager
def old_files() -> Iterator[OldFiles]:
    """The files of version 0.1.0, unpacked until the block ends."""
    with FOLDER.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(FOLDER, ignore_errors=True)
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(FOLDER.parent)  # this repository's own; `filter` came with Python 3.11.4
        facts: dict[str, Any] = json.loads((FOLDER / "facts.json").read_text())
        try:
            yield OldFiles(FOLDER, **facts)
        finally:
            shutil.rmtree(FOLDER, ignore_errors=True)
