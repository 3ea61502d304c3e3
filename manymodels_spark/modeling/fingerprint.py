"""What decides whether a model is still good: a hash of the part of the spec that shapes a fit.

Together with the hash of a partition's rows it makes the partition's fingerprint. Gates, limits, MLflow and
the warehouse do not shape a fit, so changing them retrains nothing.
"""

from __future__ import annotations

import hashlib
import json

from manymodels_spark.families import registry
from manymodels_spark.spec.model import Spec

_SHAPING = {
    "task",
    "partition_by",
    "columns",
    "prepare",
    "horizon",
    "season",
    "candidates",
    "combine",
    "refit",
    "fallback",
    "backtest",
    "predict",
}


def spec_hash(spec: Spec) -> str:
    """16 hexadecimal digits: equal for specs that fit the same models, with the families' versions as
    installed.
    """
    shape = spec.model_dump(mode="json", include=_SHAPING)
    named = [*spec.candidates, *([spec.fallback] if spec.fallback else [])]
    versions = {candidate.family: registry.build(candidate).version for candidate in named}
    text = json.dumps({"spec": shape, "versions": versions}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
