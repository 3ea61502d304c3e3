"""Which families there are, by the names that specs use. Nothing is imported before it is asked for."""

from __future__ import annotations

import importlib
import os
from collections.abc import Collection, Iterator
from functools import lru_cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from manymodels_spark.errors import ManyModelsError, Mistake, PayloadError
from manymodels_spark.families.built_in import BUILT_IN
from manymodels_spark.spec.hints import did_you_mean
from manymodels_spark.spec.model import Candidate, Spec

if TYPE_CHECKING:
    from manymodels_spark.families.base import Family
    from manymodels_spark.families.options import Options

GROUP = "manymodels.families"
# Families named `module:Class`, by commas, that stored models may have beside those of the spec.
VARIABLE = "MANYMODELS_FAMILIES"


@lru_cache(maxsize=1)
def addresses() -> dict[str, str]:
    """Family name to `module:Class`: the built-in ones and those of installed packages (entry points)."""
    # A point's value may name extras, too.
    return {
        **{point.name: f"{point.module}:{point.attr}" for point in entry_points(group=GROUP)},
        **{name: family.address for name, family in BUILT_IN.items()},
    }


def family(name: str) -> type[Family[Any]]:
    """The class of a family by its name or by `module:Class`. Raises ManyModelsError where there is none."""
    from manymodels_spark.families.base import Family

    address = name if ":" in name else addresses().get(name)
    if address is None:
        raise ManyModelsError(f"unknown model {name!r}.{did_you_mean(name, sorted(addresses()))}")
    module, _, attribute = address.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ManyModelsError(
            f"model {name!r} ({address}) cannot be imported: {error}. Install its package"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Family)):
        raise ManyModelsError(
            f"model {name!r}: {address} is no subclass of manymodels_spark.families.base.Family"
        )
    return found


def importable(spec: Spec) -> tuple[str, ...]:
    """The families named `module:Class` that stored models of a spec may have: those of its candidates and
    its fallback, and those of the environment variable MANYMODELS_FAMILIES (by commas), for models of a spec
    that was changed since.
    """
    named = [candidate.family for candidate in (*spec.candidates, spec.fallback) if candidate is not None]
    given = [name.strip() for name in os.environ.get(VARIABLE, "").split(",")]
    return tuple(dict.fromkeys(name for name in (*named, *given) if ":" in name))


def require_importable(name: str, allowed: Collection[str]) -> None:
    """Return where a stored model may name this family: a registered one, or one of `allowed`.

    Raises:
        PayloadError: To look it up would import a module that only the stored model names.

    """
    if ":" in name and name not in allowed:
        raise PayloadError(
            f"the model is of family {name!r}, which is neither registered nor named in the spec: its module "
            f"is not imported. Where you trust it, put it into {VARIABLE} (several by commas)"
        )


def name_of(cls: type[Family[Any]]) -> str:
    """What `family` finds this very class by: its name where that is registered for it, else `module:Class`.

    A subclass inherits its parent's name, and the parent is another model.
    """
    try:
        if cls.name in addresses() and family(cls.name) is cls:
            return cls.name
    except ManyModelsError:  # the name is that of a class that cannot be had
        pass
    return f"{cls.__module__}:{cls.__qualname__}"


def build(candidate: Candidate) -> Family[Any]:
    """The family of a candidate with its options. Raises ManyModelsError or pydantic's ValidationError."""
    cls = family(candidate.family)
    return cls(cls.Options.model_validate(candidate.options))


def rules_of(name: str) -> tuple[type[Options], frozenset[str]]:
    """The options and the tasks of a family, of a built-in one without its libraries.

    Raises ManyModelsError where there is no family of that name.
    """
    if name in BUILT_IN:
        return BUILT_IN[name].options, BUILT_IN[name].tasks
    cls = family(name)
    return cls.Options, cls.tasks


def candidate_mistakes(data: Any, task: str) -> Iterator[Mistake]:
    """What is wrong with the candidates and the fallback in a spec's raw data."""
    listed = data.get("candidates")
    places = [
        (f"candidates[{index}]", raw) for index, raw in enumerate(listed if isinstance(listed, list) else [])
    ]
    if data.get("fallback"):
        places.append(("fallback", data["fallback"]))
    for path, raw in places:
        name, options = _named(raw)
        if name is None:
            yield Mistake(path, f"{raw!r} names no model. Write `- theta` or `- theta: {{season: 7}}`")
        else:
            yield from _mistakes(path, name, options, task)


def _mistakes(path: str, name: str, options: Any, task: str) -> Iterator[Mistake]:
    try:
        allowed, tasks = rules_of(name)
    except ManyModelsError as error:
        yield Mistake(path, str(error))
        return
    if task not in tasks:
        yield Mistake(path, f"{name} does not do {task}. It does {', '.join(sorted(tasks))}")
    try:
        allowed.model_validate(options)
    except ValidationError as error:
        for detail in error.errors():
            where = ".".join(str(part) for part in detail["loc"])
            yield Mistake(
                f"{path}.{name}.{where}" if where else f"{path}.{name}", _option_message(allowed, detail)
            )


def _option_message(allowed: type[Options], detail: Any) -> str:
    if detail["type"] == "extra_forbidden":
        known = sorted(allowed.model_fields)
        return f"unknown option.{did_you_mean(str(detail['loc'][-1]), known or ['none'])}"
    return f"{detail['msg']}, and {detail['input']!r} was given"


def _named(raw: Any) -> tuple[str | None, Any]:
    if isinstance(raw, str):
        return raw, {}
    if isinstance(raw, dict) and len(raw) == 1:
        ((name, options),) = raw.items()
        return str(name), options or {}
    return None, None
