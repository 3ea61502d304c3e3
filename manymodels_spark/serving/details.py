"""What a person or a program may know of a model: its facts, its inputs and the end of its history."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from manymodels_spark.modeling.predict import LoadedPartition
from manymodels_spark.serving.frames import step_of
from manymodels_spark.serving.models.cache import Entry, ModelCache
from manymodels_spark.serving.models.sources import Champion, SourceDown, label, matching


class Catalogue:
    """The models that can be asked for."""

    def __init__(self, cache: ModelCache) -> None:
        self._cache = cache

    def search(self, text: str, limit: int) -> dict[str, Any]:
        """Partitions whose key contains every word of the text; only those in memory while the source is
        down. May wait for it.
        """
        try:
            found, complete = self._cache.loader.search(text, limit), True
        except SourceDown:
            found, complete = matching(self._cache.known(), text, limit), False
        return {"models": [_line(champion) for champion in found], "complete": complete}

    def describe(self, entry: Entry) -> dict[str, Any]:
        """All there is to know of one model."""
        problem, document = entry.model.problem, entry.model.document
        inputs = problem.known_future if problem.task == "forecast" else problem.inputs
        intervals = document["intervals"] or {"quantiles": {}}
        return {
            **_line(entry.champion),
            "task": problem.task,
            "target": problem.target,
            "time": problem.time,
            "frequency": problem.frequency if problem.task == "forecast" else None,
            "horizon": problem.horizon if problem.task == "forecast" else None,
            "cutoff": document["cutoff"],
            "inputs": list(inputs),
            "intervals": sorted(int(level) for level in intervals["quantiles"]),
            "metrics": dict(entry.champion.metrics),
            "promoted_at": _moment(entry.champion.created),
            "sha256": entry.champion.sha256,
            "bytes_in_memory": entry.size,
            "history": history_of(entry.model),
            "next": next_steps(entry.model),
        }


def history_of(model: LoadedPartition) -> list[dict[str, Any]]:
    """The last training values with the times that the calendar gives them: [{"time", "value"}, ...]."""
    values = model.document.get("history") or []
    if not values or model.cutoff is None:
        return []
    step = step_of(model.problem)
    times = pd.date_range(end=model.cutoff, periods=len(values), freq=step)
    texts = np.datetime_as_string(times.to_numpy(), unit="s")
    return [{"time": str(time), "value": value} for time, value in zip(texts, values, strict=True)]


def next_steps(model: LoadedPartition) -> list[str]:
    """The times of the model's own horizon, for those who have to give known-future columns."""
    if model.cutoff is None or model.problem.task != "forecast":
        return []
    step = step_of(model.problem)
    times = pd.date_range(model.cutoff, periods=model.problem.horizon + 1, freq=step)
    texts = np.datetime_as_string(times[times > model.cutoff].to_numpy(), unit="s")
    return [str(text) for text in texts[: model.problem.horizon]]


def _line(champion: Champion) -> dict[str, Any]:
    return {
        "partition_id": champion.partition_id,
        "partition": champion.partition,
        "label": label(champion),
        "model_id": champion.model_id,
        "family": champion.family,
    }


def _moment(created: int) -> str | None:
    return pd.Timestamp(created, unit="ms", tz="UTC").isoformat() if created else None
