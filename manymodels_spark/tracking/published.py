"""One registered model with a version per state of its content:
aliases name which state is current and which was before.

The content's digest stands in a tag of the version, so publishing a state that was there before moves the
aliases back to its version instead of making another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from manymodels_spark.errors import TrackingError
from manymodels_spark.tracking import artifacts
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.client import public
from manymodels_spark.tracking.faults import LostAnswer
from manymodels_spark.tracking.repository import ModelRepository

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

R = TypeVar("R")
PAGE = 1000
FOLDER = "published"


@dataclass(frozen=True)
class Published:
    """The versions of one registered model in a production repository."""

    repository: ModelRepository
    name: str

    def at(self, alias: str) -> ModelVersion | None:
        """The version of an alias, None where there is none."""
        from mlflow.exceptions import MlflowException

        try:
            found: ModelVersion = self._call(self._api.get_model_version_by_alias, self.name, alias)
            return found
        except MlflowException as error:
            # A missing alias is a wrong parameter to the open-source server, a missing model is no resource.
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"):
                return None
            raise

    def versions(self) -> list[ModelVersion]:
        """All versions. The filter is one that Unity Catalog takes, too."""
        found, token = [], None
        while True:
            search = self.repository.client.mlflow.search_model_versions
            page = self._call(
                search, f"name='{self.name}'", max_results=PAGE, page_token=token, kind="search"
            )
            found += list(page)
            token = page.token
            if not token:
                return found

    def publish(self, digest: str, files: Callable[[], Mapping[str, bytes]], tags: Mapping[str, str]) -> bool:
        """Make the version of this content the champion; whether anything changed. `files` is asked for only
        where no version has the content yet.
        """
        current = self.at(t.CHAMPION)
        if current is not None and current.tags.get(t.DIGEST) == digest:
            return False
        version = self._with(digest) or self._create(digest, files(), tags)
        # A reader finds a champion at every moment; the one before is named before it is left.
        for alias, target in ((t.PREVIOUS, current), (t.CHAMPION, version)):
            if target is not None:
                self._call(self._api.set_registered_model_alias, self.name, alias, target.version)
        return True

    def read(self, version: ModelVersion, name: str) -> bytes:
        """One file of a version. Raises PayloadError where it is missing."""
        return self._call(
            artifacts.read_file, str(version.source), name, self.repository.client.uri, kind="artifacts"
        )

    def remove(self, version: ModelVersion) -> None:
        """Delete a version with its files."""
        self._call(artifacts.delete, str(version.source), self.repository.client.uri, kind="artifacts")
        self._call(self.repository.client.mlflow.delete_model_version, self.name, version.version)

    def _create(self, digest: str, files: Mapping[str, bytes], tags: Mapping[str, str]) -> ModelVersion:
        repository = self.repository
        run = repository.start_run(f"{self.name} {digest[:12]}", {t.JOB: f"{self.name} {digest}", **tags})
        source = f"{repository.run_artifacts(run)}/{FOLDER}"
        if artifacts.by_server(source):
            repository.upload("", files, source)
        else:
            artifacts.write(source, dict(files))
        repository.register(self.name, {t.ROUTE_OF: repository.spec})
        for _ in range(repository.client.attempts):
            with suppress(LostAnswer):
                made = self._call(
                    repository.client.mlflow.create_model_version,
                    self.name,
                    source,
                    run_id=run,
                    tags={t.DIGEST: digest, **tags},
                    await_creation_for=0,
                    safe=False,
                )
                self._call(repository.client.mlflow.set_terminated, run, "FINISHED")
                return made
            if found := self._with(digest):
                return found
        raise TrackingError(
            f"MLflow at {public(repository.client.uri)} loses every answer to create_model_version"
        )

    def _with(self, digest: str) -> ModelVersion | None:
        same = [version for version in self.versions() if version.tags.get(t.DIGEST) == digest]
        return max(same, key=lambda version: int(version.version), default=None)

    @property
    def _api(self) -> Any:
        return self.repository.registry_api

    def _call(self, function: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        return self.repository.client.call(function, *args, **kwargs)
