"""A job with production models, through all stages: `from promotions import promoted`, for tests of what
changes champions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from builders import days, write_csv

from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.promote.stage import promote
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.train.due import Choice
from manymodels_spark.stages.train.stage import train

PARTITIONS = 3


def promoted(make_job: Callable[..., Job], folder: Path, times: int, **changes: Any) -> tuple[Job, list[str]]:
    """A job of three stores whose models were trained and promoted `times` times; the promotions' ids."""
    rows = [
        {"store": store, "item": 1, "date": day, "units": store + number % 7}
        for store in range(PARTITIONS)
        for number, day in enumerate(days(35))
    ]
    write_csv(folder / "sales.csv", rows)
    job = make_job(**changes)
    ingest(job)
    prepare(job)
    ids = []
    for _ in range(times):
        train(job, Choice(force=True))
        ids.append(promote(job).run_id)
    return job, ids
