"""Champions in a production MLflow, found by their tags in whatever form they have there: logged models,
versions of registered models, or runs (Azure ML). It connects when first asked, and fails fast.
"""

from __future__ import annotations

import os
import re
import threading
import time
import unicodedata
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path

from manymodels_spark.errors import PayloadError
from manymodels_spark.keys import PartitionKey
from manymodels_spark.serving.models.sources import Champion, SourceDown, matching, words_of
from manymodels_spark.spec.model import Spec
from manymodels_spark.spec.places import Repository
from manymodels_spark.spec.source import resolve
from manymodels_spark.tracking import artifacts
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.client import Client, server_uri
from manymodels_spark.tracking.embedded import SCHEME
from manymodels_spark.tracking.experiment import artifact_root, experiment_name
from manymodels_spark.tracking.limits import is_azureml
from manymodels_spark.tracking.registry import RegistryRepository
from manymodels_spark.tracking.repository import ModelRepository, Registered
from manymodels_spark.tracking.roles import standing_champion
from manymodels_spark.tracking.runs import RunRepository
from manymodels_spark.tracking.transport import watch

# A person waits at the other end: two tries of a few seconds, then the next request tries again.
ATTEMPTS = 2
SECONDS = "5"
PAUSE = 2.0
LONGEST_PAUSE = 1.0
# A search shows the first champions: a page for tens of thousands would take longer than anybody waits.
PAGE = 200
BULK_PAGE = 1000
# Finding so many one by one takes as long as a few pages of all.
FEW = 50


