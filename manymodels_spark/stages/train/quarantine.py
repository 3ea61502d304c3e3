"""The partitions that have no model because of what their rows are or what their fit did, and why."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from pyspark.sql import functions as F

from manymodels_spark.errors import ADVICE, Reason
from manymodels_spark.frames import records
from manymodels_spark.lake.queries import latest_fits, prepared_partitions
from manymodels_spark.lake.tables import FITS, QUARANTINE, Lake
from manymodels_spark.modeling.results import Failure, FitResult, Status
from manymodels_spark.stages.train.fit_task import FITS_SCHEMA, Member, outcome

EXAMPLES = 3
_COLUMNS = ("partition_id", "key", "reason", "message", "exception", "advice", "rows", "run_id", "fitted_at")


def commit_broken(lake: Lake, run_id: str, broken: pd.DataFrame) -> None:
    """Commit the outcomes of partitions that `prepare` found unfit, as wave 0 of the run."""
    if broken.empty:
        return
    rows = [_outcome(run_id, row) for row in records(broken)]
    frame = lake.spark.createDataFrame([tuple(row.values()) for row in rows], FITS_SCHEMA)
    lake.append(FITS, frame, once=f"{run_id}-fits-0")


def refresh(lake: Lake) -> None:
    """Rewrite the `quarantine` table from the latest outcome of every partition that is still in the data and
    active.
    """
    if not lake.exists(FITS):
        return
    present = prepared_partitions(lake).filter("NOT inactive").select("partition_id")
    kept = lake.read(FITS).select("status", *_COLUMNS)
    failed = latest_fits(kept).filter(F.col("status") == str(Status.FAILED)).drop("status")
    lake.overwrite(QUARANTINE, failed.join(present, "partition_id", "left_semi"))


def quarantined(lake: Lake) -> int:
    """How many partitions the table holds."""
    return lake.read(QUARANTINE).count() if lake.exists(QUARANTINE) else 0


@dataclass(frozen=True)
class ByReason:
    """The quarantined partitions of one reason: how many, the first few (key and message), and what to do."""

    reason: str
    partitions: int
    examples: tuple[tuple[str, str], ...]
    advice: str

    @property
    def message(self) -> str:
        """What happened to the first of them."""
        return self.examples[0][1]


def by_reason(lake: Lake) -> list[ByReason]:
    """The quarantine in short, most frequent reason first."""
    some = F.slice(F.sort_array(F.collect_set(F.struct("key", "message"))), 1, EXAMPLES).alias("some")
    table = (
        lake.read(QUARANTINE)
        .groupBy("reason")
        .agg(some, F.min("advice").alias("advice"), F.count("*").alias("n"))
    )
    return [
        ByReason(
            row["reason"],
            int(row["n"]),
            tuple((one["key"], one["message"]) for one in row["some"]),
            row["advice"],
        )
        for row in table.orderBy(F.desc("n"), "reason").collect()
    ]


def _outcome(run_id: str, row: dict[str, object]) -> dict[str, object]:
    reason = Reason(str(row["problem"]))
    failure = Failure(reason, str(row["problem_detail"] or ADVICE[reason]))
    result = FitResult(Status.FAILED, rows=int(str(row["rows"])), failure=failure)
    member = Member(str(row["partition_id"]), str(row["key"]), str(row["fingerprint"]))
    return outcome(result, run_id, 0, member)
