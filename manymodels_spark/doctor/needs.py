"""Which parts of a spec a stage uses, and the environment variables that they name.

A stage must not ask for what only another one needs: training has no use for the warehouse's password.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from manymodels_spark.doctor.findings import Finding, failed, ok
from manymodels_spark.spec import Spec
from manymodels_spark.spec.source import variables

SOURCE = ("source", "prepare.calendar")
LAKE, DEVELOPMENT, PRODUCTION, WAREHOUSE = "lake", "mlflow.development", "mlflow.production", "warehouse"
EVERYTHING = (*SOURCE, LAKE, DEVELOPMENT, PRODUCTION, WAREHOUSE)
_BY_STAGE: dict[str, tuple[str, ...]] = {
    "run": EVERYTHING,
    "ingest": (*SOURCE, LAKE),
    "prepare": (LAKE,),
    "score": (LAKE,),
    "plan": (LAKE, DEVELOPMENT),
    "try": SOURCE,
    "train": (LAKE, DEVELOPMENT),
    "promote": (LAKE, PRODUCTION),
    "index": (LAKE, PRODUCTION),
    "rollback": (LAKE, PRODUCTION),
    "retire": (LAKE, DEVELOPMENT, PRODUCTION),
    "load": (LAKE, WAREHOUSE),
    "doctor": EVERYTHING,
}


def parts_of(stage: str) -> tuple[str, ...]:
    """The parts of the spec that a stage resolves; the lake for every one."""
    return _BY_STAGE.get(stage, (LAKE,))


def writes(stage: str) -> bool:
    """Whether a command writes; those that only look may be used by people who may not."""
    return stage in _BY_STAGE


def part(spec: Spec, path: str) -> Any:
    """The value at a dotted path of the spec."""
    value: Any = spec
    for name in path.split("."):
        value = getattr(value, name)
    return value


def unset(spec: Spec, paths: tuple[str, ...]) -> dict[str, str]:
    """Environment variable to the spec's key that names it,
    for those that are missing or empty and have no default.
    """
    found: dict[str, str] = {}
    for key, text in _texts(spec, paths):
        for name, default in variables(text):
            if default is None and not os.environ.get(name):
                found.setdefault(name, key)
    return found


def environment(spec: Spec, paths: tuple[str, ...] = EVERYTHING) -> Iterator[Finding]:
    """One finding a variable that the parts of the spec name; values are never shown."""
    missing = unset(spec, paths)
    named = dict.fromkeys(name for _, text in _texts(spec, paths) for name, _ in variables(text))
    for name in named:
        check = f"variable {name}"
        if name not in missing:
            yield ok(check, "is set" if name in os.environ else "has a default")
            continue
        state = "is empty" if name in os.environ else "is not set"
        found = f"{state}, and {missing[name]} of the spec uses it"
        yield failed(check, found, f"Set {name} in the job's environment, or from its secret store")


def _texts(spec: Spec, paths: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(key, text) of every text in the parts of a spec."""
    for path in paths:
        yield from _texts_in(path, part(spec, path))


def _texts_in(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _texts_in(f"{key}.{name}", getattr(value, name))
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts_in(f"{key}.{name}", inner)
    elif isinstance(value, str):
        yield key, value
