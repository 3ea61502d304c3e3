"""What the tests of `deploy/` share: where its files lie, how they are read, and what a spec asks for."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
DEPLOY, PLATFORMS = ROOT / "deploy", ROOT / "conf" / "platforms"
BUNDLE = DEPLOY / "databricks"
WORKFLOW = ["ingest", "prepare", "train", "promote", "score", "load", "monitor", "report"]
UPKEEP = ["maintain", "retire"]


def read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.suffix == ".json" else yaml.safe_load(path.read_text())


def texts(data: Any) -> Iterator[str]:
    """Every text in a document, keys left out."""
    if isinstance(data, dict):
        for value in data.values():
            yield from texts(value)
    elif isinstance(data, list):
        for value in data:
            yield from texts(value)
    elif isinstance(data, str):
        yield data


def wanted(spec: Path) -> set[str]:
    """The environment variables without a default that a spec asks for."""
    return {
        found[1]
        for text in texts(read(spec))
        for found in re.finditer(r"\$\{(\w+)(:-)?", text)
        if not found[2]
    }


def module(path: Path) -> ModuleType:
    """A script of deploy/, imported without running it."""
    loader = importlib.util.spec_from_file_location(f"deployed_{path.parent.name}_{path.stem}", path)
    assert loader is not None and loader.loader is not None
    made = importlib.util.module_from_spec(loader)
    loader.loader.exec_module(made)
    return made
