"""Models as runs, for servers that have no logged models (Azure ML):
one run per partition, below the job's run.

It offers what `ModelRepository` offers. Three calls a model:
create the run with its tags, one `log_batch` for its parameters and metrics, and its end.
A model's id is its run's id; the files lie in the folder `model` of the run's artifacts,
or below the spec's own artifact root where the server's is not one that executors reach.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.experiment import reachable
from manymodels_spark.tracking.faults import LostAnswer
from manymodels_spark.tracking.records import ModelRecord, Registered, registered
from manymodels_spark.tracking.repository import ModelRepository

if TYPE_CHECKING:
    from mlflow.entities import Run

FOLDER = "model"
PARENT = "mlflow.parentRunId"


@dataclass
class RunRepository(ModelRepository):
    """The models of one spec as runs of one experiment."""

    _params: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def log_metrics(
        self, run_id: str, models: Iterable[tuple[str, Mapping[str, float]]], since: int | None = None
    ) -> None:
        """Metrics and parameters, one call a model; values that are no finite numbers are left out."""
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000) if since is None else since

        def one(model: tuple[str, Mapping[str, float]]) -> None:
            model_id, values = model
            metrics = [
                Metric(name, float(value), now, 0)
                for name, value in values.items()
                if abs(value) < float("inf")
            ]
            params = [Param(name, value) for name, value in self._params.get(model_id, {}).items()]
            self.client.call(self.client.mlflow.log_batch, model_id, metrics, params, kind="batch")

        self.client.map(one, models)

    def finalize(self, model_ids: Iterable[str]) -> None:
        """End the runs, one call each."""
        end = self.client.mlflow.set_terminated
        self.client.map(lambda model_id: self.client.call(end, model_id, "FINISHED"), model_ids)

    def set_tags(self, model_id: str, tags: Mapping[str, str]) -> None:
        """Set or replace tags of one model in one call."""
        from mlflow.entities import RunTag

        new = [RunTag(key, value) for key, value in tags.items()]
        self.client.call(self.client.mlflow.log_batch, model_id, tags=new, kind="batch")

    def delete(self, model_ids: Iterable[str]) -> None:
        """Delete the runs; a missing one is no error."""
        self.client.map(lambda model_id: self._gone(self.client.mlflow.delete_run, model_id), model_ids)

    def search(self, query: str) -> Iterator[Registered]:
        """All models that a filter selects (see `tags.where`), page by page;
        the jobs' own runs are left out.
        """
        token = None
        while True:
            page = self.client.call(
                self.client.mlflow.search_runs,
                [self.experiment_id],
                query,
                max_results=self.client.limits.page,
                page_token=token,
                kind="search",
            )
            yield from (self._registered(run) for run in page if t.PARTITION in run.data.tags)
            token = page.token
            if not token:
                return

    def search_all(self, query: str) -> list[Registered]:
        """What `search` finds."""
        return list(self.search(query))

    def _create_one(self, record: ModelRecord, run_id: str | None, batch: str) -> Registered | None:
        tags = {**record.tags, t.BATCH: batch} | ({PARENT: run_id} if run_id else {})
        with suppress(LostAnswer):
            run = self.client.call(
                self.client.mlflow.create_run, self.experiment_id, tags=tags, run_name=record.name, safe=False
            )
            self._params[run.info.run_id] = record.params
            return self._registered(run)
        return None

    def _registered(self, run: Run) -> Registered:
        info, data = run.info, run.data
        ready = info.status == "FINISHED"
        return registered(
            str(info.run_id), self._location(run), data.tags, data.metrics, int(info.start_time), ready
        )

    def _location(self, run: Run) -> str:
        if self.root is not None:
            return f"{self.root.rstrip('/')}/{self.experiment_id}/{run.info.run_id}/{FOLDER}"
        return f"{reachable(str(run.info.artifact_uri).rstrip('/'))}/{FOLDER}"
