"""One MLflow as a place where models are kept: runs, logged models in bulk, search by tags.

Training writes to a development repository, promotion copies to a production one; both are this class.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from manymodels_spark.errors import TrackingError
from manymodels_spark.spec.model import Repository, Spec
from manymodels_spark.spec.source import resolve
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.client import Client

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

BATCH = 1000


@dataclass(frozen=True)
class ModelRecord:
    """One model to be logged: its name in the UI, tags, parameters and metrics."""

    partition_id: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Registered:
    """A model as the repository knows it."""

    model_id: str
    partition_id: str
    location: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    created: int
    ready: bool = True

    @property
    def sha256(self) -> str:
        """The checksum that its payload must have."""
        return self.tags.get(t.SHA256, "")


@dataclass
class ModelRepository:
    """The models of one spec in one MLflow."""

    client: Client
    experiment_id: str
    spec: str

    @classmethod
    def open(cls, where: Repository, spec: Spec) -> ModelRepository:
        """Connect and find or make the spec's experiment. Raises TrackingError before any work is done."""
        client = Client.connect(where.tracking, where.registry)
        name = where.experiment or spec.name
        found = client.call(client.mlflow.get_experiment_by_name, name)
        if found is None:
            root = artifact_root(where, client.uri)
            experiment_id = client.call(client.mlflow.create_experiment, name, artifact_location=root)
        elif found.lifecycle_stage != "active":
            raise TrackingError(f"experiment {name!r} was deleted in MLflow. Restore it or set mlflow.*.experiment")
        else:
            experiment_id = found.experiment_id
        return cls(client, str(experiment_id), spec.name)

    def start_run(self, name: str, tags: Mapping[str, str]) -> str:
        """Open the one MLflow run of a job, or find the one that an interrupted job opened; its id."""
        query = t.where(JOB=tags[t.JOB]) if t.JOB in tags else ""
        api = self.client.mlflow
        if query:
            found = self.client.call(api.search_runs, [self.experiment_id], query, max_results=1, kind="search")
            if found:
                return str(found[0].info.run_id)
        run = self.client.call(api.create_run, self.experiment_id, tags=dict(tags), run_name=name)
        return str(run.info.run_id)

    def end_run(self, run_id: str, metrics: Mapping[str, float], *, failed: bool = False) -> None:
        """Close a run with the job's own metrics."""
        api = self.client.mlflow
        self.client.call(api.log_batch, run_id, metrics=_metrics(metrics), kind="batch")
        self.client.call(api.set_terminated, run_id, "FAILED" if failed else "FINISHED")

    def create(self, records: Sequence[ModelRecord], run_id: str | None) -> dict[str, Registered]:
        """Create the models (pending, without artifacts), one call each; by partition id."""

        def one(record: ModelRecord) -> Registered:
            model = self.client.call(
                self.client.mlflow.create_logged_model,
                self.experiment_id,
                name=record.name,
                source_run_id=run_id,
                tags=dict(record.tags),
                params=dict(record.params),
                model_type="manymodels",
                safe=False,
            )
            return Registered(
                model.model_id, record.partition_id, model.artifact_location, record.tags, record.metrics,
                model.creation_timestamp,
            )

        return {record.partition_id: model for record, model in zip(records, self.client.map(one, records), strict=True)}

    def log_metrics(self, run_id: str, models: Iterable[tuple[str, Mapping[str, float]]]) -> None:
        """Metrics of many models in batches of 1,000 a call; NaN and infinite values are left out."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(name, value, now, 0, model_id=model_id, run_id=run_id)
            for model_id, values in models
            for name, value in values.items()
            if value == value and abs(value) != float("inf")
        ]
        chunks = [metrics[start : start + BATCH] for start in range(0, len(metrics), BATCH)]
        self.client.map(lambda chunk: self.client.call(self.client.mlflow.log_batch, run_id, chunk, kind="batch"), chunks)

    def finalize(self, model_ids: Iterable[str]) -> None:
        """Mark models as ready, one call each."""
        from mlflow.entities import LoggedModelStatus

        def one(model_id: str) -> None:
            self.client.call(self.client.mlflow.finalize_logged_model, model_id, LoggedModelStatus.READY)

        self.client.map(one, model_ids)

    def upload(self, model_id: str, files: Mapping[str, bytes]) -> None:
        """Send a model's files through MLflow, for artifact roots that only the server reaches."""
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            self.client.call(self.client.mlflow.log_model_artifacts, model_id, folder, kind="artifacts")

    def set_tags(self, model_id: str, tags: Mapping[str, str]) -> None:
        """Set or replace tags of one model."""
        self.client.call(self.client.mlflow.set_logged_model_tags, model_id, dict(tags))

    def delete(self, model_ids: Iterable[str]) -> None:
        """Delete models (their artifacts stay until `retention` removes them)."""
        self.client.map(lambda model_id: self.client.call(self.client.mlflow.delete_logged_model, model_id), model_ids)

    def search(self, query: str) -> Iterator[Registered]:
        """All models that a filter selects (see `tags.where`), page by page."""
        token = None
        while True:
            page = self.client.call(
                self.client.mlflow.search_logged_models,
                [self.experiment_id],
                filter_string=query,
                max_results=self.client.limits.page,
                page_token=token,
                kind="search",
            )
            yield from (_registered(model) for model in page)
            token = page.token
            if not token:
                return

    def adopt(self, job: str, wave: int) -> dict[str, Registered]:
        """What an interrupted or repeated wave left behind, one model a partition; surplus ones are deleted."""
        found: defaultdict[str, list[Registered]] = defaultdict(list)
        for model in self.search(t.where(SPEC=self.spec, JOB=job, WAVE=str(wave))):
            found[model.partition_id].append(model)
        for models in found.values():
            models.sort(key=lambda model: (model.created, model.model_id))
        self.delete(model.model_id for models in found.values() for model in models[1:])
        return {partition: models[0] for partition, models in found.items()}


def artifact_root(where: Repository, uri: str) -> str | None:
    """Where models' files go: as the spec says, beside an SQLite file, or as the server decides."""
    if where.artifacts:
        root = resolve(where.artifacts)
        return root if "://" in root or root.startswith("dbfs:") else Path(root).absolute().as_uri()
    if uri.startswith("sqlite:///"):
        database = Path(uri.removeprefix("sqlite:///")).absolute()
        return (database.parent / "artifacts" / database.stem).as_uri()
    return None


def _registered(model: LoggedModel) -> Registered:
    metrics = {metric.key: metric.value for metric in model.metrics or []}
    return Registered(
        model.model_id,
        model.tags.get(t.PARTITION, ""),
        model.artifact_location,
        model.tags,
        metrics,
        model.creation_timestamp,
        str(model.status) in ("READY", "LoggedModelStatus.READY"),
    )


def _metrics(values: Mapping[str, float]) -> list[object]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(name, float(value), now, 0) for name, value in values.items()]
