"""Pages of a search for logged models.

Over HTTP the answer is read as the plain JSON that it is: MLflow's own client turns it into messages and
entities first, which takes several times as long and is nothing that we need. Large results are read from
both ends at once, and each page on a connection of its own: a server's workers share new connections, whoever
is free takes the next, while one that is kept stays with its worker.
"""

from __future__ import annotations

import time
from contextlib import suppress
from http import HTTPStatus
from importlib import import_module
from threading import Lock
from typing import TYPE_CHECKING, Any

import orjson

from manymodels_spark.tracking.client import Client
from manymodels_spark.tracking.records import Registered, registered

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

ENDPOINT = "/api/2.0/mlflow/logged-models/search"
READY = ("READY", "LOGGED_MODEL_READY", "LoggedModelStatus.READY")
END_OF_TIME = 2**62
# Two connections that come at once are taken by the same worker of a server, and later ones then go as they
# did.
HEAD_START = 0.1
OLDEST, NEWEST = "oldest", "newest"
Page = tuple[list[Registered], str | None]


def page(
    client: Client, experiment_id: str, query: str, token: str | None, *, oldest_first: bool = False
) -> Page:
    """One page of the models that a filter selects, by creation time, and the token of the next page."""
    order = [{"field_name": "creation_timestamp", "ascending": oldest_first}]
    store = getattr(getattr(client.mlflow, "_tracking_client", None), "store", None)
    if hasattr(store, "get_host_creds"):
        return client.call(
            search_logged_models, store, experiment_id, query, client.limits.page, token, order, kind="search"
        )
    found = client.call(
        client.mlflow.search_logged_models,
        [experiment_id],
        filter_string=query,
        max_results=client.limits.page,
        order_by=order,
        page_token=token,
        kind="search",
    )
    return [_of_entity(model) for model in found], found.token or None


class _Unread:
    """What two readers have left between them, by creation time in ms; both ends may still be unread.

    Each reader has a cursor of its own and moves only that;
    the lock makes a cursor's move and a look at both one step each.
    """

    def __init__(self) -> None:
        self._cursors = {OLDEST: 0, NEWEST: END_OF_TIME}
        self._done = False
        self._lock = Lock()
        self.models: dict[str, Registered] = {}

    def filter(self) -> str | None:
        """The part of a search's filter that selects what is unread; None where nothing is."""
        with self._lock:
            oldest, newest = self._cursors[OLDEST], self._cursors[NEWEST]
            if self._done or oldest > newest:
                return None
            return f"creation_timestamp >= {oldest} AND creation_timestamp <= {newest}"

    def cursor(self, end: str) -> int:
        """Where the reader that began at `end` has arrived."""
        with self._lock:
            return self._cursors[end]

    def add(self, end: str, models: list[Registered], *, last: bool) -> None:
        """What the reader that began at `end` has read; `last` where no more follows."""
        with self._lock:
            self.models.update({model.model_id: model for model in models})
            self._done = self._done or last
            if not last:
                self._cursors[end] = models[-1].created


def from_both_ends(client: Client, experiment_id: str, query: str) -> list[Registered]:
    """All models that a filter selects.

    One reader begins with the newest, another with the oldest; each asks for what neither has read yet, and
    they stop when nothing is left between them.
    """
    unread = _Unread()

    def read(end: str) -> None:
        time.sleep(HEAD_START if end == OLDEST else 0.0)
        while (between := unread.filter()) is not None:
            asked, reached = f"{query} AND {between}", unread.cursor(end)
            models, following = page(client, experiment_id, asked, None, oldest_first=end == OLDEST)
            while following and models[-1].created == reached:  # more of one moment than a page holds
                more, following = page(client, experiment_id, asked, following, oldest_first=end == OLDEST)
                models += more
            unread.add(end, models, last=not following)

    client.map(read, [NEWEST, OLDEST])
    return list(unread.models.values())


def search_logged_models(
    store: Any, experiment_id: str, query: str, size: int, token: str | None, order: list[dict[str, Any]]
) -> Page:
    """One request of MLflow's REST interface. Raises what MLflow's own client raises."""
    rest: Any = import_module("mlflow.utils.rest_utils")
    body = {"experiment_ids": [experiment_id], "filter": query, "max_results": size, "order_by": order}
    asked = body if token is None else {**body, "page_token": token}
    headers = {"Connection": "close"}
    response = rest.http_request(store.get_host_creds(), ENDPOINT, "POST", json=asked, extra_headers=headers)
    answer = _answer(rest, response)
    return [_of_json(model) for model in answer.get("models", [])], answer.get("next_page_token") or None


def _answer(rest: Any, response: Any) -> dict[str, Any]:
    """What a good answer holds. MLflow reads every other one, and raises."""
    if response.status_code == HTTPStatus.OK:
        with suppress(orjson.JSONDecodeError):
            return dict(orjson.loads(response.content))
    return dict(rest.verify_rest_response(response, ENDPOINT).json())


def _of_json(model: dict[str, Any]) -> Registered:
    info, data = model["info"], model.get("data", {})
    return registered(
        info["model_id"],
        info["artifact_uri"],
        {tag["key"]: tag["value"] for tag in info.get("tags", [])},
        {metric["key"]: metric["value"] for metric in data.get("metrics", [])},
        int(info["creation_timestamp_ms"]),
        str(info.get("status")) in READY,
    )


def _of_entity(model: LoggedModel) -> Registered:
    metrics = {metric.key: metric.value for metric in model.metrics or []}
    return registered(
        model.model_id,
        model.artifact_location,
        model.tags,
        metrics,
        model.creation_timestamp,
        str(model.status) in READY,
    )
