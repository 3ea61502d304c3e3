"""A spec from its file, checked in full: its own rules and those of the families that it names. No Spark needed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from manymodels_spark.errors import Mistake
from manymodels_spark.models import registry
from manymodels_spark.spec import Spec, parse_spec, read_spec


def load_spec(path: str | Path) -> Spec:
    """The spec in a YAML file. Raises SpecError with all mistakes at once."""
    return read_spec(path, [_family_mistakes])


def spec_of(text: str) -> Spec:
    """The spec in a YAML text, checked as `load_spec` does."""
    return parse_spec(text, extra=[_family_mistakes])


def _family_mistakes(data: Any) -> Iterable[Mistake]:
    return registry.candidate_mistakes(data, str(data.get("task", "forecast")))
