"""The data-quality table: a row per partition and check, with the rows concerned and what became of them."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from manymodels_spark.spark.names import quote
from manymodels_spark.spec.model import Spec

ID = "partition_id"


def quality(facts: DataFrame, spec: Spec) -> DataFrame:
    """partition_id, key, check, rows, action, from the census with `_rows` (the rows in silver).

    Counts that a spec does not call for may be missing: `outliers`, `uncut` (the rows before a history was
    cut), `missing` (steps left without a row) and `revised`.
    """
    wanted = ("outliers", "uncut", "missing", "revised")
    absent = {name: F.lit(None).cast("bigint") for name in wanted if name not in facts.columns}
    facts = facts.withColumns(absent) if absent else facts
    checks = [
        F.struct(
            F.lit(name).alias("check"),
            F.expr(rows).cast("bigint").alias("rows"),
            F.lit(action).alias("action"),
        )
        for name, (rows, action) in _checks(spec).items()
    ]
    exploded = facts.select(ID, "key", F.explode(F.array(*checks)).alias("c"))
    return exploded.select(ID, "key", "c.check", "c.rows", "c.action")


def outliers(placed: DataFrame, sound: DataFrame, spec: Spec) -> DataFrame:
    """partition_id and the number of targets beyond its fences; empty where the spec has no rule for them."""
    if spec.prepare.outliers is None:
        return sound.select(ID, F.lit(0).cast("bigint").alias("outliers")).limit(0)
    value = F.col(quote(spec.columns.target))
    fenced = placed.join(F.broadcast(sound.select(ID, "low", "high")), ID)
    beyond = fenced.filter((value < F.col("low")) | (value > F.col("high")))
    return beyond.groupBy(ID).agg(F.count("*").alias("outliers"))


def revised(silver: DataFrame, calendar: DataFrame, spec: Spec) -> DataFrame:
    """partition_id and the number of its rows whose known-ahead values differ from the calendar's."""
    from functools import reduce

    time, known = str(spec.columns.time), spec.columns.known_future
    named = [F.col(quote(name)).alias(f"_known_{name}") for name in known]
    both = silver.select(ID, quote(time), *map(quote, known)).join(
        calendar.select(ID, quote(time), *named), [ID, time]
    )
    differing = (F.col(quote(name)) != F.col(quote(f"_known_{name}")) for name in known)
    changed = reduce(lambda left, right: left | right, (F.coalesce(one, F.lit(False)) for one in differing))
    return both.filter(changed).groupBy(ID).agg(F.count("*").alias("revised"))


def _checks(spec: Spec) -> dict[str, tuple[str, str]]:
    """Each check's count, as SQL over the census, and what the spec lets be done with such rows."""
    rules = spec.prepare
    negatives = {"keep": "kept", "zero": "set to zero", "drop": "dropped"}[rules.negatives]
    repeated = "quarantined" if rules.duplicates == "error" else f"merged by {rules.duplicates}"
    cut = f"cut to {rules.history}" if rules.history else "kept"

    def aside(rule: str, otherwise: str) -> str:
        return "quarantined" if rule == "quarantine" else otherwise

    return {
        "duplicates": ("copies", repeated),
        "gaps": _gaps(spec),
        "null_target": ("null_target", "filled" if rules.gaps != "leave" else "left out of the fit"),
        "null_key": ("null_key", aside(rules.null_keys, "kept")),
        "bad_times": ("bad_times", aside(rules.bad_times, "dropped")),
        "not_numeric": ("not_numeric", "quarantined"),
        "not_finite": ("not_finite", aside(rules.not_finite, "dropped")),
        "outliers": ("coalesce(outliers, 0)", "capped in training" if rules.outliers else "not looked for"),
        "negatives": ("negatives", negatives),
        "history": ("greatest(coalesce(uncut - _rows, 0), 0)", cut),
        "revised": ("coalesce(revised, 0)", "the rows count, not the calendar"),
    }


def _gaps(spec: Spec) -> tuple[str, str]:
    """Steps without a row: those that were filled, or under `leave` those that were not."""
    if spec.task != "forecast":
        return "0", "not looked for"
    if spec.prepare.gaps == "leave":
        return "coalesce(missing, 0)", "left out"
    return "greatest(coalesce(uncut, _rows, times) - times, 0)", f"filled: {spec.prepare.gaps}"
