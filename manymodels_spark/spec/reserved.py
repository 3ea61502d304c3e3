"""Names of columns that this package's own tables have beside those of a source: a source's column of that
name clashes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Tables `silver` and `calendar`, which hold every column of the spec.
_BESIDE_ROWS = frozenset({"partition_id", "bucket"})
# Tables `partitions` and `predictions` and the census of `prepare`, which hold the partition columns and the
# time.
_BESIDE_KEYS = _BESIDE_ROWS | {
    "key",
    "rows",
    "start",
    "end",
    "data_hash",
    "raw_hash",
    "problem",
    "problem_detail",
    "first",
    "last",
    "low",
    "high",
    "kept",
    "times",
    "copies",
    "null_target",
    "null_key",
    "bad_times",
    "not_numeric",
    "not_finite",
    "negatives",
    "quartiles",
    "cutoff",
    "row",
    "prediction",
    "probability",
    "fallback",
    "family",
    "model_id",
    "sha256",
    "data_version",
    "run_id",
    "scored_at",
    "error",
    "request_id",
    "batch",
    "actual",
    "inactive",
    "last_demand",
    "filled_until",
    "copied_at",
    "trained_until",
    "champion_error",
}
_BOUND = re.compile(r"(lower|upper|quantile)_\d+(_\d+)?")


def clashes(keys: Iterable[str], others: Iterable[str]) -> list[str]:
    """The names that the package's tables have, too, whatever their case: of `keys` (partition columns and
    time) and `others`.
    """
    taken = [name for name in keys if name.lower() in _BESIDE_KEYS or _BOUND.fullmatch(name.lower())]
    return sorted({*taken, *(name for name in others if name.lower() in _BESIDE_ROWS)})
