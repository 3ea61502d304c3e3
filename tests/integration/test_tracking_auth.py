"""A real `mlflow server` that asks for a user and a password (`--app-name basic-auth`)."""

from __future__ import annotations

import json
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import make_spec
from integration import mlflow_server
from integration.mlflow_server import MlflowServer
from integration.tracking_models import keys, log_all

from manymodels_spark.errors import TrackingError
from manymodels_spark.serving.models.mlflow_source import MlflowChampions
from manymodels_spark.serving.models.sources import SourceDown
from manymodels_spark.spec.places import Repository
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.opening import open_repository

pytestmark = pytest.mark.services
ADMIN, READER = ("admin", "an-admin-password"), ("reader", "a-reader-password")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    secrets = {"MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1], "MLFLOW_FLASK_SERVER_SECRET_KEY": "a-secret-of-forms"}
    options = ("--app-name", "basic-auth")
    folder = tmp_path_factory.mktemp("mlflow-auth")
    running = mlflow_server.start(folder, proxied=True, options=options, environment=secrets)
    body = json.dumps({"username": READER[0], "password": READER[1]}).encode()
    token = b64encode(":".join(ADMIN).encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    made = urllib.request.Request(f"{running.url}/api/2.0/mlflow/users/create", body, headers)
    with urllib.request.urlopen(made, timeout=30) as answer:
        assert answer.status == 200
    yield running
    running.stop()


def address(server: MlflowServer, user: tuple[str, str] | None) -> Repository:
    """The server as a spec names it: user and password are in its address."""
    host = server.url.removeprefix("http://")
    return Repository(tracking=f"http://{':'.join(user)}@{host}" if user else server.url)


def test_models_are_logged_and_found_by_a_user_who_may_write(server: MlflowServer, tmp_path: Path) -> None:
    where = address(server, ADMIN)
    spec = make_spec(tmp_path, mlflow={"development": where.model_dump(), "production": where.model_dump()})
    repository = open_repository(where, spec)

    models = log_all(repository, spec, keys(3), "job-1", proxied=True)

    found = {model.partition_id: model for model in repository.search(t.where(SPEC=spec.name, JOB="job-1"))}
    assert found.keys() == models.keys() == {key.id for key in keys(3)}
    assert all(model.ready for model in found.values())


def test_an_endpoint_reads_champions_as_a_user_who_may_only_read(
    server: MlflowServer, tmp_path: Path
) -> None:
    where = address(server, ADMIN)
    spec = make_spec(tmp_path, mlflow={"development": where.model_dump(), "production": where.model_dump()})
    repository = open_repository(where, spec)
    models = log_all(repository, spec, keys(2), "job-2", proxied=True)
    for model in models.values():
        repository.set_tags(model.model_id, {t.ROLE: t.CHAMPION})
    reader = address(server, READER)
    source = MlflowChampions(reader, spec)

    champion = source.find(keys(2)[1].id)

    assert champion is not None and champion.model_id == models[keys(2)[1].id].model_id
    assert len(source.payload(champion)) > 100
    with pytest.raises(TrackingError, match=r"set_logged_model_tags.*403"):
        open_repository(reader, spec).set_tags(champion.model_id, {t.ROLE: t.RETIRED})


@pytest.mark.parametrize("user", [None, ("admin", "a-wrong-password"), ("nobody", "none")])
def test_wrong_credentials_are_said_at_once_and_never_shown(
    server: MlflowServer, tmp_path: Path, user: tuple[str, str] | None
) -> None:
    where, spec = address(server, user), make_spec(tmp_path)

    begin = time.monotonic()
    with pytest.raises(TrackingError, match=r"401.*MLFLOW_TRACKING_USERNAME") as caught:
        open_repository(where, spec)
    with pytest.raises(SourceDown):
        MlflowChampions(where, spec).find(keys(1)[0].id)

    assert time.monotonic() - begin < 10, "no patience with what will not change"
    assert user is None or user[1] not in str(caught.value)
