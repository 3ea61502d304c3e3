"""One MLflow as a place where models are kept: runs, logged models in bulk, search by tags.

Training writes to a development repository, promotion copies to a production one; both are this class.
"""

from __future__ import annotations

import math
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from manymodels_spark.errors import TrackingError
from manymodels_spark.tracking import artifacts, pages
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.client import Client, public
from manymodels_spark.tracking.embedded import few_collections, one_experiment
from manymodels_spark.tracking.experiment import reachable
from manymodels_spark.tracking.faults import LostAnswer
from manymodels_spark.tracking.records import ModelRecord, Registered

__all__ = ["ModelRecord", "ModelRepository", "Registered"]
BATCH = 1000


@dataclass
class ModelRepository:
    """The models of one spec in one MLflow."""

    client: Client
    experiment_id: str
    spec: str
    root: str | None = None
    """The spec's own artifact root, where the server's is one that nobody else reaches (Azure ML)."""

    def start_run(self, name: str, tags: Mapping[str, str]) -> str:
        """Open the one MLflow run of a job, or find the one that an interrupted job opened; its id."""
        api = self.client.mlflow
        tags = {t.BATCH: uuid.uuid4().hex, t.KIND: "job", **tags}
        query = t.where(KIND="job", JOB=tags[t.JOB]) if t.JOB in tags else t.where(BATCH=tags[t.BATCH])
        for _ in range(self.client.attempts):
            found = self.client.call(
                api.search_runs, [self.experiment_id], query, max_results=1, kind="search"
            )
            if found:
                return str(found[0].info.run_id)
            with suppress(LostAnswer):
                run = self.client.call(
                    api.create_run, self.experiment_id, tags=tags, run_name=name, safe=False
                )
                return str(run.info.run_id)
        raise TrackingError(
            f"MLflow at {public(self.client.uri)} loses every answer to create_run. See the server's log"
        )

    def run_artifacts(self, run_id: str) -> str:
        """Where the files of a run go."""
        if self.root is not None:
            return f"{self.root.rstrip('/')}/{self.experiment_id}/{run_id}"
        return reachable(
            str(self.client.call(self.client.mlflow.get_run, run_id).info.artifact_uri).rstrip("/")
        )

    def end_run(self, run_id: str, metrics: Mapping[str, float], *, failed: bool = False) -> None:
        """Close a run with the job's own metrics."""
        api = self.client.mlflow
        self.client.call(api.log_batch, run_id, metrics=_metrics(metrics), kind="batch")
        self.client.call(api.set_terminated, run_id, "FAILED" if failed else "FINISHED")

    def create(self, records: Sequence[ModelRecord], run_id: str | None) -> dict[str, Registered]:
        """Create the models (pending, without artifacts), one call each and each exactly once;
        by partition id.

        Where an answer was lost, the models of this call are looked up by a tag of its own:
        what is there is taken, what is missing is made, and what came twice is deleted.
        Raises TrackingError where the server stays away.
        """
        batch, made, doubt = uuid.uuid4().hex, dict[str, Registered](), self.client.limits.verify
        for _ in range(self.client.attempts):
            missing = [record for record in records if record.partition_id not in made]
            with one_experiment(self.client.mlflow):
                answers = self.client.map(lambda record: self._create_one(record, run_id, batch), missing)
            made |= {model.partition_id: model for model in answers if model is not None}
            doubt = doubt or None in answers
            if doubt:
                made |= self._settle(batch, made)
            if None not in answers:
                break
        if len(made) < len(records):
            raise TrackingError(
                f"{len(records) - len(made)} of {len(records)} models could not be created in MLflow at "
                f"{public(self.client.uri)}: it loses its answers. See the server's log, then run the same "
                "command again"
            )
        return {
            record.partition_id: replace(made[record.partition_id], metrics=record.metrics)
            for record in records
        }

    def _create_one(self, record: ModelRecord, run_id: str | None, batch: str) -> Registered | None:
        """The new model, or None where the answer was lost."""
        tags = {**record.tags, t.BATCH: batch}
        with suppress(LostAnswer):
            model = self.client.call(
                self.client.mlflow.create_logged_model,
                self.experiment_id,
                name=record.name,
                source_run_id=run_id,
                tags=tags,
                params=dict(record.params),
                model_type="manymodels",
                safe=False,
            )
            return Registered(
                model.model_id,
                record.partition_id,
                model.artifact_location,
                t.unpack(tags),
                record.metrics,
                model.creation_timestamp,
                ready=False,
            )
        return None

    def _settle(self, batch: str, known: Mapping[str, Registered]) -> dict[str, Registered]:
        """One model a partition of what a call of `create` left behind; duplicates are deleted."""
        return self._one_each(self.search(t.where(BATCH=batch)), known)

    def _one_each(
        self, found: Iterable[Registered], known: Mapping[str, Registered]
    ) -> dict[str, Registered]:
        models: defaultdict[str, list[Registered]] = defaultdict(list)
        for model in found:
            models[model.partition_id].append(model)
        chosen = {
            partition: known.get(partition) or min(some, key=lambda model: model.age)
            for partition, some in models.items()
        }
        self.delete(
            m.model_id for p, some in models.items() for m in some if m.model_id != chosen[p].model_id
        )
        return chosen

    def log_metrics(
        self, run_id: str, models: Iterable[tuple[str, Mapping[str, float]]], since: int | None = None
    ) -> None:
        """Metrics of many models in batches of 1,000 a call; NaN and infinite values are left out.

        They are of the moments that begin `since` (milliseconds of the epoch, by default now): the same
        models with the same values and moments again change nothing.
        """
        from mlflow.entities import Metric

        # Equal values of equal names at one moment are one row to the server, which then sorts out each batch
        # one by one: a moment of its own for every model spares that (3.6 times faster in the SQLite store).
        first = int(time.time() * 1000) if since is None else since
        metrics = [
            Metric(name, value, first + number, 0, model_id=model_id, run_id=run_id)
            for number, (model_id, values) in enumerate(models)
            for name, value in values.items()
            if math.isfinite(value)
        ]
        chunks = [metrics[start : start + BATCH] for start in range(0, len(metrics), BATCH)]
        with few_collections(self.client.mlflow):
            self.client.map(
                lambda chunk: self.client.call(self.client.mlflow.log_batch, run_id, chunk, kind="batch"),
                chunks,
            )

    def finalize(self, model_ids: Iterable[str]) -> None:
        """Mark models as ready, one call each."""
        from mlflow.entities import LoggedModelStatus

        def one(model_id: str) -> None:
            self.client.call(self.client.mlflow.finalize_logged_model, model_id, LoggedModelStatus.READY)

        self.client.map(one, model_ids)

    def upload(self, model_id: str, files: Mapping[str, bytes], location: str | None = None) -> None:
        """Send a model's files through MLflow, for artifact roots that only the server reaches.

        Where its artifact location is given, one call to MLflow is saved.
        """
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            if location is None:
                self.client.call(self.client.mlflow.log_model_artifacts, model_id, folder, kind="artifacts")
            else:
                root: Any = get_artifact_repository(location, tracking_uri=self.client.uri)
                self.client.call(root.log_artifacts, folder, kind="artifacts")

    def read(self, model: Registered) -> bytes:
        """A model's payload, checked against its tag. Raises PayloadError for a missing or altered one."""
        return artifacts.read_payload(model.location, model.sha256 or None, self.client.uri)

    def set_tags(self, model_id: str, tags: Mapping[str, str]) -> None:
        """Set or replace tags of one model."""
        self.client.call(self.client.mlflow.set_logged_model_tags, model_id, dict(tags))

    def register(self, name: str, tags: Mapping[str, str]) -> None:
        """Make a registered model; one that is there already is no error."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.call(self.client.mlflow.create_registered_model, name, tags=dict(tags))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    @property
    def registry_api(self) -> Any:
        """The client's part for the registry: the public one asks of each name
        whether it is a prompt, a call more.
        """
        part = getattr(self.client.mlflow, "_get_registry_client", None)
        return part() if callable(part) else self.client.mlflow

    def delete(self, model_ids: Iterable[str]) -> None:
        """Delete models (see `remove` for their artifacts); a missing one is no error."""
        self.client.map(
            lambda model_id: self._gone(self.client.mlflow.delete_logged_model, model_id), model_ids
        )

    def remove(self, models: Sequence[Registered]) -> None:
        """Delete models with their artifacts. The files go first:
        a removal that is cut short is seen and repeated.
        """

        def files(model: Registered) -> None:
            self.client.call(artifacts.delete, model.location, self.client.uri, kind="artifacts")

        self.client.map(files, models)
        self.delete(model.model_id for model in models)

    def _gone(self, function: Callable[..., object], *args: Any) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.call(function, *args)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise

    def search(self, query: str) -> Iterator[Registered]:
        """All models that a filter selects (see `tags.where`), page by page, the newest first."""
        token = None
        while True:
            models, token = pages.page(self.client, self.experiment_id, query, token)
            yield from models
            if not token:
                return

    def search_all(self, query: str) -> list[Registered]:
        """What `search` finds, as fast as the server gives it."""
        if self.client.limits.both_ends:
            return pages.from_both_ends(self.client, self.experiment_id, query)
        return list(self.search(query))

    def adopt(self, job: str, wave: int) -> dict[str, Registered]:
        """What an interrupted or repeated wave left behind, one model a partition;
        surplus ones are deleted.
        """
        return self._one_each(self.search(t.where(SPEC=self.spec, JOB=job, WAVE=str(wave))), {})


def _metrics(values: Mapping[str, float]) -> list[object]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(name, float(value), now, 0) for name, value in values.items()]
