"""Which partitions a training run has to fit: those asked for whose rows or spec changed since their last
fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from manymodels_spark.errors import Reason
from manymodels_spark.lake.queries import in_scope, latest_fits
from manymodels_spark.lake.tables import ALERTS, FITS, MODELS, Lake

if TYPE_CHECKING:
    import pandas as pd

# What may end differently when the same rows are fitted again; any other failure is a property of the rows.
TRANSIENT = [Reason.TIMED_OUT, Reason.OUT_OF_MEMORY, Reason.WORKER_CRASHED]
_LAST = {
    "run_id": "string",
    "status": "string",
    "fingerprint": "string",
    "reason": "string",
    "seconds": "double",
    "fitted_at": "timestamp",
}

_TODO = ["partition_id", "key", "bucket", "rows", "fingerprint", "cost"]
_BROKEN = ["partition_id", "key", "rows", "fingerprint", "problem", "problem_detail"]
_WANTED = ["partition_id", "key", "bucket", "rows", "fingerprint", "problem", "problem_detail"]


@dataclass(frozen=True)
class Choice:
    """The options of a training run."""

    only: str | None = None
    force: bool = False
    failed: bool = False
    older_than: timedelta | None = None
    degraded: bool = False

    def __str__(self) -> str:
        """Equal for equal choices: an interrupted run is continued only by the same one."""
        return (
            f"only={self.only} force={self.force} failed={self.failed} older_than={self.older_than} "
            f"degraded={self.degraded}"
        )


@dataclass(frozen=True)
class Selection:
    """The partitions in scope by what becomes of them.

    `todo` (to fit: partition_id, key, bucket, rows, fingerprint, cost in seconds of the last fit or NaN) and
    `broken` (found unfit by prepare: partition_id, key, rows, fingerprint, problem, problem_detail) have a
    row each; `unchanged`, `inactive` and `quarantined` (failed before, on the same rows) are counts.
    """

    total: int
    unchanged: int
    quarantined: int
    todo: pd.DataFrame
    broken: pd.DataFrame
    inactive: int = 0

    @property
    def skipped(self) -> int:
        """Partitions that need no fit."""
        return self.unchanged + self.inactive + self.quarantined


def select(lake: Lake, choice: Choice, spec_hash: str, run_id: str) -> Selection:
    """Compare the prepared partitions with their latest logged fits; what `run_id` has done already is
    done.
    """
    scope = in_scope(lake, choice.only).withColumn("fingerprint", fingerprint(spec_hash))
    known = scope.join(_last_fits(lake, run_id), "partition_id", "left").join(
        _alerted(lake), "partition_id", "left"
    )
    marked = known.withColumn("fate", _fate(choice, run_id))
    counts = {
        str(row["fate"]): int(row["n"])
        for row in marked.groupBy("fate").agg(F.count("*").alias("n")).collect()
    }
    due = marked.filter("fate IN ('todo', 'broken')").select(
        *_WANTED, F.col("last_seconds").alias("cost"), "fate"
    )
    found = due.orderBy("bucket", "partition_id").toPandas()
    return Selection(
        total=sum(counts.values()),
        unchanged=counts.get("unchanged", 0),
        quarantined=counts.get("quarantined", 0),
        todo=found[found["fate"] == "todo"][_TODO],
        broken=found[found["fate"] == "broken"][_BROKEN],
        inactive=counts.get("inactive", 0),
    )


def fingerprint(spec_hash: str) -> Column:
    """The fingerprint that a partition's model must have."""
    return F.sha2(F.concat_ws("|", F.col("data_hash"), F.lit(spec_hash)), 256)


def _last_fits(lake: Lake, run_id: str) -> DataFrame:
    """The newest fit of every partition that counts: failed, or logged in MLflow, or of this very run."""
    if not lake.exists(FITS):
        columns = ", ".join(f"last_{name} {kind}" for name, kind in _LAST.items())
        return lake.spark.createDataFrame([], f"partition_id string, {columns}")
    fits = lake.read(FITS).select("partition_id", *_LAST)
    mine_or_failed = (F.col("run_id") == run_id) | (F.col("status") == "failed")
    if lake.exists(MODELS):
        logged = lake.read(MODELS).select("run_id", "partition_id", F.lit(True).alias("logged"))
        fits = fits.join(logged, ["run_id", "partition_id"], "left").filter(mine_or_failed | F.col("logged"))
    else:
        fits = fits.filter(mine_or_failed)
    return latest_fits(fits).select("partition_id", *(F.col(name).alias(f"last_{name}") for name in _LAST))


def _alerted(lake: Lake) -> DataFrame:
    """The partitions for which monitoring called, and when."""
    if not lake.exists(ALERTS):
        return lake.spark.createDataFrame([], "partition_id string, alerted_at timestamp")
    return lake.read(ALERTS).groupBy("partition_id").agg(F.max("at").alias("alerted_at"))


def _fate(choice: Choice, run_id: str) -> Column:
    """What becomes of a partition: done, inactive, broken, todo, quarantined (still, for its rows) or
    unchanged.
    """
    same = F.col("last_fingerprint").eqNullSafe(F.col("fingerprint"))
    failed = F.col("last_status").eqNullSafe(F.lit("failed"))
    again = failed & F.col("last_reason").isin([str(reason) for reason in TRANSIENT])
    broken = F.col("problem").isNotNull()
    due = ~same | again | F.lit(choice.force)
    if choice.older_than is not None:
        due = due | (F.col("last_fitted_at") < F.lit(datetime.now(UTC) - choice.older_than))
    if choice.failed:
        due = failed
    if choice.degraded:
        due = F.col("alerted_at").isNotNull() & ~F.coalesce(
            F.col("last_fitted_at") > F.col("alerted_at"), F.lit(False)
        )
    fate = F.when(F.col("last_run_id").eqNullSafe(F.lit(run_id)), "done").when(F.col("inactive"), "inactive")
    fate = fate.when(broken & same & failed, "quarantined")
    return fate.when(broken, "broken").when(due, "todo").when(failed, "quarantined").otherwise("unchanged")
