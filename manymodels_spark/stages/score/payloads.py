"""How an executor comes to the champion of one partition: its payload from the lake or from MLflow, verified
and opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from manymodels_spark.errors import ManyModelsError, PayloadError
from manymodels_spark.families.registry import importable
from manymodels_spark.modeling.payload import sha256
from manymodels_spark.modeling.predict import LoadedPartition
from manymodels_spark.spec.model import Spec
from manymodels_spark.spec.source import resolve
from manymodels_spark.tracking import artifacts


@dataclass(frozen=True)
class Payloads:
    """What executors, which lack the driver's environment, need to know in order to open payloads.

    `tracking` is the production MLflow's address, which only a payload that the lake has lost needs; None
    where its variables are not set. `families` may be imported (see `registry.importable`).
    """

    tracking: str | None
    families: tuple[str, ...]

    @classmethod
    def of(cls, spec: Spec) -> Payloads:
        """Those of a spec; to be asked on the driver."""
        try:
            tracking = resolve(spec.mlflow.production.tracking)
        except ManyModelsError:
            tracking = None
        return cls(tracking, importable(spec))

    def opened(self, own: dict[str, Any]) -> LoadedPartition:
        """The model of a partition's row: `payload`, `sha256`, `model_id` and `location`.

        Raises:
            PayloadError: The payload is lost, is not the one that was promoted, or must not be loaded.

        """
        return LoadedPartition(self._verified(own), families=self.families)

    def _verified(self, own: dict[str, Any]) -> bytes:
        if own["payload"] is None:
            return artifacts.read_payload(own["location"], own["sha256"], self.tracking)
        payload = bytes(own["payload"])
        if sha256(payload) != own["sha256"]:
            raise PayloadError(
                f"the payload of {own['model_id']} in table fits is not the one that was promoted"
            )
        return payload
