"""One model on its way into MLflow, and one model as MLflow knows it: plain records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from manymodels_spark.tracking import tags as t


@dataclass(frozen=True)
class ModelRecord:
    """One model to be logged: its name in the UI, tags, parameters and metrics."""

    partition_id: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Registered:
    """A model as the repository knows it."""

    model_id: str
    partition_id: str
    location: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    created: int
    ready: bool = True

    @property
    def sha256(self) -> str:
        """The checksum that its payload must have."""
        return self.tags.get(t.SHA256, "")

    @property
    def age(self) -> tuple[int, str]:
        """What sorts models from the oldest to the newest; of one moment, by id, the same everywhere."""
        return self.created, self.model_id


def registered(
    model_id: str,
    location: str,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    created: int,
    ready: bool,
) -> Registered:
    """A model from what a server says of it; packed tags and metrics are whole again."""
    whole = t.unpack(tags)
    packed = _numbers(whole[t.METRICS]) if t.METRICS in whole else {}
    values = {name: float(value) for name, value in {**packed, **metrics}.items()}
    return Registered(model_id, whole.get(t.PARTITION, ""), location, whole, values, created, ready)


def _numbers(text: str) -> dict[str, Any]:
    """Metrics from their JSON; the standard library reads what is no number to JSON,
    and takes several times as long.
    """
    try:
        return dict(orjson.loads(text))
    except orjson.JSONDecodeError:
        return dict(json.loads(text))
