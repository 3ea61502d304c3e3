"""Pages of a search for logged models.

Over HTTP the answer is read as the plain JSON that it is: MLflow's own client turns it into messages and
entities first, which takes several times as long and is nothing that we need. Large results are read from
both ends at once, and each page on a connection of its own: a server's workers share new connections, whoever
is free takes the next, while one that is kept stays with its worker.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from importlib import import_module
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


@dataclass
class _Unread:
    """The creation times, in ms, between which models may not have been read yet; both are among them."""

    oldest: int = 0
    newest: int = END_OF_TIME
    all_read: bool = False

    def __bool__(self) -> bool:
        return not self.all_read and self.oldest <= self.newest

    def filter(self) -> str:
        return f"creation_timestamp >= {self.oldest} AND creation_timestamp <= {self.newest}"


def from_both_ends(client: Client, experiment_id: str, query: str) -> list[Registered]:
    """All models that a filter selects: one reader begins with the newest, another with the oldest, each asks
    for what neither has read yet, and they stop when nothing is left between them.
    """
    found: dict[str, Registered] = {}
    unread = _Unread()

    def read(end: str) -> None:
        time.sleep(HEAD_START if end == "oldest" else 0.0)
        while unread:
            asked, reached = f"{query} AND {unread.filter()}", getattr(unread, end)
            models, following = page(client, experiment_id, asked, None, oldest_first=end == "oldest")
            while following and models[-1].created == reached:  # more of one moment than a page holds
                more, following = page(client, experiment_id, asked, following, oldest_first=end == "oldest")
                models += more
            found.update({model.model_id: model for model in models})
            if not following:
                unread.all_read = True
                return
            setattr(unread, end, models[-1].created)

    client.map(read, ["newest", "oldest"])
    return list(found.values())


def search_logged_models(
    store: Any, experiment_id: str, query: str, size: int, token: str | None, order: list[dict[str, Any]]
) -> Page:
    """One request of MLflow's REST interface. Raises what MLflow's own client raises."""
    rest: Any = import_module("mlflow.utils.rest_utils")
    body = {"experiment_ids": [experiment_id], "filter": query, "max_results": size, "order_by": order}
    asked = body if token is None else {**body, "page_token": token}
    alone = {"Connection": "close"}
    response = rest.http_request(store.get_host_creds(), ENDPOINT, "POST", json=asked, extra_headers=alone)
    answer = _answer(rest, response)
    return [_of_json(model) for model in answer.get("models", [])], answer.get("next_page_token") or None


def _answer(rest: Any, response: Any) -> dict[str, Any]:
    """What a good answer says; MLflow, which reads it twice, is asked of the others alone and raises."""
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
