"""Table `alerts`: what needs attention, by the stage that found it. Each stage replaces its own rows."""

from __future__ import annotations

from pyspark.sql import DataFrame

from manymodels_spark.lake.tables import ALERTS, Lake

# `q` is the least rate of false discoveries at which a finding counts (see `drift.false_discovery`).
ALERTS_SCHEMA = (
    "run_id string, partition_id string, key string, check string, subject string, age string, "
    "steps bigint, value double, reference double, shift double, threshold double, p double, q double, "
    "first timestamp, last timestamp, at timestamp, advice string"
)
# The checks of `score`: a champion that could not be used, with or without a fallback in its place.
UNSCORED_CHECK, FALLBACK_CHECK = "unscored", "fallback"
BY_SCORE = f"check IN ('{UNSCORED_CHECK}', '{FALLBACK_CHECK}')"


def replace_alerts(lake: Lake, rows: DataFrame, own: str) -> None:
    """Write a stage's alerts in place of its former ones, which `own` (SQL over the table) selects."""
    if rows.isEmpty() and (not lake.exists(ALERTS) or lake.read(ALERTS).filter(own).isEmpty()):
        return
    lake.ensure(ALERTS, ALERTS_SCHEMA)
    lake.overwrite(ALERTS, rows, where=own)
