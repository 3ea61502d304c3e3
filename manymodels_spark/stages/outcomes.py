"""One log line for every partition of a stage that wants a person: quarantined, unscored, or with an
alert.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from manymodels_spark import observe
from manymodels_spark.tables import ALERTS, FITS, UNSCORED

if TYPE_CHECKING:
    from manymodels_spark.stages.job import Job, StageReport

MOST = 10_000
# By stage: the table, which of its rows, the event, and what is told beside the partition.
_WHERE = {
    "train": (FITS, "status = 'failed'", "partition_quarantined", ("reason", "message")),
    "score": (UNSCORED, "true", "partition_unscored", ("error",)),
    "monitor": (ALERTS, "true", "partition_alert", ("check", "subject", "value", "reference")),
}


def tell_partitions(job: Job, report: StageReport) -> None:
    """Say them, at most `MOST` of them; nothing is read where nobody listens."""
    if report.stage not in _WHERE or not observe.is_heard(logging.WARNING):
        return
    table, condition, event, told = _WHERE[report.stage]
    if not job.lake.exists(table):
        return
    mine = job.lake.read(table).filter(f"run_id = '{report.run_id}' AND {condition}")
    for row in mine.select("partition_id", "key", *told).limit(MOST).collect():
        observe.say(event, logging.WARNING, **row.asDict())
