"""The files of many logged models, from payloads in the lake to MLflow's artifact root.

Executors write them where they reach the root; where only the tracking server does, they go through MLflow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from manymodels_spark.errors import TrackingError
from manymodels_spark.tracking import artifacts
from manymodels_spark.tracking.repository import ModelRepository, Registered
from manymodels_spark.workers import mapped

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame


def write_files(
    payloads: DataFrame, models: Mapping[str, Registered], template: artifacts.Template, repository: ModelRepository
) -> None:
    """Write every model's files. `payloads` has partition_id and payload of these models alone; `models` is by partition id.

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

    places = {partition: (model.model_id, model.location) for partition, model in models.items()}

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in batch.to_pylist():
                model_id, location = places[row["partition_id"]]
                artifacts.write(location, template.files(model_id, row["payload"]))
            yield batch.select(["partition_id"])

    told = mapped(payloads.select("partition_id", "payload"), write, "partition_id string")
    try:
        written = {row["partition_id"] for row in told.collect()}
    except PythonException as error:
        # What an executor said, without the traces of two languages around it.
        if said := re.search(r"TrackingError: (.*)", str(error)):
            raise TrackingError(said.group(1)) from error
        raise
    if missing := places.keys() - written:
        raise TrackingError(f"{len(missing)} of {len(places)} models' files were not written. Run the same command again")


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
