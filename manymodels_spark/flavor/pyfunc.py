"""The loader that MLflow calls for a model of this package: `mlflow.pyfunc.load_model("models:/<id>")`.

It needs a payload and nothing else: no lake, no Spark, no tracking server.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from manymodels_spark.modeling.payload import open_payload
from manymodels_spark.modeling.predict import predict_partition
from manymodels_spark.tracking.tags import SHA256

TIMES = "times"


class PartitionModel:
    """The model of one partition behind MLflow's `predict`."""

    def __init__(self, payload: bytes, families: Collection[str] | None = None) -> None:
        # MLflow imports the module that the model's own MLmodel names before this one is asked: whoever may
        # write the model's files is trusted there already, so its families are too.
        self.payload, self.families = payload, families

    def predict(self, rows: pd.DataFrame | None = None, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Predictions as a DataFrame.

        Forecast: for the times (and known-future columns) in `rows`, or, where `rows` is empty (MLflow takes
        an empty DataFrame, not None), for `params["horizon"]` steps after the last training row. Other tasks:
        one prediction per row. `params["levels"]` are the intervals in percent.
        """
        options = params or {}
        given = options.get("levels")
        levels = None if given is None else [int(level) for level in given]
        if rows is not None and len(rows) > 0:
            return predict_partition(self.payload, future=rows, levels=levels, families=self.families)
        horizon = options.get("horizon")
        return predict_partition(
            self.payload, horizon=int(horizon) if horizon else None, levels=levels, families=self.families
        )


def _load_pyfunc(path: str) -> PartitionModel:
    """Called by MLflow with the path of the payload file; the file `MLmodel` next to it has its checksum."""
    payload = Path(path).read_bytes()
    open_payload(payload, _checksum(Path(path).with_name("MLmodel")))
    return PartitionModel(payload)


def _checksum(description: Path) -> str | None:
    """The SHA-256 that a model's description states, None for models logged before 0.2."""
    if not description.exists():
        return None
    stated = (yaml.safe_load(description.read_text(encoding="utf-8")) or {}).get("metadata") or {}
    return stated.get(SHA256)
