"""Champions in a production MLflow, found by their tags. It connects when first asked, and fails fast."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from manymodels_spark.errors import PayloadError
from manymodels_spark.keys import PartitionKey
from manymodels_spark.serving.sources import Champion, SourceDown, words_of
from manymodels_spark.spec.model import Repository, Spec
from manymodels_spark.spec.source import resolve
from manymodels_spark.tracking import artifacts
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.client import Client
from manymodels_spark.tracking.repository import ModelRepository, Registered

# A person waits at the other end: two tries of a few seconds, then the next request tries again.
ATTEMPTS = 2
SECONDS = "5"
PAUSE = 2.0
LONGEST_PAUSE = 1.0


class MlflowChampions:
    """The champions of one spec in its production repository; reads only, never writes.

    After a failure further calls fail at once for `pause` seconds, so that a dead server costs no request more
    than the first its waiting time.
    """

    def __init__(self, where: Repository, spec: Spec, pause: float = PAUSE) -> None:
        self._where, self._spec, self._pause = where, spec, pause
        self._repository: ModelRepository | None = None
        self._lock = threading.Lock()
        self._failed_at = -pause
        self._why = ""

    @classmethod
    def of(cls, spec: Spec) -> MlflowChampions:
        """Over the spec's production MLflow."""
        return cls(spec.mlflow.production, spec)

    def find(self, partition_id: str) -> Champion | None:
        """See ChampionSource. One call of the server's search."""
        found = self._champions(PARTITION=partition_id)
        return max(found, key=lambda one: (one.created, one.model_id), default=None)

    def payload(self, champion: Champion) -> bytes:
        """See ChampionSource. Reads the artifact store, not the tracking server."""
        try:
            return artifacts.read_payload(champion.location, None)
        except PayloadError:
            raise
        except Exception as error:
            raise SourceDown(f"the artifact store did not answer ({type(error).__name__})") from error

    def search(self, text: str, limit: int) -> list[Champion]:
        """See ChampionSource. Words are looked for in the models' names: `store=3` as `store-3`."""
        slugs = filter(None, map(_slug, words_of(text)))
        return self._champions("".join(f" AND name ILIKE '%{slug}%'" for slug in slugs), limit)

    def ping(self) -> None:
        """See ChampionSource."""
        self._champions(" AND name ILIKE 'no-such-model'", 1)

    def _champions(self, more: str = "", limit: int | None = None, **tags: str) -> list[Champion]:
        query = t.where(SPEC=self._spec.name, ROLE=t.CHAMPION, **tags) + more

        def ask(repository: ModelRepository) -> list[Champion]:
            ready = (_champion(model) for model in repository.search(query) if model.ready)
            return list(islice(ready, limit))

        return self._ask(ask)

    def _ask(self, question: Callable[[ModelRepository], list[Champion]]) -> list[Champion]:
        """The answer, or SourceDown without waiting where the last question failed a moment ago."""
        if time.monotonic() - self._failed_at < self._pause:
            raise SourceDown(self._why)
        try:
            repository = self._connected()
            return [] if repository is None else question(repository)
        except Exception as error:
            self._failed_at = time.monotonic()
            self._why = f"MLflow did not answer ({type(error).__name__})"
            raise SourceDown(self._why) from error

    def _connected(self) -> ModelRepository | None:
        """The repository, None while the production MLflow holds no experiment of this spec."""
        with self._lock:
            if self._repository is None:
                self._repository = self._connect()
            return self._repository

    def _connect(self) -> ModelRepository | None:
        uri = resolve(self._where.tracking)
        if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
            # MLflow would make an empty database here, and a server that only reads must not.
            raise SourceDown("the production database does not exist yet")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", SECONDS)
        client = Client.connect(self._where.tracking, self._where.registry)
        client.attempts = ATTEMPTS
        # A server may ask for a minute's patience, which nobody at the other end has.
        client.sleep = lambda seconds: time.sleep(min(seconds, LONGEST_PAUSE))
        found = client.call(client.mlflow.get_experiment_by_name, self._where.experiment or self._spec.name)
        return None if found is None else ModelRepository(client, str(found.experiment_id), self._spec.name)


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
    """Text in the alphabet of the models' names, which is safe inside a filter."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:60].strip("-")
