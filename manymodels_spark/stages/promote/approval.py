"""Approval of a promotion by a signed-off file: what a dry run would promote, reviewed, and then let through.

The file is CSV with a row per model. Whoever keeps it under version control decides who may change it; what
is in it when `promote` runs is approved, and nothing else.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.keys import PartitionKey
from manymodels_spark.spec.source import resolve

COLUMNS = ("model_id", "partition", "family", "rows", "reason")


def approved(path: str | None) -> set[str] | None:
    """The model ids in the file, or None where the spec asks for no approval: `promote.approval` is missing,
    or the variable that it names is empty.

    Raises ManyModelsError where the file cannot be read or has no column `model_id`.
    """
    if path is None or not (path := resolve(path)):
        return None
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if "model_id" not in (reader.fieldnames or []):
                raise ManyModelsError(
                    f"promote.approval: {path} has no column model_id. "
                    "Write one with `promote --dry-run --write FILE`"
                )
            return {row["model_id"].strip() for row in reader}
    except OSError as error:
        raise ManyModelsError(
            f"promote.approval: {path} cannot be read ({error.strerror}). Write it with "
            f"`manymodels promote SPEC --dry-run --write {path}`, have it reviewed, and promote again"
        ) from error


def write_request(path: Path, rows: Iterable[tuple[dict[str, Any], str]]) -> int:
    """Write the file for review: the fits that the gates let through, each with their reason; the number of
    models.
    """
    lines: list[tuple[Any, ...]] = [
        (row["model_id"], str(PartitionKey.parse(row["key"])), row["family"], row["rows"], reason)
        for row, reason in rows
    ]
    lines.sort(key=lambda line: str(line[1]))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(lines)
    return len(lines)
