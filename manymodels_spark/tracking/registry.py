"""The other form of a production repository: a registered model per partition,
a version per promotion, aliases.

It offers what `ModelRepository` offers, so that promotion, index, rollback and retention need not know the
form. A model's id is `name/version`: `models:/<id>` loads it, and `models:/<name>@champion` whatever is
champion now. The tags of the versions are the truth and are searched in bulk; the aliases follow them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from manymodels_spark.errors import TrackingError
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.client import public
from manymodels_spark.tracking.faults import LostAnswer
from manymodels_spark.tracking.records import ModelRecord, Registered, registered
from manymodels_spark.tracking.repository import ModelRepository

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

PAGE = 10_000
ALIASES = (t.CHAMPION, t.PREVIOUS)


@dataclass
class RegistryRepository(ModelRepository):
    """The production models of one spec as versions of registered models.
    `page` is how many a search asks for at once.
    """

    page: int = PAGE
    _names: set[str] = field(default_factory=set)
    _roles: dict[str, str] = field(default_factory=dict)
    _locations: dict[str, str] = field(default_factory=dict)

    def create(self, records: Sequence[ModelRecord], run_id: str | None) -> dict[str, Registered]:
        """A new version for each record, staged until `finalize`; by partition id. Each is made exactly once.

        The artifacts belong below those of the run, which a server demands of a version's source.
        """
        if run_id is None:
            raise TrackingError("registered models require the run of their promotion")
        root = self.run_artifacts(run_id)
        self.client.map(self._name, {self.name_of(record) for record in records} - self._names)
        batch, made = uuid.uuid4().hex, dict[str, Registered]()
        for _ in range(self.client.attempts):
            missing = [record for record in records if record.partition_id not in made]
            answers = self.client.map(lambda record: self._version(record, run_id, root, batch), missing)
            made |= {model.partition_id: model for model in answers if model is not None}
            if None not in answers:
                break
            made |= self._settle(batch, made)
        if len(made) < len(records):
            raise TrackingError(
                f"{len(records) - len(made)} of {len(records)} versions could not be created in MLflow at "
                f"{public(self.client.uri)}: it loses its answers. See the server's log, then run again"
            )
        for record in records:
            model = made[record.partition_id]
            self._roles[model.model_id] = record.tags.get(t.ROLE, t.CHAMPION)
            self._locations[model.model_id] = model.location
        return {
            record.partition_id: replace(made[record.partition_id], metrics=record.metrics)
            for record in records
        }

    def name_of(self, record: ModelRecord) -> str:
        """The registered model of a partition: spec, slug and id; it never changes."""
        return f"{self.spec}--{record.name}"

    def log_metrics(
        self, run_id: str, models: Iterable[tuple[str, Mapping[str, float]]], since: int | None = None
    ) -> None:
        """Nothing to do: a version has no metrics of its own, its tags carry them since `create`."""

    def finalize(self, model_ids: Iterable[str]) -> None:
        """Give staged versions the role that they were created for, and its alias."""
        self.client.map(lambda model_id: self.set_tags(model_id, {t.ROLE: self._roles[model_id]}), model_ids)

    def upload(self, model_id: str, files: Mapping[str, bytes], location: str | None = None) -> None:
        """Send a version's files to its source, for artifact roots that only the server reaches."""
        super().upload(model_id, files, location or self._locations[model_id])

    def set_tags(self, model_id: str, tags: Mapping[str, str]) -> None:
        """Set or replace tags of a version, one call each; a role that is an alias moves the alias first, for
        the tag says that it is done.

        Where a version is rolled back its predecessor is champion again,
        and until the next promotion none is `previous`.
        """
        name, version = _parts(model_id)
        api = self.registry_api
        if (role := tags.get(t.ROLE)) in ALIASES:
            self.client.call(api.set_registered_model_alias, name, role, version)
        if role == t.ROLLED_BACK:
            self._gone(api.delete_registered_model_alias, name, t.PREVIOUS)
        for key, value in tags.items():
            self.client.call(api.set_model_version_tag, name, version, key, value)

    def delete(self, model_ids: Iterable[str]) -> None:
        """Delete versions; a missing one is no error."""
        self.client.map(
            lambda model_id: self._gone(self.client.mlflow.delete_model_version, *_parts(model_id)), model_ids
        )

    def search(self, query: str) -> Iterator[Registered]:
        """All versions that a filter selects (see `tags.where`), `page` by page."""
        token = None
        while True:
            page = self.client.call(
                self.client.mlflow.search_model_versions,
                query,
                max_results=self.page,
                page_token=token,
                kind="search",
            )
            for version in page:
                self._names.add(version.name)
                yield _registered(version)
            token = page.token
            if not token:
                return

    def search_all(self, query: str) -> list[Registered]:
        """What `search` finds: its pages are large."""
        return list(self.search(query))

    def _name(self, name: str) -> None:
        self.register(name, {t.SPEC: self.spec})
        self._names.add(name)

    def _version(self, record: ModelRecord, run_id: str, root: str, batch: str) -> Registered | None:
        """The new version, or None where the answer was lost."""
        tags = {**record.tags, t.BATCH: batch, t.ROLE: t.STAGED}
        if t.FACTS not in tags:
            tags[t.METRICS] = json.dumps(dict(record.metrics), sort_keys=True)
        location = f"{root}/models/{record.partition_id}"
        with suppress(LostAnswer):
            version = self.client.call(
                self.client.mlflow.create_model_version,
                self.name_of(record),
                location,
                run_id=run_id,
                tags=tags,
                await_creation_for=0,
                safe=False,
            )
            return replace(
                _registered(version), partition_id=record.partition_id, tags=t.unpack(tags), location=location
            )
        return None


def _registered(version: ModelVersion) -> Registered:
    tags = dict(version.tags)
    ready = tags.get(t.ROLE) != t.STAGED and str(version.status) == "READY"
    model_id, created = f"{version.name}/{version.version}", int(version.creation_timestamp or 0)
    return registered(model_id, str(version.source), tags, {}, created, ready)


def _parts(model_id: str) -> tuple[str, str]:
    name, _, version = model_id.rpartition("/")
    return name, version
