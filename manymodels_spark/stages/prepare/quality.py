"""The data-quality table: a row per partition and check, with the rows concerned and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manymodels_spark.spec.model import Spec

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def quality(facts: DataFrame, spec: Spec) -> DataFrame:
    """partition_id, key, check, rows, action, from the census joined with `_rows` (the rows in silver),
    `outliers` and `uncut` (the rows before a history was cut, null where none is).
    """
    from pyspark.sql import functions as F

    checks = [
        F.struct(
            F.lit(name).alias("check"),
            F.expr(rows).cast("bigint").alias("rows"),
            F.lit(action).alias("action"),
        )
        for name, (rows, action) in _checks(spec).items()
    ]
    exploded = facts.select("partition_id", "key", F.explode(F.array(*checks)).alias("c"))
    return exploded.select("partition_id", "key", "c.check", "c.rows", "c.action")


def _checks(spec: Spec) -> dict[str, tuple[str, str]]:
    """Each check's count, as SQL over the census, and what the spec lets be done with such rows."""
    rules = spec.prepare
    filled = (
        "greatest(coalesce(uncut, _rows, times) - times, 0)"
        if spec.task == "forecast" and rules.gaps != "leave"
        else "0"
    )
    return {
        "duplicates": (
            "copies",
            "quarantined" if rules.duplicates == "error" else f"merged by {rules.duplicates}",
        ),
        "gaps": (filled, f"filled: {rules.gaps}"),
        "null_target": ("null_target", "filled" if rules.gaps != "leave" else "left out of the fit"),
        "null_key": ("null_key", "quarantined" if rules.null_keys == "quarantine" else "kept"),
        "bad_times": ("bad_times", "quarantined" if rules.bad_times == "quarantine" else "dropped"),
        "not_numeric": ("not_numeric", "quarantined"),
        "not_finite": ("not_finite", "quarantined" if rules.not_finite == "quarantine" else "dropped"),
        "outliers": ("coalesce(outliers, 0)", "capped" if rules.outliers else "not looked for"),
        "negatives": (
            "negatives",
            {"keep": "kept", "zero": "set to zero", "drop": "dropped"}[rules.negatives],
        ),
        "history": (
            "greatest(coalesce(uncut - _rows, 0), 0)",
            f"cut to {rules.history}" if rules.history else "kept",
        ),
    }
