"""Reads the files of `deploy/` by the rules that the platforms document: `tests/rules/PLATFORM.yaml`.

A rule names files (`in`, globs), a place in them (`at`: keys joined by dots, `*` for each key or item, `**`
for any depth, `~` for the keys, `text` for the whole file) and what must hold for each value there.
`was` is a value that breaks the rule, as it once stood in these files or as a reader might write it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from deploy_files import BUNDLE, ROOT, read

FOLDER = Path(__file__).parent / "rules"
UPLOADED = "${workspace.file_path}"


def rules() -> Iterator[tuple[str, dict[str, Any]]]:
    """(platform-id, rule) of every rule of every platform."""
    for path in sorted(FOLDER.glob("*.yaml")):
        for rule in yaml.safe_load(path.read_text())["rules"]:
            yield f"{path.stem}-{rule['id']}", rule


def found(rule: dict[str, Any], root: Path = ROOT) -> Iterator[tuple[Path, Any]]:
    """(file, value) of all that a rule speaks of."""
    for pattern in rule["in"] if isinstance(rule["in"], list) else [rule["in"]]:
        for path in sorted(root.glob(pattern)):
            if rule["at"] == "text":
                yield path, path.read_text()
            else:
                for value in at(read(path), rule["at"].split(".")):
                    yield path, value


def at(data: Any, keys: list[str]) -> Iterator[Any]:
    """The values at a place in a document."""
    if not keys:
        yield data
        return
    key, rest = keys[0], keys[1:]
    inner = (
        list(data.items())
        if isinstance(data, dict)
        else list(enumerate(data))
        if isinstance(data, list)
        else []
    )
    if key == "~":
        yield from (name for name, _ in inner)
    elif key == "**":
        yield from at(data, rest)
        for _, value in inner:
            yield from at(value, keys)
    else:
        for name, value in inner:
            if key in ("*", str(name)):
                yield from at(value, rest)


def breaks(rule: dict[str, Any], value: Any) -> bool:
    """Whether a value is not what the rule allows."""
    return any(not CHECKS[name](value, rule[name]) for name in CHECKS if name in rule)


def kinds(rule: dict[str, Any]) -> list[str]:
    """What the rule asks of each value."""
    return [name for name in (*CHECKS, "absent", "least") if name in rule]


def upload_root(bundle: dict[str, Any], folder: Path = BUNDLE) -> Path:
    """What `${workspace.file_path}` is a copy of: the parent of the bundle's folder and `sync.paths`."""
    paths = [folder, *((folder / path).resolve() for path in bundle.get("sync", {}).get("paths", []))]
    return Path(os.path.commonpath(paths))


def _uploaded(value: Any, expected: bool) -> bool:
    if not isinstance(value, str) or UPLOADED not in value:
        return True
    rest = value.split(f"{UPLOADED}/", 1)[-1]
    return (upload_root(read(BUNDLE / "databricks.yml")) / rest).exists() is expected


def _equal(value: Any, names: list[str]) -> bool:
    return not isinstance(value, dict) or len({value.get(name) for name in names}) == 1


def _has(value: Any, expected: list[str]) -> bool:
    items = (
        value
        if isinstance(value, dict)
        else [key for one in value for key in (one if isinstance(one, dict) else [one])]
    )
    return set(expected) <= set(items)


CHECKS: dict[str, Callable[[Any, Any], bool]] = {
    "one_of": lambda value, allowed: value in allowed,
    "none_of": lambda value, refused: value not in refused,
    "matches": lambda value, pattern: re.search(pattern, str(value)) is not None,
    "never": lambda value, pattern: re.search(pattern, str(value)) is None,
    "uploaded": _uploaded,
    "equal": _equal,
    "has": _has,
}
