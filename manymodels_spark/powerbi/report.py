"""The report over the semantic model as PBIR: two pages of cards, lines, bars and slicers. JSON by its
published schemas.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

_SCHEMAS = "https://developer.microsoft.com/json-schemas/fabric/item/report/definition"
WIDTH, HEIGHT, GAP = 1280, 720, 16

Field = tuple[str, str, str]  # ("Column" or "Measure", table, name)


def column(table: str, name: str) -> Field:
    """A column to show."""
    return "Column", table, name


def measure(table: str, name: str) -> Field:
    """A measure to show."""
    return "Measure", table, name


def report_files(partition_by: Sequence[str], level: int | None) -> dict[str, str]:
    """The files of a report's `definition` folder by path. `level` is the interval whose coverage is shown,
    None where predictions are never held against actuals.
    """
    pages = {"health": ("How the models stand", _health(partition_by))}
    if level is not None:
        pages = {"forecast": ("Forecast and actuals", _forecast(partition_by, level)), **pages}
    files = {
        "version.json": {"$schema": f"{_SCHEMAS}/versionMetadata/1.0.0/schema.json", "version": "2.0.0"},
        "report.json": {
            "$schema": f"{_SCHEMAS}/report/1.0.0/schema.json",
            "layoutOptimization": "None",
            "themeCollection": {},
            "settings": {"useStylableVisualContainerHeader": True},
        },
        "pages/pages.json": {
            "$schema": f"{_SCHEMAS}/pagesMetadata/1.0.0/schema.json",
            "pageOrder": list(pages),
            "activePageName": next(iter(pages)),
        },
    }
    for page, (title, visuals) in pages.items():
        files[f"pages/{page}/page.json"] = {
            "$schema": f"{_SCHEMAS}/page/1.0.0/schema.json",
            "name": page,
            "displayName": title,
            "displayOption": "FitToPage",
            "height": HEIGHT,
            "width": WIDTH,
        }
        for visual in visuals:
            files[f"pages/{page}/visuals/{visual['name']}/visual.json"] = visual
    return {path: json.dumps(content, indent=2) + "\n" for path, content in files.items()}


def _forecast(partition_by: Sequence[str], level: int) -> list[dict[str, Any]]:
    cards = [
        measure("fact_predictions", name) for name in ("WAPE", "Bias", f"Coverage {level}", "Steps judged")
    ]
    series = [measure("fact_actuals", "Actual"), measure("fact_predictions", "Forecast")]
    return [
        *_slicers(partition_by),
        *_cards(cards),
        _visual("lineChart", {"Category": [column("dim_date", "date")], "Y": series}, (0, 176, WIDTH, 272)),
        _visual(
            "clusteredBarChart",
            {
                "Category": [column("dim_partition", partition_by[0])],
                "Y": [measure("fact_predictions", "WAPE")],
            },
            (0, 464, WIDTH // 2 - GAP // 2, 256),
        ),
        _visual(
            "columnChart",
            {
                "Category": [column("fact_predictions", "days_ahead")],
                "Y": [measure("fact_predictions", "WAPE")],
            },
            (WIDTH // 2 + GAP // 2, 464, WIDTH // 2 - GAP // 2, 256),
        ),
    ]


def _health(partition_by: Sequence[str]) -> list[dict[str, Any]]:
    cards = [
        measure("dim_partition", name)
        for name in ("Partitions", "In production", "In quarantine", "Share in production")
    ]
    listed = [column("dim_partition", name) for name in (*partition_by, "reason", "what_to_do")]
    half = WIDTH // 2 - GAP // 2
    return [
        *_slicers(partition_by),
        *_cards(cards),
        _visual(
            "clusteredBarChart",
            {"Category": [column("dim_partition", "family")], "Y": [measure("dim_partition", "Partitions")]},
            (0, 176, half, 272),
        ),
        _visual(
            "clusteredBarChart",
            {"Category": [column("fact_runs", "stage")], "Y": [measure("fact_runs", "Run seconds")]},
            (WIDTH // 2 + GAP // 2, 176, half, 272),
        ),
        _visual("tableEx", {"Values": listed}, (0, 464, WIDTH, 256)),
    ]


def _slicers(partition_by: Sequence[str]) -> list[dict[str, Any]]:
    """One for each of the first partition columns, in the top row."""
    shown = list(partition_by)[:4]
    width = (WIDTH - GAP * (len(shown) - 1)) // len(shown)
    places = [(place * (width + GAP), 0, width, 64) for place in range(len(shown))]
    return [
        _visual("slicer", {"Values": [column("dim_partition", name)]}, place)
        for name, place in zip(shown, places, strict=True)
    ]


def _cards(fields: Sequence[Field]) -> list[dict[str, Any]]:
    width = (WIDTH - GAP * (len(fields) - 1)) // len(fields)
    return [
        _visual("card", {"Values": [field]}, (place * (width + GAP), 80, width, 80))
        for place, field in enumerate(fields)
    ]


def _visual(kind: str, roles: dict[str, Sequence[Field]], place: tuple[int, int, int, int]) -> dict[str, Any]:
    x, y, width, height = place
    state = {
        role: {"projections": [_projection(field) for field in fields]} for role, fields in roles.items()
    }
    name = hashlib.sha256(json.dumps([kind, state, place]).encode()).hexdigest()[:20]
    return {
        "$schema": f"{_SCHEMAS}/visualContainer/1.0.0/schema.json",
        "name": name,
        "position": {"x": x, "y": y, "z": 0, "height": height, "width": width, "tabOrder": y * WIDTH + x},
        "visual": {"visualType": kind, "query": {"queryState": state}, "drillFilterOtherVisuals": True},
    }


def _projection(field: Field) -> dict[str, Any]:
    kind, table, name = field
    found = {kind: {"Expression": {"SourceRef": {"Entity": table}}, "Property": name}}
    return {"field": found, "queryRef": f"{table}.{name}", "nativeQueryRef": name}
