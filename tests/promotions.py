"""A job with production models, through all stages: `from
promotions import promoted`, for tests of what changes champions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from builders import days
from lakes import after_with_reports

from manymodels_spark.stages.runs.job import Job

PARTITIONS = 3
ROWS = [
    {"store": store, "item": 1, "date": day, "units": store + number % 7}
    for store in range(PARTITIONS)
    for number, day in enumerate(days(35))
]


def promoted(make_job: Callable[..., Job], folder: Path, times: int, **changes: Any) -> tuple[Job, list[str]]:
    """A job of three stores whose models were trained and promoted `times` times; the promotions' ids."""
    stage, spark = "promote" if times else "prepare", make_job().spark
    job, reports = after_with_reports(stage, folder, spark, ROWS, max(times - 1, 0), **changes)
    return job, [report.run_id for report in reports if report.stage == "promote"]
