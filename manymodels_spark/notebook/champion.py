"""One partition as a notebook asks for it: its prepared rows, its champion,
what the calendar says of its days to come.
"""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.families import registry
from manymodels_spark.flavor.pyfunc import PartitionModel
from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.tables import CALENDAR, CHAMPIONS, PARTITIONS, SILVER
from manymodels_spark.modeling.predict import LoadedPartition
from manymodels_spark.spec.source import resolve
from manymodels_spark.stages.prepare.calendar import by_partition
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.tracking.artifacts import read_payload


class ChampionModel(PartitionModel):
    """The champion of one partition.

    Args:
        payload: the fitted model as it was stored, verified.
        known: the partition's rows of the spec's calendar, where it has one.
    """

    def __init__(
        self, payload: bytes, known: pd.DataFrame | None = None, families: Collection[str] | None = None
    ) -> None:
        super().__init__(payload, families)
        self.known = known

    def predict(  # type: ignore[override]
        self, rows: pd.DataFrame | None = None, *, horizon: int | None = None
    ) -> pd.DataFrame:
        """Predictions for given rows, or for the steps after the training rows.

        Args:
            rows: of a forecast, the times to predict with their known-future columns; of a table, the inputs.
            horizon: steps after the last training row, with what the calendar says of them; by default the
                spec's horizon.

        Returns:
            A row per step or per row of `rows`: the time, `prediction`, and the intervals (`lower_80`,
            `upper_80`, ...) or the `probability` of the class, in the target's units.
        """
        if rows is not None:
            return super().predict(rows)
        model = LoadedPartition(self.payload, families=self.families)
        return model.predict(future=self.known, horizon=horizon or model.problem.horizon)


def champion_of(job: Job, key: PartitionKey) -> ChampionModel:
    """The champion of one partition.

    Args:
        job: the spec at work.
        key: the partition's typed key.

    Returns:
        The model, with the calendar's rows.

    Raises:
        ManyModelsError: the partition has no champion.
    """
    row = job.lake.read(CHAMPIONS).filter(f"partition_id = '{key.id}'").select("location", "sha256").first()
    if row is None:
        raise ManyModelsError(
            f"no champion for {key}. See `mm.quarantine`, and `mm.promotions` for refused models"
        )
    payload = read_payload(row["location"], row["sha256"], resolve(job.spec.mlflow.production.tracking))
    return ChampionModel(payload, known_future_of(job, key), registry.importable(job.spec))


def rows_of(job: Job, key: PartitionKey) -> pd.DataFrame:
    """The prepared rows of one partition.

    Args:
        job: the spec at work.
        key: the partition's typed key.

    Returns:
        Its rows of `silver` in order of time.

    Raises:
        ManyModelsError: there are none.
    """
    rows = job.lake.read(SILVER).filter(f"partition_id = '{key.id}'").toPandas()
    if rows.empty:
        raise ManyModelsError(
            f"no prepared rows of {key}. Its columns are {', '.join(job.spec.partition_by)}; see "
            "`mm.quarantine`"
        )
    time = job.spec.columns.time
    return rows.sort_values(time, ignore_index=True) if time else rows


def known_future_of(job: Job, key: PartitionKey) -> pd.DataFrame | None:
    """The calendar's rows of one partition.

    Args:
        job: the spec at work.
        key: the partition's typed key.

    Returns:
        Its rows in order of time; None where the spec has no calendar.
    """
    if job.spec.prepare.calendar is None:
        return None
    own = job.lake.read(PARTITIONS).filter(f"partition_id = '{key.id}'")
    rows = by_partition(job.lake.read(CALENDAR), own, job.spec).toPandas()
    return rows.drop(columns="partition_id").sort_values(str(job.spec.columns.time), ignore_index=True)
