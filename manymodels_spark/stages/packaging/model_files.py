"""The files of many logged models, from payloads in the lake to MLflow's artifact root.

Executors write them where they reach the root; where only the tracking server does, they go through MLflow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pyspark.errors import PythonException
from pyspark.sql import DataFrame

from manymodels_spark.errors import TrackingError
from manymodels_spark.modeling.payload import sha256
from manymodels_spark.spark import credentials
from manymodels_spark.spark.storage import SCHEMES
from manymodels_spark.spark.workers import mapped
from manymodels_spark.tracking import artifacts
from manymodels_spark.tracking.repository import ModelRepository, Registered

if TYPE_CHECKING:
    import pyarrow as pa


def write_files(
    payloads: DataFrame,
    models: Mapping[str, Registered],
    template: artifacts.Template,
    repository: ModelRepository,
) -> set[str]:
    """Write every model's files. `payloads` has partition_id and payload of these models alone; `models` is
    by partition id.

    Gives the partitions whose payload is not what its checksum states: nothing is written of them. Raises
    TrackingError where another model's files are not written; written again, they are the same.
    """
    if not models:
        return set()
    if any(artifacts.by_server(model.location) for model in models.values()):
        found = _upload(payloads, models, template, repository)
    else:
        found = _write(payloads, models, template)
    if missing := models.keys() - found:
        raise TrackingError(
            f"{len(missing)} of {len(models)} models' files were not written. Run the same command again"
        )
    return {partition for partition, sound in found.items() if not sound}


def _write(
    payloads: DataFrame, models: Mapping[str, Registered], template: artifacts.Template
) -> dict[str, bool]:
    """By partition whether its payload was sound and is written now."""
    handed = credentials.hand_out() if _in_azure(models) else None
    places = {
        partition: (model.model_id, model.location, model.sha256) for partition, model in models.items()
    }

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        credentials.use(handed)
        for batch in batches:
            written = []
            for row in batch.to_pylist():
                model_id, location, expected = places[row["partition_id"]]
                written.append(
                    {"partition_id": row["partition_id"], "sound": _is_sound(row["payload"], expected)}
                )
                if written[-1]["sound"]:
                    artifacts.write(location, template.files(model_id, row["payload"]))
            yield _batch_of(written)

    checked = mapped(payloads.select("partition_id", "payload"), write, "partition_id string, sound boolean")
    try:
        return {row["partition_id"]: row["sound"] for row in checked.collect()}
    except PythonException as error:
        # An executor's message, without the traces of two languages around it.
        if found := re.search(r"TrackingError: (.*)", str(error)):
            raise TrackingError(found.group(1)) from error
        raise


def _upload(
    payloads: DataFrame,
    models: Mapping[str, Registered],
    template: artifacts.Template,
    repository: ModelRepository,
) -> dict[str, bool]:
    """The same, by the driver."""

    def one(row: Any) -> tuple[str, bool]:
        model, payload = models[row["partition_id"]], bytes(row["payload"])
        sound = _is_sound(payload, model.sha256)
        if sound:
            repository.upload(model.model_id, template.files(model.model_id, payload), model.location)
        return str(row["partition_id"]), sound

    chosen = payloads.select("partition_id", "payload").filter(payloads["partition_id"].isin(list(models)))
    return dict(repository.client.map(one, chosen.toLocalIterator()))


def _in_azure(models: Mapping[str, Registered]) -> bool:
    """Whether files go into Azure storage, for which executors sign in."""
    return any(model.location.startswith(SCHEMES) for model in models.values())


def _is_sound(payload: bytes, expected: str) -> bool:
    return not expected or sha256(payload) == expected


def _batch_of(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_pylist(rows, pa.schema([("partition_id", pa.string()), ("sound", pa.bool_())]))
