"""Pages of a search for logged models.

Over HTTP the answer is read as the plain JSON that it is: MLflow's own client turns it into messages and entities
first, which takes several times as long and is nothing that we need. Large results are read from both ends at once.
"""

from __future__ import annotations

import math
from importlib import import_module
from typing import TYPE_CHECKING, Any

import orjson

from manymodels_spark.tracking.client import Client
from manymodels_spark.tracking.records import Registered, registered

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

ENDPOINT = "/api/2.0/mlflow/logged-models/search"
READY = ("READY", "LOGGED_MODEL_READY", "LoggedModelStatus.READY")
Page = tuple[list[Registered], str | None]


def page(client: Client, experiment_id: str, query: str, token: str | None, *, oldest_first: bool = False) -> Page:
    """One page of the models that a filter selects, by creation time, and the token of the next page."""
    order = [{"field_name": "creation_timestamp", "ascending": oldest_first}]
    store = getattr(getattr(client.mlflow, "_tracking_client", None), "store", None)
    if hasattr(store, "get_host_creds"):
        return client.call(search_logged_models, store, experiment_id, query, client.limits.page, token, order, kind="search")
    found = client.call(
        client.mlflow.search_logged_models, [experiment_id], filter_string=query, max_results=client.limits.page,
        order_by=order, page_token=token, kind="search",
    )
    return [_of_entity(model) for model in found], found.token or None


def from_both_ends(client: Client, experiment_id: str, query: str) -> list[Registered]:
    """All models that a filter selects: one reader begins with the newest, another with the oldest, and they stop when
    they have met. With one thread the first reads them all.
    """
    found: dict[str, Registered] = {}
    # Each reader has seen all that is older (newer) than this: equal times may be cut by a page.
    reached = {True: -math.inf, False: math.inf}

    def read(oldest_first: bool) -> None:
        following: str | None = None
        while reached[True] <= reached[False]:
            models, following = page(client, experiment_id, query, following, oldest_first=oldest_first)
            found.update({model.model_id: model for model in models})
            if not following:
                reached[oldest_first] = math.inf if oldest_first else -math.inf
                return
            reached[oldest_first] = models[-1].created

    client.map(read, [False, True] if client.limits.threads > 1 else [False])
    return list(found.values())


def search_logged_models(
    store: Any, experiment_id: str, query: str, size: int, token: str | None, order: list[dict[str, Any]]
) -> Page:
    """One request of MLflow's REST interface. Raises what MLflow's own client raises."""
    rest: Any = import_module("mlflow.utils.rest_utils")
    body = {"experiment_ids": [experiment_id], "filter": query, "max_results": size, "order_by": order}
    asked = body if token is None else {**body, "page_token": token}
    response = rest.verify_rest_response(rest.http_request(store.get_host_creds(), ENDPOINT, "POST", json=asked), ENDPOINT)
    answer = orjson.loads(response.text)
    return [_of_json(model) for model in answer.get("models", [])], answer.get("next_page_token") or None


def _of_json(model: dict[str, Any]) -> Registered:
    info, data = model["info"], model.get("data", {})
    return registered(
        info["model_id"], info["artifact_uri"], {tag["key"]: tag["value"] for tag in info.get("tags", [])},
        {metric["key"]: metric["value"] for metric in data.get("metrics", [])},
        int(info["creation_timestamp_ms"]), str(info.get("status")) in READY,
    )


def _of_entity(model: LoggedModel) -> Registered:
    metrics = {metric.key: metric.value for metric in model.metrics or []}
    return registered(
        model.model_id, model.artifact_location, model.tags, metrics, model.creation_timestamp, str(model.status) in READY
    )
