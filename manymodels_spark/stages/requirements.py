"""What a logged model says that it needs, and the signature that all models of a spec share."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from manymodels_spark._version import __version__
from manymodels_spark.models import registry
from manymodels_spark.spec.model import Spec
from manymodels_spark.tracking.artifacts import Template


def template_of(spec: Spec) -> Template:
    """What is equal in the files of all logged models of a spec; make it once per job."""
    return Template(signature(spec), requirements(spec), version("mlflow"), f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}")


def requirements(spec: Spec) -> tuple[str, ...]:
    """Pinned distributions that loading any model of the spec takes: this package and its families' libraries."""
    named = [*spec.candidates, *([spec.fallback] if spec.fallback else [])]
    packages = {"pandas", *(package for candidate in named for package in registry.build(candidate).packages)}
    return (f"manymodels-spark=={__version__}", *sorted(pin for name in packages if (pin := _pin(name))))


def signature(spec: Spec) -> str:
    """MLflow's signature as JSON text: the time or feature columns in, a table out, `horizon` as a parameter."""
    columns = spec.columns
    names = [columns.time] if spec.task == "forecast" and columns.time else []
    kinds = [{"type": "datetime", "name": name, "required": False} for name in names]
    features = columns.known_future if spec.task == "forecast" else columns.inputs
    kinds += [{"type": "any", "name": name, "required": False} for name in features]
    horizon = {"name": "horizon", "type": "long", "default": spec.horizon, "shape": None}
    params = json.dumps([horizon]) if spec.task == "forecast" else None
    return json.dumps({"inputs": json.dumps(kinds) if kinds else None, "outputs": None, "params": params})


def _pin(package: str) -> str | None:
    try:
        return f"{package}=={version(package)}"
    except PackageNotFoundError:
        return None
