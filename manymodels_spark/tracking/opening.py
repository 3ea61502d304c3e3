"""The repositories of a spec, opened in the form that its server and its `promote.form` ask for."""

from __future__ import annotations

from manymodels_spark.errors import TrackingError
from manymodels_spark.spec.model import Spec
from manymodels_spark.spec.places import Repository
from manymodels_spark.spec.source import resolve
from manymodels_spark.tracking.client import Client, server_uri
from manymodels_spark.tracking.experiment import artifact_root, find_or_create, require_separate
from manymodels_spark.tracking.limits import EMBEDDED, is_azureml, limits_of
from manymodels_spark.tracking.registry import RegistryRepository
from manymodels_spark.tracking.repository import ModelRepository
from manymodels_spark.tracking.runs import RunRepository


def open_repository(where: Repository, spec: Spec) -> ModelRepository:
    """Connect and find or make the spec's experiment. Raises TrackingError before any work is done."""
    client = Client.connect(where.tracking, where.registry)
    experiment_id = find_or_create(client, where, spec.name)
    if is_azureml(client.uri):
        return RunRepository(client, experiment_id, spec.name, artifact_root(where, client.uri))
    return ModelRepository(client, experiment_id, spec.name)


def open_registry(where: Repository, spec: Spec) -> RegistryRepository:
    """Connect, and find or make the experiment in which the promotions' runs and artifacts are."""
    base = open_repository(where, spec)
    if base.client.uri.startswith("databricks"):
        raise TrackingError(
            "promote.form: registered_models is not for Databricks: Unity Catalog finds no model version by "
            "its tags and allows far fewer models than there are partitions. Use promote.form: logged_models"
        )
    return RegistryRepository(base.client, base.experiment_id, base.spec, base.root)


def open_production(spec: Spec) -> ModelRepository:
    """The production repository of a spec, in the form that `promote.form` asks for.

    Raises TrackingError where it cannot be reached, is development's too, or cannot have that form.
    """
    require_separate(spec)
    opened = open_registry if spec.promote.form == "registered_models" else open_repository
    return opened(spec.mlflow.production, spec)


def reach_production(spec: Spec) -> None:
    """Find out before hours of fits whether a production server answers. Raises as `open_production`.

    A file is not opened.
    """
    if limits_of(server_uri(resolve(spec.mlflow.production.tracking))) is EMBEDDED:
        require_separate(spec)
    else:
        open_production(spec)
