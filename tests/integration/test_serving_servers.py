"""Champions out of tracking servers: a real one whose artifacts only it reaches, and stand-ins for the hosted
ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from builders import make_spec
from integration import mlflow_server
from integration.mlflow_server import MlflowServer
from integration.replayed import Hosted, serve
from integration.tracking_models import keys, log_all, payloads, records

from manymodels_spark.errors import PayloadError
from manymodels_spark.serving.models.mlflow_source import MlflowChampions
from manymodels_spark.serving.models.sources import SourceDown
from manymodels_spark.spec.model import Spec
from manymodels_spark.tracking import client as clients
from manymodels_spark.tracking.limits import Limits
from manymodels_spark.tracking.opening import open_production

pytestmark = pytest.mark.services
AZUREML = "azureml://westeurope.api.azureml.ms/mlflow/v1.0/subscriptions/s/resourceGroups/g/workspaces/w"


@pytest.fixture(autouse=True)
def only_the_spec_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else names the server; and the serving process's short patience ends with the test."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    running = mlflow_server.start(tmp_path_factory.mktemp("mlflow-proxied"), proxied=True)
    yield running
    running.stop()


@pytest.fixture(params=["logged_models", "registered_models"])
def spec(request: pytest.FixtureRequest, server: MlflowServer, tmp_path: Path) -> Spec:
    """A spec with an experiment of its own for every test."""
    name = "s" + "".join(character for character in request.node.name.lower() if character.isalnum())[-50:]
    return make_spec(
        tmp_path, name=name, mlflow={"production": {"tracking": server.url}}, promote={"form": request.param}
    )


def test_champions_are_found_searched_and_read_through_the_server(spec: Spec, server: MlflowServer) -> None:
    some = keys(7)
    models = log_all(open_production(spec), spec, some, "p1", proxied=True)
    source = MlflowChampions.of(spec)
    found = [source.find(key.id) for key in some]
    assert [champion and champion.model_id for champion in found] == [models[key.id].model_id for key in some]
    assert [champion and champion.metrics["wape"] for champion in found] == [
        number / 100 for number in range(7)
    ]
    assert mlflow.get_tracking_uri() != server.url
    assert all(champion and champion.location.startswith("mlflow-artifacts:/") for champion in found)
    assert {champion.partition_id: source.payload(champion) for champion in found if champion} == payloads(
        spec, some
    )
    assert sorted(champion.partition["item"] for champion in source.search("store=1", 10)) == [
        "a/b 'é' 1",
        "a/b 'é' 6",
    ]
    assert len(source.search("store", 3)) == 3


def test_a_payload_that_is_gone_and_a_server_that_is_gone_are_two_things(
    spec: Spec, server: MlflowServer
) -> None:
    key = keys(1)[0]
    log_all(open_production(spec), spec, [key], "p1", proxied=True)
    source = MlflowChampions.of(spec)
    champion = source.find(key.id)
    assert champion is not None
    server.stop()
    try:
        begin = time.monotonic()
        with pytest.raises(SourceDown, match="the artifact store did not answer"):
            source.payload(champion)
        with pytest.raises(SourceDown, match="MLflow did not answer"):
            source.find(key.id)
        assert time.monotonic() - begin < 12
    finally:
        server.start()
    (server.artifacts / champion.location.removeprefix("mlflow-artifacts:/") / "payload.bin").unlink()
    with pytest.raises(PayloadError, match="artifacts were deleted"):
        source.payload(champion)


def test_on_databricks_the_experiment_of_the_workspace_folder_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted, key = Hosted(), keys(1)[0]
    with serve(hosted) as url:
        monkeypatch.setenv("DATABRICKS_HOST", url)
        monkeypatch.setenv("DATABRICKS_TOKEN", "token-for-tests")
        spec = make_spec(tmp_path, mlflow={"production": {"tracking": "databricks"}})
        assert MlflowChampions.of(spec).find(key.id) is None
        assert hosted.experiments == {}
        repository = open_production(spec)
        model = repository.create(records(spec, [key], payloads(spec, [key]), "p1"), None)[key.id]
        repository.finalize([model.model_id])
        champion = MlflowChampions.of(spec).find(key.id)
    assert list(hosted.experiments) == ["/Shared/sales"]
    assert champion is not None and champion.model_id == model.model_id


def test_on_azure_ml_champions_are_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosted, some = Hosted(logged_models=False), keys(3)
    with serve(hosted) as url:
        monkeypatch.setattr(
            clients, "server_uri", lambda uri: f"{url}/" if uri.startswith("azureml:") else uri
        )
        for module in ("tracking.opening", "tracking.experiment", "serving.models.mlflow_source"):
            monkeypatch.setattr(f"manymodels_spark.{module}.is_azureml", lambda uri: True)
        monkeypatch.setattr(clients, "limits_of", lambda uri: Limits(threads=2))
        spec = make_spec(
            tmp_path, mlflow={"production": {"tracking": AZUREML, "artifacts": str(tmp_path / "models")}}
        )
        assert MlflowChampions.of(spec).find(some[0].id) is None
        assert hosted.experiments == {}
        repository = open_production(spec)
        models = log_all(repository, spec, some[:2], "p1")
        repository.create(records(spec, some[2:], payloads(spec, some[2:]), "p2"), None)
        source = MlflowChampions.of(spec)
        source.ping()
        found = [source.find(key.id) for key in some]
        assert [champion and champion.model_id for champion in found] == [
            *(models[key.id].model_id for key in some[:2]),
            None,
        ]
        assert {
            champion.partition_id: source.payload(champion) for champion in found if champion
        } == payloads(spec, some[:2])
        assert [champion.partition["store"] for champion in source.search("é store=1", 10)] == [1]
        assert len(source.search("", 1)) == 1
