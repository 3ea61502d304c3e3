"""The files of a Delta table's newest version, by its log: DuckDB's extension is not had everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson

from manymodels_spark.errors import SourceError


def is_delta(path: Path) -> bool:
    """Whether a folder is a Delta table."""
    return (path / "_delta_log").is_dir()


def files_of(path: Path) -> list[str]:
    """The Parquet files of the table's newest version.

    Rows that deletion vectors hide are among them. Raises SourceError for column mapping, under which the
    files' columns have other names than the table's, and for a table without files.
    """
    log = path / "_delta_log"
    checkpoint, since = _checkpoint(log)
    files = set(checkpoint)
    for entry in sorted(log.glob("*.json")):
        if entry.stem.isdigit() and int(entry.stem) > since:
            for action in map(orjson.loads, entry.read_bytes().splitlines()):
                _apply(action, files, path)
    if not files:
        raise SourceError(f"{path} is a Delta table without rows. Give one with rows")
    return sorted(str(path / unquote(file)) for file in files)


def _apply(action: dict[str, Any], files: set[str], path: Path) -> None:
    if "add" in action:
        files.add(action["add"]["path"])
    if "remove" in action:
        files.discard(action["remove"]["path"])
    mapping = action.get("metaData", {}).get("configuration", {}).get("delta.columnMapping.mode", "none")
    if mapping != "none":
        raise SourceError(
            f"{path} is a Delta table with column mapping, which `init` cannot read. Write its rows to "
            "Parquet, or write the spec by hand (docs/spec.md)"
        )


def _checkpoint(log: Path) -> tuple[list[str], int]:
    """The files of the newest checkpoint and its version; none and -1 where there is none."""
    import pyarrow.parquet as pq

    found = sorted(log.glob("*.checkpoint*.parquet"))
    if not found:
        return [], -1
    newest = found[-1].name.split(".")[0]
    parts = [one for one in found if one.name.startswith(newest)]
    adds = [row["add"] for part in parts for row in pq.read_table(part, columns=["add"]).to_pylist()]
    return [add["path"] for add in adds if add], int(newest)
