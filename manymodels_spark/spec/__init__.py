"""What a user can say: the spec's model, and reading it from YAML."""

from __future__ import annotations

from manymodels_spark.spec.model import Spec
from manymodels_spark.spec.parse import parse_spec, read_spec

__all__ = ["Spec", "parse_spec", "read_spec"]
