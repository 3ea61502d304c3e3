"""A spec from its file, checked in full: its own rules and those of the families that it names. No Spark
needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from manymodels_spark.errors import Mistake
from manymodels_spark.families import public_holidays, registry
from manymodels_spark.spec import Spec, parse_spec, read_spec
from manymodels_spark.spec.data import PLACE


def load_spec(path: str | Path) -> Spec:
    """The spec in a YAML file. Raises SpecError with all mistakes at once."""
    return read_spec(path, _CHECKS)


def spec_of(text: str) -> Spec:
    """The spec in a YAML text, checked as `load_spec` does."""
    return parse_spec(text, extra=_CHECKS)


def _family_mistakes(data: Any) -> Iterable[Mistake]:
    return registry.candidate_mistakes(data, str(data.get("task", "forecast")))


def _holiday_mistakes(data: Any) -> Iterable[Mistake]:
    columns = data.get("columns")
    place = columns.get("holidays") if isinstance(columns, dict) else None
    if isinstance(place, dict) and isinstance(place.get("column"), str):
        named = [*_names(data.get("partition_by")), *_names(columns.get("static"))]
        if place["column"] not in named:
            known = ", ".join(named) or "none"
            return [
                Mistake(
                    "columns.holidays.column",
                    f"{place['column']!r} is no column of partition_by or columns.static ({known})",
                )
            ]
    wrong = public_holidays.mistake(place) if isinstance(place, str) and re.fullmatch(PLACE, place) else None
    return [Mistake("columns.holidays", wrong)] if wrong else []


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


_CHECKS = [_family_mistakes, _holiday_mistakes]
