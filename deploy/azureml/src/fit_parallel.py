"""Entry script of the parallel component: fits files of one partition each, by the function that Spark's
executors run.

`run` gives one JSON line per file, a failure included: no partition is lost and none ends its neighbours.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

import orjson
import pandas as pd

from manymodels_spark.families.checked_spec import load_spec
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition

_state: dict[str, Any] = {}


def init() -> None:
    """Read the spec once per process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--spec", required=True)
    parser.add_argument("--payloads", required=True)
    given, _ = parser.parse_known_args()
    _state.update(spec=load_spec(given.spec), payloads=Path(given.payloads))


def run(mini_batch: list[str]) -> list[str]:
    """One line of JSON per file: key, status, family, metrics, the payload's digest, or the reason of a
    failure.
    """
    return [orjson.dumps(_fit(path), option=orjson.OPT_SERIALIZE_NUMPY).decode() for path in mini_batch]


def _fit(path: str) -> dict[str, Any]:
    spec, rows = _state["spec"], pd.read_parquet(path)
    key = PartitionKey.of({name: _plain(rows[name].iloc[0]) for name in spec.partition_by})
    result = fit_partition(rows, spec, key)
    outcome: dict[str, Any] = {
        "file": Path(path).name,
        "partition_id": key.id,
        "key": key.canonical,
        "status": str(result.status),
        "family": result.family,
        "metrics": result.metrics,
        "rows": result.rows,
    }
    if result.failure is not None:
        return {**outcome, "reason": str(result.failure.reason), "message": result.failure.message}
    _state["payloads"].mkdir(parents=True, exist_ok=True)
    (_state["payloads"] / key.id).write_bytes(result.payload)
    return {**outcome, "sha256": hashlib.sha256(result.payload).hexdigest()}


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
