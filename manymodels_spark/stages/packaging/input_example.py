"""Rows that the models of a spec take, for the input example that each of them carries: made once per job."""

from __future__ import annotations

import pandas as pd
from pyspark.sql import functions as F

from manymodels_spark.lake.tables import PARTITIONS, SILVER, Lake
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.frequency import pandas_step
from manymodels_spark.spec.model import Spec

ROWS = 2


def input_example(lake: Lake, spec: Spec) -> str | None:
    """JSON of a DataFrame (split): for a forecast the first steps after one partition's rows, else rows of
    the lake.

    None where no partition is sound.
    """
    silver = lake.read(SILVER)
    if spec.task != "forecast":
        return _json(silver.select(*(quote(name) for name in spec.columns.inputs)).limit(ROWS).toPandas())
    own = (
        lake.read(PARTITIONS)
        .filter("problem IS NULL")
        .select("partition_id", F.col("end").cast("timestamp").alias("end"))
    )
    one = own.orderBy("partition_id").first()
    if one is None:
        return None
    step = pandas_step(spec.columns.frequency)
    ahead = pd.DataFrame(
        {str(spec.columns.time): pd.date_range(one["end"], periods=ROWS + 1, freq=step)[-ROWS:]}
    )
    if not spec.columns.known_future:
        return _json(ahead)
    rows = silver.filter(F.col("partition_id") == one["partition_id"]).select(
        *map(quote, spec.columns.known_future)
    )
    return _json(pd.concat([ahead, rows.limit(ROWS).toPandas()], axis=1))


def _json(rows: pd.DataFrame) -> str | None:
    return None if rows.empty else str(rows.to_json(orient="split", index=False, date_format="iso"))