class MlflowChampions:
    """The champions of one spec in its production repository; reads only, never writes.

    After a failure further calls fail at once for `pause` seconds, so that a dead server costs no request
    more than the first its waiting time.
    """

    def __init__(self, where: Repository, spec: Spec, pause: float = PAUSE) -> None:
        self._where, self._spec, self._pause = where, spec, pause
        self._repositories: dict[bool, ModelRepository | None] = {}
        self._lock = threading.Lock()
        self._failed_at = -pause
        self._why = ""

    @classmethod
    def of(cls, spec: Spec) -> MlflowChampions:
        """Over the spec's production MLflow."""
        return cls(spec.mlflow.production, spec)

    def find(self, partition_id: str) -> Champion | None:
        """See ChampionSource. One call of the server's search."""
        query = self._query(PARTITION=partition_id)
        found = self._ask(lambda repository: _standing(repository.search(query)))
        return next(iter(found), None)

    def find_many(self, partition_ids: Collection[str]) -> dict[str, Champion]:
        """See ChampionSource. Few are asked for one by one, many by reading all of the spec's champions: a
        page of the server's search holds up to 1,000 of them.
        """
        if len(partition_ids) < FEW:
            found = ((one, self.find(one)) for one in partition_ids)
            return {one: champion for one, champion in found if champion is not None}
        asked = frozenset(partition_ids)
        return {one.partition_id: one for one in self._every() if one.partition_id in asked}

    def partition_ids(self) -> Collection[str]:
        """See ChampionSource. Reads all of the spec's champions."""
        return [one.partition_id for one in self._every()]

    def payload(self, champion: Champion) -> bytes:
        """See ChampionSource. Reads the artifact store, through the tracking server where only that reaches
        it.
        """
        try:
            return artifacts.read_payload(champion.location, None, server_uri(resolve(self._where.tracking)))
        except PayloadError:
            raise
        except Exception as error:
            raise SourceDown(f"the artifact store did not answer ({type(error).__name__})") from error

    def search(self, text: str, limit: int) -> list[Champion]:
        """See ChampionSource. Words are looked for in the models' names: `store=3` as `store-3`."""

        def ask(repository: ModelRepository) -> list[Champion]:
            if isinstance(repository, RunRepository):
                # Azure ML does not say whether its filters know the names of runs: the keys are looked at
                # here.
                return matching(_standing(repository.search_all(self._query())), text, limit)
            # Two champions of one partition, where a change was cut short, mostly lie on one page.
            return _standing(islice(repository.search(self._query() + self._named(text)), PAGE))[:limit]

        return self._ask(ask)

    def ping(self) -> None:
        """See ChampionSource."""
        self.find("no-such-partition")

    def _every(self) -> list[Champion]:
        query = self._query()
        return self._ask(lambda repository: _standing(repository.search_all(query)), in_bulk=True)

    @property
    def _registered(self) -> bool:
        return self._spec.promote.form == "registered_models"

    def _query(self, **tags: str) -> str:
        return t.where(SPEC=self._spec.name, ROLE=t.CHAMPION, **tags)

    def _named(self, text: str) -> str:
        """A filter for names that hold every word; a registered model's begins with the spec's, which is no
        part of the key.
        """
        before = f"{self._spec.name}--" if self._registered else ""
        return "".join(
            f" AND name ILIKE '{before}%{slug}%'" for slug in filter(None, map(_slug, words_of(text)))
        )

    def _ask(
        self, question: Callable[[ModelRepository], list[Champion]], in_bulk: bool = False
    ) -> list[Champion]:
        """The answer, or SourceDown without waiting where the last question failed a moment ago."""
        if time.monotonic() - self._failed_at < self._pause:
            raise SourceDown(self._why)
        try:
            repository = self._connected(in_bulk)
            return [] if repository is None else question(repository)
        except Exception as error:
            self._failed_at = time.monotonic()
            self._why = (
                str(error)
                if isinstance(error, SourceDown)
                else f"MLflow did not answer ({type(error).__name__})"
            )
            raise SourceDown(self._why) from error

    def _connected(self, in_bulk: bool) -> ModelRepository | None:
        """The repository, None while the production MLflow holds no experiment of this spec. One for bulk
        reads gets pages as large as the server gives them.
        """
        with self._lock:
            if self._repositories.get(in_bulk) is None:
                self._repositories[in_bulk] = self._connect(BULK_PAGE if in_bulk else PAGE)
            return self._repositories[in_bulk]

    def _connect(self, page: int) -> ModelRepository | None:
        client = self._client(page)
        if self._registered:
            # Versions are found whatever experiment they come from; only what makes them requires one.
            return RegistryRepository(client, "", self._spec.name, page=page)
        name = experiment_name(self._where, self._spec.name, client.uri)
        found = client.call(client.mlflow.get_experiment_by_name, name)
        if found is None:
            return None
        if is_azureml(client.uri):
            return RunRepository(
                client, str(found.experiment_id), self._spec.name, artifact_root(self._where, client.uri)
            )
        return ModelRepository(client, str(found.experiment_id), self._spec.name)

    def _client(self, page: int) -> Client:
        """A client that makes nothing and has little patience."""
        registry = self._where.registry if self._registered else None
        for written in filter(None, (self._where.tracking, registry)):
            uri = server_uri(resolve(written))
            if uri.startswith(SCHEME) and not Path(uri.removeprefix(SCHEME)).exists():
                # MLflow would make an empty database here, and a server that only reads must not.
                raise SourceDown("the production database does not exist yet")
            # MLflow's own requests are repeated for minutes, also those to a registry of its own.
            watch(uri)
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", SECONDS)
        client = Client.connect(self._where.tracking, self._where.registry)
        client.attempts = ATTEMPTS
        client.limits = replace(client.limits, page=min(page, client.limits.page))
        # A server may ask for a minute's patience, which nobody at the other end has.
        client.sleep = lambda seconds: time.sleep(min(seconds, LONGEST_PAUSE))
        return client


def _standing(models: Iterable[Registered]) -> list[Champion]:
    """The one champion of each partition, also where a change of champions is under way or was cut short."""
    by_partition: dict[str, list[Registered]] = {}
    for model in models:
        if model.ready:
            by_partition.setdefault(model.partition_id, []).append(model)
    standing = map(standing_champion, by_partition.values())
    return [_champion(model) for model in standing if model is not None]


def _champion(model: Registered) -> Champion:
    return Champion(
        partition_id=model.partition_id,
        model_id=model.model_id,
        sha256=model.sha256,
        location=model.location,
        key=_key(t.key_of(model.tags) if t.KEY in model.tags else None),
        family=model.tags.get(t.FAMILY, ""),
        created=model.created,
        metrics=dict(model.metrics),
    )


def _key(text: str | None) -> str | None:
    """The canonical key, None where it was too long for a tag."""
    try:
        return None if text is None else PartitionKey.parse(text).canonical
    except ValueError:
        return None


def _slug(text: str) -> str:
    """Text in the alphabet of the models' names (see `PartitionKey.slug`), which is safe inside a filter."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:60].strip("-")
