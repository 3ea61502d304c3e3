"""The files of many logged models, from payloads in the lake to MLflow's artifact root.

Executors write them where they reach the root; where only the tracking server does, they go through MLflow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from manymodels_spark.errors import TrackingError
from manymodels_spark.tracking import artifacts
from manymodels_spark.tracking.repository import ModelRepository, Registered

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def write_files(
    payloads: DataFrame, models: Mapping[str, Registered], template: artifacts.Template, repository: ModelRepository
) -> None:
    """Write every model's files. `payloads` has partition_id and payload; `models` is by partition id.

    Raises TrackingError where a model's files are not written; written again, they are the same.
    """
    if not models:
        return
    if any(artifacts.by_server(model.location) for model in models.values()):
        _upload(payloads, models, template, repository)
    else:
        _write(payloads, models, template)


def _write(payloads: DataFrame, models: Mapping[str, Registered], template: artifacts.Template) -> None:
    from pyspark.errors import PythonException
    from pyspark.sql import functions as F

    pairs = [(partition, model.model_id, model.location) for partition, model in models.items()]
    places = payloads.sparkSession.createDataFrame(pairs, "partition_id string, model_id string, location string")

    def write(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for batch in batches:
            for model_id, location, payload in zip(batch["model_id"], batch["location"], batch["payload"], strict=True):
                artifacts.write(location, template.files(model_id, bytes(payload)))
            yield batch[["partition_id"]]

    joined = payloads.select("partition_id", "payload").join(F.broadcast(places), "partition_id")
    try:
        written = joined.mapInPandas(write, "partition_id string").distinct().count()
    except PythonException as error:
        # What an executor said, without the traces of two languages around it.
        if said := re.search(r"TrackingError: (.*)", str(error)):
            raise TrackingError(said.group(1)) from error
        raise
    if written != len(models):
        raise TrackingError(f"{written} of {len(models)} models' files were written. Run the same command again")


def _upload(
    payloads: DataFrame, models: Mapping[str, Registered], template: artifacts.Template, repository: ModelRepository
) -> None:
    def one(row: Any) -> str:
        model = models[row["partition_id"]]
        repository.upload(model.model_id, template.files(model.model_id, bytes(row["payload"])), model.location)
        return str(row["partition_id"])

    wanted = payloads.select("partition_id", "payload").filter(payloads["partition_id"].isin(list(models)))
    done = set(repository.client.map(one, wanted.toLocalIterator()))
    if missing := models.keys() - done:
        raise TrackingError(f"{len(missing)} of {len(models)} models' files were not uploaded. Run the same command again")
