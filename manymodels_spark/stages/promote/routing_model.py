"""The model that routes: one registered model per spec, `models:/SPEC@champion`, that answers for every
partition.

It gets a version whenever the champions changed. Its content follows from the champions' tags alone, so it
can be made again at any time; a state that was there before is found by its digest, and only the aliases
move.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from manymodels_spark.errors import PayloadError
from manymodels_spark.flavor.route_table import TABLE, Route, Routes, Shape, kinds_of
from manymodels_spark.keys import PartitionKey, readable
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.packaging.requirements import routing_template
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.published import Published
from manymodels_spark.tracking.repository import ModelRepository, Registered

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

ALIASES = (t.CHAMPION, t.PREVIOUS)


def publish(repository: ModelRepository, spec: Spec, champions: Iterable[Registered]) -> str | None:
    """Make the routing model answer with these champions; its name, or None where the spec asks for none or
    there are none.

    Takes a few calls however many champions there are, and one where nothing changed.
    """
    model, routes = routing_model(repository, spec), routes_of(spec, champions)
    if model is None or not len(routes):
        return None
    model.publish(routes.digest, lambda: files_of(spec, routes), {t.PARTITIONS: str(len(routes))})
    return model.name


def routing_model(repository: ModelRepository, spec: Spec) -> Published | None:
    """The spec's routing model in its production repository; None where `promote.route` is false, or names
    none and the registry requires a name of its own form.
    """
    route = spec.promote.route
    if isinstance(route, str):
        return Published(repository, route)
    return Published(repository, spec.name) if route and repository.client.limits.free_names else None


def routes_of(spec: Spec, champions: Iterable[Registered]) -> Routes:
    """Where each champion is, from its tags."""
    routes = [
        Route(model.partition_id, t.key_of(model.tags), model.model_id, model.sha256, model.location)
        for model in champions
    ]
    kinds = kinds_of(spec.partition_by, (route.key for route in routes))
    time = spec.columns.time if spec.task == "forecast" else None
    levels = tuple(spec.backtest.intervals)
    return Routes.of(
        Shape(spec.name, spec.task, tuple(spec.partition_by), kinds, time, spec.horizon, levels), routes
    )


def files_of(spec: Spec, routes: Routes) -> dict[str, bytes]:
    """All files of the routing model, as MLflow loads them."""
    own = routes.files()
    return {**own, **routing_template(spec, _example(spec, routes)).around(None, sum(map(len, own.values())))}


def in_use(repository: ModelRepository, spec: Spec) -> set[str]:
    """The ids of the models to which the routing model leads under its aliases: they must not be deleted."""
    model = routing_model(repository, spec)
    return set() if model is None else led_to(model, [model.at(alias) for alias in ALIASES])


def forget(repository: ModelRepository, spec: Spec, gone: set[str]) -> None:
    """Delete the routing model's versions that lead to models which are gone; those under an alias never
    do.
    """
    model = routing_model(repository, spec)
    if model is None or not gone:
        return
    named = {version.version for alias in ALIASES if (version := model.at(alias)) is not None}
    for version in model.versions():
        if version.version not in named and _leads_to_any(model, version, gone):
            model.remove(version)


def _leads_to_any(model: Published, version: ModelVersion, gone: set[str]) -> bool:
    try:
        return bool(led_to(model, [version]) & gone)
    except PayloadError:  # its files are gone: a removal was cut short
        return True


def led_to(model: Published, versions: Iterable[ModelVersion | None]) -> set[str]:
    """The ids of the models to which these versions lead."""
    import pyarrow.parquet as pq

    tables = [
        pq.read_table(io.BytesIO(model.read(version, TABLE))) for version in versions if version is not None
    ]
    return {str(one) for table in tables for one in table["model_id"].to_pylist()}


def _example(spec: Spec, routes: Routes) -> str | None:
    """A request that works: the first partition, `horizon` steps. Other requests need columns of the data."""
    if spec.task != "forecast" or spec.columns.known_future:
        return None
    values = PartitionKey.parse(routes.table["key"][0].as_py()).as_dict()
    plain = {
        name: value if isinstance(value, (int, float, str)) else readable(value)
        for name, value in values.items()
    }
    return json.dumps({"columns": list(plain), "data": [list(plain.values())]})
