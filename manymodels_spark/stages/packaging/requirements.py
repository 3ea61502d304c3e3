"""The requirements of a logged model, and the signature that all models of a spec share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from manymodels_spark._version import __version__
from manymodels_spark.families import registry
from manymodels_spark.spec.model import Spec
from manymodels_spark.tracking.artifacts import Template

ROUTING_LOADER = "manymodels_spark.flavor.routed_models"


def template_of(spec: Spec, example: str | None = None) -> Template:
    """What is equal in the files of all logged models of a spec; make it once per job.

    `example` are rows that its models take, as JSON of a DataFrame (split).
    """
    return Template(signature(spec), requirements(spec), version("mlflow"), _now(), example)


def routing_template(spec: Spec, example: str | None = None) -> Template:
    """The files of the routing model of a spec, without its routes."""
    needs = requirements(spec, "pyarrow")
    return Template(
        signature(spec, spec.partition_by), needs, version("mlflow"), _now(), example, ROUTING_LOADER, None
    )


def requirements(spec: Spec, *more: str) -> tuple[str, ...]:
    """Pinned distributions that loading any model of the spec takes: this package and its families'
    libraries.
    """
    named = [*spec.candidates, *([spec.fallback] if spec.fallback else [])]
    packages = {
        "pandas",
        *more,
        *(package for candidate in named for package in registry.build(candidate).packages),
    }
    return (f"manymodels-spark=={__version__}", *sorted(pin for name in packages if (pin := _pin(name))))


def signature(spec: Spec, keys: Sequence[str] = ()) -> str:
    """MLflow's signature as JSON text: the time or feature columns in, a table out, `horizon` and `levels` as
    parameters.

    `keys` are columns that every row must also have; with them the predictions' columns are in it, too, as
    registries and `spark_udf` require it.
    """
    columns = spec.columns
    kinds = [{"type": "any", "name": name, "required": True} for name in keys]
    names = [columns.time] if spec.task == "forecast" and columns.time else []
    kinds += [{"type": "datetime", "name": name, "required": False} for name in names]
    features = columns.known_future if spec.task == "forecast" else columns.inputs
    kinds += [{"type": "any", "name": name, "required": False} for name in features if name not in keys]
    params: list[dict[str, object]] = [
        {"name": "levels", "type": "long", "default": spec.backtest.intervals, "shape": [-1]}
    ]
    if spec.task == "forecast":
        params.insert(0, {"name": "horizon", "type": "long", "default": spec.horizon, "shape": None})
    if spec.task == "classification":
        params = []
    parts = {"inputs": kinds, "outputs": _outputs(spec) if keys else [], "params": params}
    return json.dumps({name: json.dumps(columns) if columns else None for name, columns in parts.items()})


def _outputs(spec: Spec) -> list[dict[str, object]]:
    if spec.task == "classification":
        names = {"prediction": "string", "probability": "double"}
    else:
        bounds = [f"{side}_{level}" for level in spec.backtest.intervals for side in ("lower", "upper")]
        names = dict.fromkeys(["prediction", *bounds], "double")
    return [
        {"type": kind, "name": name, "required": True} for name, kind in {**names, "error": "string"}.items()
    ]


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"


def _pin(package: str) -> str | None:
    try:
        return f"{package}=={version(package)}"
    except PackageNotFoundError:
        return None
