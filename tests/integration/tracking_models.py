"""Real fitted models for tests of tracking: one payload
per partition, and their way into MLflow without Spark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from builders import days, make_spec

from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.payload import sha256
from manymodels_spark.spec.model import Spec
from manymodels_spark.spec.places import Repository
from manymodels_spark.stages.packaging.requirements import template_of
from manymodels_spark.tracking import artifacts
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.opening import open_repository
from manymodels_spark.tracking.repository import ModelRecord, ModelRepository, Registered

SEASON = 7


def keys(count: int) -> list[PartitionKey]:
    """`count` partitions; items have characters that a URL or a path would trip over."""
    return [PartitionKey.of({"store": number % 5, "item": f"a/b 'é' {number}"}) for number in range(count)]


def payloads(spec: Spec, partitions: Sequence[PartitionKey]) -> dict[str, bytes]:
    """The payload of each partition's model by its id: partition number n repeats n, n + 1, ... n + 6."""
    found = {}
    for number, key in enumerate(partitions):
        units = [float(number + day % SEASON) for day in range(SEASON * 6)]
        result = fit_partition(pd.DataFrame({"date": days(len(units)), "units": units}), spec, key)
        assert result.payload is not None, result
        found[key.id] = result.payload
    return found


def records(
    spec: Spec, partitions: Sequence[PartitionKey], sealed: Mapping[str, bytes], job: str
) -> list[ModelRecord]:
    """What is logged of each of them; `wape` is the partition's number divided by 100."""
    return [
        ModelRecord(
            key.id,
            f"{key.slug}--{key.id}",
            {
                **t.partition_tags(key),
                t.SPEC: spec.name,
                t.JOB: job,
                t.WAVE: "1",
                t.FAMILY: "seasonal_naive",
                t.SHA256: sha256(sealed[key.id]),
                t.ROLE: t.CHAMPION,
            },
            {"family": "seasonal_naive"},
            {"wape": number / 100, "rows": 42.0},
        )
        for number, key in enumerate(partitions)
    ]


def log_all(
    repository: ModelRepository,
    spec: Spec,
    partitions: Sequence[PartitionKey],
    job: str,
    *,
    proxied: bool = False,
) -> dict[str, Registered]:
    """One run with a finished model per partition, in
    the order in which training does it; by partition id.
    """
    sealed, template = payloads(spec, partitions), template_of(spec)
    run = repository.start_run(f"{spec.name} {job}", {t.SPEC: spec.name, t.JOB: job})
    models = repository.create(made := records(spec, partitions, sealed, job), run)

    def write(model: Registered) -> None:
        files = template.files(model.model_id, sealed[model.partition_id])
        if proxied:
            repository.upload(model.model_id, files, model.location)
        else:
            artifacts.write(model.location, files)

    repository.client.map(write, models.values())
    repository.log_metrics(run, [(models[record.partition_id].model_id, record.metrics) for record in made])
    repository.finalize(model.model_id for model in models.values())
    repository.end_run(run, {"partitions": float(len(models))})
    return models


def new_repository(folder: Path, url: str) -> tuple[ModelRepository, Spec]:
    """The repository of the tests' spec on a server, with that spec."""
    where = {"tracking": url}
    spec = make_spec(folder, mlflow={"development": where, "production": where})
    return open_repository(Repository(tracking=url), spec), spec
