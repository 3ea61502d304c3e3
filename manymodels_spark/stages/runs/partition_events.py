"""One log line for every partition that needs attention: quarantined, unscored, or with an alert."""

from __future__ import annotations

import logging

from manymodels_spark import observe
from manymodels_spark.lake.tables import ALERTS, FITS, UNSCORED, Lake

MOST = 10_000
# By stage: the table, which of its rows, the event, and the fields logged with the partition.
_EVENTS = {
    "train": (FITS, "status = 'failed'", "partition_quarantined", ("reason", "message")),
    "score": (UNSCORED, "true", "partition_unscored", ("error",)),
    "monitor": (ALERTS, "true", "partition_alert", ("check", "subject", "value", "reference")),
}


def log_partitions(lake: Lake, stage: str, run_id: str) -> None:
    """Log the partitions of a stage's run, at most `MOST` of them; nothing is read where nobody listens."""
    if stage not in _EVENTS or not observe.is_enabled(logging.WARNING):
        return
    table, condition, event, fields = _EVENTS[stage]
    if not lake.exists(table):
        return
    mine = lake.read(table).filter(f"run_id = '{run_id}' AND {condition}")
    for row in mine.select("partition_id", "key", *fields).limit(MOST).collect():
        observe.log_event(event, logging.WARNING, **row.asDict())
