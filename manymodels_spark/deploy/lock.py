"""The tested versions of what the package requires at run time, as the requirements file of a platform.

A platform that resolves open ranges at each start runs other versions every night. It brings Spark and Delta
itself, so neither is in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement

from manymodels_spark.errors import ManyModelsError

DISTRIBUTION = "manymodels-spark"
BROUGHT_BY_PLATFORM = frozenset({"pyspark", "py4j", "delta-spark"})
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;]+)(?:\s*;\s*(.+))?")


def lock(constraints: Path, extras: Iterable[str] = ()) -> list[str]:
    """`NAME==VERSION` of all that the package requires with these extras, sorted by name.

    Args:
        constraints: the file of tested versions, `NAME==VERSION` a line.
        extras: extras of the package, such as `azure`.

    Returns:
        One line a distribution, without what the platform brings.

    Raises:
        ManyModelsError: a required distribution has no tested version.

    """
    pins = _pins(constraints.read_text(encoding="utf-8"))
    names = _closure(set(extras)) - BROUGHT_BY_PLATFORM
    if missing := sorted(names - pins.keys()):
        raise ManyModelsError(
            f"{constraints} has no version of {', '.join(missing)}. Add them as they are tested: "
            "NAME==VERSION, one a line"
        )
    return [f"{name}=={pins[name]}" for name in sorted(names)]


def _pins(text: str) -> Mapping[str, str]:
    found = (_PIN.match(line) for line in text.splitlines())
    # A pin may be for some versions of Python only.
    return {
        _canonical(match[1]): match[2]
        for match in found
        if match and (match[3] is None or Marker(match[3]).evaluate())
    }


def _closure(extras: set[str]) -> set[str]:
    """The names of all distributions that the package requires, however indirectly, in this environment."""
    found: set[str] = set()
    waiting = [(DISTRIBUTION, extra) for extra in ("", *sorted(extras))]
    seen = set(waiting)
    while waiting:
        for pair in _required(*waiting.pop()):
            found.add(pair[0])
            if pair not in seen:
                seen.add(pair)
                waiting.append(pair)
    return found


def _required(name: str, extra: str) -> Iterable[tuple[str, str]]:
    """(distribution, extra of it) that a distribution requires with one of its extras."""
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        raise ManyModelsError(f"{name} is not installed here, so what it requires is not known") from None
    for requirement in map(Requirement, lines):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            for inner in ("", *requirement.extras):
                yield _canonical(requirement.name), inner


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
