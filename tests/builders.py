"""Builders of what most tests need: a spec whose every path lies in the test's own folder, and small files.

Import them with `from builders import make_spec`; pytest puts this folder on the path.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from manymodels_spark.spec import Spec


def make_spec(folder: Path, **changes: Any) -> Spec:
    """A forecast of daily units by store and item from
    `sales.csv`; `changes` replace whole parts of the spec.
    """
    return Spec.model_validate(_parts(folder, changes))


def write_spec(folder: Path, **changes: Any) -> Path:
    """The spec of `make_spec` as a file, for a process of its own."""
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(_parts(folder, changes)))
    return path


def outside() -> dict[str, str]:
    """The environment of another process, with a session
    of two cores of its own wherever the tests' session is.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_")}
    return own | {"MANYMODELS_MASTER": "local[2]"}


def _parts(folder: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "name": "sales",
        "task": "forecast",
        "partition_by": ["store", "item"],
        "source": {"csv": str(folder / "sales.csv")},
        "columns": {"time": "date", "target": "units"},
        "horizon": 7,
        "candidates": ["seasonal_naive"],
        "backtest": {"folds": 1},
        "mlflow": {
            "development": {
                "tracking": f"sqlite:///{folder}/dev.db",
                "artifacts": str(folder / "dev-artifacts"),
            },
            "production": {
                "tracking": f"sqlite:///{folder}/prod.db",
                "artifacts": str(folder / "prod-artifacts"),
            },
        },
        "lake": str(folder / "lake"),
        "warehouse": {"duckdb": str(folder / "warehouse.duckdb")},
    }
    return {**parts, **changes}


def write_csv(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """The rows as a CSV file with a header; None is an empty cell."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def days(count: int, start: str = "2026-01-01") -> list[str]:
    """`count` days as ISO text."""
    from datetime import date, timedelta

    first = date.fromisoformat(start)
    return [(first + timedelta(days=offset)).isoformat() for offset in range(count)]
