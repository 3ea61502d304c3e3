"""What makes a partition unfit for a fit, from its counts in the census. Pure Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from manymodels_spark.errors import Reason
from manymodels_spark.spec.model import Spec


def problem_of(counts: Mapping[str, Any], spec: Spec) -> tuple[str | None, str | None]:
    """The first problem of a partition and how it shows, or (None, None).

    `counts` are those of the census: rows, kept, copies, null_key, bad_times, not_numeric, not_finite,
    null_target.
    """
    found = ((str(reason), detail) for is_so, reason, detail in _checks(counts, spec) if is_so)
    return next(found, (None, None))


def _checks(counts: Mapping[str, Any], spec: Spec) -> Iterator[tuple[bool, Reason, str]]:
    rules, total = spec.prepare, counts["rows"]
    time, target = spec.columns.time, spec.columns.target
    yield (
        counts["null_key"] > 0 and rules.null_keys == "quarantine",
        Reason.NULL_KEY,
        f"a partition column is null in all {total} rows",
    )
    yield (
        counts["bad_times"] > 0 and rules.bad_times == "quarantine",
        Reason.BAD_TIMES,
        f"{counts['bad_times']} of {total} rows have no valid {time}",
    )
    yield (
        counts["not_numeric"] > 0,
        Reason.NOT_NUMERIC,
        f"{counts['not_numeric']} of {total} values of {target} are text that is no number",
    )
    yield (
        counts["not_finite"] > 0 and rules.not_finite == "quarantine",
        Reason.NOT_FINITE,
        f"{counts['not_finite']} of {total} values of {target} are infinite",
    )
    yield (
        counts["null_target"] + counts["not_finite"] >= total,
        Reason.ALL_NULL,
        f"none of {total} rows has a value in {target}",
    )
    yield counts["kept"] == 0, Reason.TOO_SHORT, f"none of {total} rows is left after prepare"
    yield (
        counts["copies"] > 0 and rules.duplicates == "error",
        Reason.DUPLICATE_TIMES,
        f"{counts['copies']} of {total} rows repeat a {time} that is there already",
    )
