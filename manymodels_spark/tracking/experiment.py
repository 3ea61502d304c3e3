"""The MLflow experiment of a spec: its name, its artifact root, found or made once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from manymodels_spark.errors import ManyModelsError, TrackingError
from manymodels_spark.spec.model import Spec
from manymodels_spark.spec.places import Repository
from manymodels_spark.spec.source import resolve
from manymodels_spark.tracking.client import Client, public, server_uri
from manymodels_spark.tracking.faults import LostAnswer
from manymodels_spark.tracking.limits import is_azureml

WORKSPACE_FOLDER = "/Shared/"
# Azure ML's own scheme requires a plugin that does not work with a current MLflow.
UNREACHABLE = ("azureml:",)


def find_or_create(client: Client, where: Repository, spec: str) -> str:
    """The id of the experiment; made where it is missing,
    also when another process makes it at the same moment.

    Raises TrackingError soon where the server cannot be reached, and where the experiment was deleted.
    """
    name = experiment_name(where, spec, client.uri)
    found = client.call(client.mlflow.get_experiment_by_name, name, patience=3)
    if found is None:
        if made := _create(client, where, name):
            return made
        found = client.call(client.mlflow.get_experiment_by_name, name)
    if found is None:
        raise TrackingError(
            f"experiment {name!r} could not be made in MLflow at {public(client.uri)}. Run again"
        )
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"experiment {name!r} was deleted in MLflow. Restore it or set mlflow.*.experiment"
        )
    return str(found.experiment_id)


def experiment_name(where: Repository, spec: str, uri: str) -> str:
    """As the spec says, else the spec's name; Databricks requires the path of a workspace folder."""
    name = where.experiment or spec
    return name if name.startswith("/") or not uri.startswith("databricks") else f"{WORKSPACE_FOLDER}{name}"


def artifact_root(where: Repository, uri: str) -> str | None:
    """Where models' files go: as the spec says, beside an SQLite file, or as the server decides."""
    if where.artifacts:
        root = resolve(where.artifacts)
        return root if "://" in root or root.startswith("dbfs:") else Path(root).absolute().as_uri()
    if uri.startswith("sqlite:///"):
        database = Path(uri.removeprefix("sqlite:///")).absolute()
        return (database.parent / "artifacts" / database.stem).as_uri()
    return None


def reachable(location: str) -> str:
    """The location, where somebody other than its server reaches it. Raises TrackingError otherwise."""
    if location.startswith(UNREACHABLE):
        raise TrackingError(
            "the server keeps artifacts where only Azure ML's own plugin reaches them. Set "
            "mlflow.*.artifacts in the "
            "spec to a place that executors reach, e.g. abfss://models@account.dfs.core.windows.net/models"
        )
    return location


def require_separate(spec: Spec) -> None:
    """Raise TrackingError where development and production are one experiment of one server: what retention
    may delete and what a rollback goes back to could not be told apart.
    """
    try:
        development, production = (
            _place(where, spec.name) for where in (spec.mlflow.development, spec.mlflow.production)
        )
    except ManyModelsError:  # who only scores need not know where development is
        return
    if development == production:
        uri, name = production
        raise TrackingError(
            f"mlflow.development and mlflow.production are both experiment {name!r} in MLflow at "
            f"{public(uri)}. Give "
            "production a server or an experiment of its own, e.g. mlflow.production.experiment: "
            f"{name}_production"
        )


def _place(where: Repository, spec: str) -> tuple[str, str]:
    uri = server_uri(resolve(where.tracking))
    return uri, experiment_name(where, spec, uri)


def _create(client: Client, where: Repository, name: str) -> str | None:
    """The new experiment's id; None where another process was faster or the answer was lost."""
    from mlflow.exceptions import MlflowException

    # Azure ML decides on its experiments' artifacts itself.
    root = None if is_azureml(client.uri) else artifact_root(where, client.uri)
    with suppress(LostAnswer):
        try:
            return str(client.call(client.mlflow.create_experiment, name, artifact_location=root, safe=False))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    return None
