"""What executors do with one partition's rows: `fit_partition` in a child process, its outcome as a row."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
from pyspark import TaskContext

from manymodels_spark.families import registry
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.results import FitResult
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.train.sandbox import Sandbox, tidy_imports

if TYPE_CHECKING:
    import pandas as pd

    from manymodels_spark.spark.grouped_map import GroupMap

FITS_SCHEMA = (
    "run_id string, wave int, partition_id string, key string, status string, family string, rows bigint, "
    "seconds double, family_seconds double, fingerprint string, reason string, message string, "
    "exception string, advice string, sha256 string, metrics map<string,double>, start string, "
    "cutoff string, fitted_at timestamp, task int, host string, families array<string>, options string, "
    "scores string, folds string, started_from string, optimistic boolean, payload binary"
)
_TYPES = {
    "string": pa.string(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "binary": pa.binary(),
    "map<string,double>": pa.map_(pa.string(), pa.float64()),
    "array<string>": pa.list_(pa.string()),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
_ARROW_SCHEMA = pa.schema(
    [(name, _TYPES[kind]) for name, kind in (column.split() for column in FITS_SCHEMA.split(", "))]
)
COLUMNS = _ARROW_SCHEMA.names

_sandboxes: dict[str, Sandbox] = {}


@dataclass(frozen=True)
class Member:
    """A partition of a wave as executors know it; `start` is its champion's payload for a warm start."""

    partition_id: str
    key: str
    fingerprint: str
    start: bytes | None = None


def fit_task(spec: Spec, run_id: str, wave: int, members: list[Member]) -> GroupMap:
    """The function of the grouped map: a group is (slot, a member's place in `members`) with its rows.

    What is equal in all rows of a partition does not travel with each of them.

    Returns:
        A function that gives a row of `FITS_SCHEMA` a group; it raises for nothing that a fit does.

    """
    spec_text = spec.model_dump_json()

    def fit_group(key: tuple[int, int], rows: pd.DataFrame) -> pa.Table:
        member = members[key[1]]
        result = _sandbox(spec_text, spec).run(rows, PartitionKey.parse(member.key), member.start)
        return pa.Table.from_pylist([outcome(result, run_id, wave, member)], schema=_ARROW_SCHEMA)

    return fit_group


def outcome(result: FitResult, run_id: str, wave: int, member: Member) -> dict[str, Any]:
    """A fit's result as one row of the `fits` table."""
    failure = result.failure
    return {
        "run_id": run_id,
        "wave": wave,
        "partition_id": member.partition_id,
        "key": member.key,
        "status": str(result.status),
        "family": result.family,
        "rows": result.rows,
        "seconds": result.seconds,
        "family_seconds": result.family_seconds,
        "fingerprint": member.fingerprint,
        "reason": None if failure is None else str(failure.reason),
        "message": None if failure is None else failure.message,
        "exception": None if failure is None else failure.exception,
        "advice": None if failure is None else failure.advice,
        "sha256": result.sha256,
        "metrics": result.metrics,
        "start": result.start,
        "cutoff": result.cutoff,
        "fitted_at": datetime.now(UTC),
        "task": _this_task(),
        "host": socket.gethostname(),
        "families": list(result.families),
        "options": _json(result.options),
        "scores": _json([asdict(score) for score in result.scores]),
        "folds": _json(result.folds) if result.folds else None,
        "started_from": result.started_from,
        "optimistic": result.optimistic if failure is None else None,
        "payload": result.payload,
    }


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def import_families(spec: Spec) -> None:
    """Import what fits need: a child that is forked later has it, also one that takes a dead child's place.

    A family that cannot be imported fails in its fits, which say so.
    """
    with tidy_imports(), suppress(Exception):
        import scipy.special  # noqa: F401

        for candidate in [*spec.candidates, *([spec.fallback] if spec.fallback else [])]:
            registry.build(candidate)


def _sandbox(spec_text: str, spec: Spec) -> Sandbox:
    """This worker's child process for the spec, started with the first partition and kept for the next."""
    if spec_text not in _sandboxes:
        for other in _sandboxes.values():
            other.close()
        _sandboxes.clear()
        import_families(spec)
        limits = spec.limits
        fit = lambda rows, key, start: fit_partition(rows, spec, key, start)  # noqa: E731
        _sandboxes[spec_text] = Sandbox(fit, limits.seconds_per_fit, limits.memory_per_fit)
    return _sandboxes[spec_text]


def _this_task() -> int:
    """The Spark task at work: the one that the partition was packed into, unless something moved it."""
    context = TaskContext.get()
    return -1 if context is None else context.partitionId()
