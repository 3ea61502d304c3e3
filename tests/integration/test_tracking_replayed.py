"""Azure Databricks and Azure ML from the shapes of their answers only: pages of 50, 429, no logged models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import make_spec
from integration.replayed import Hosted, serve
from integration.tracking_models import keys, payloads, records

from manymodels_spark.errors import TrackingError
from manymodels_spark.spec.places import Repository
from manymodels_spark.stages.promote.routing_model import routing_model
from manymodels_spark.tracking import client as clients
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.artifacts import by_server
from manymodels_spark.tracking.limits import DATABRICKS, Limits
from manymodels_spark.tracking.opening import open_registry, open_repository
from manymodels_spark.tracking.repository import ModelRecord
from manymodels_spark.tracking.runs import RunRepository

pytestmark = pytest.mark.services
AZUREML = "azureml://westeurope.api.azureml.ms/mlflow/v1.0/subscriptions/s/resourceGroups/g/workspaces/w"


@pytest.fixture
def hosted() -> Hosted:
    return Hosted()


@pytest.fixture
def databricks(hosted: Hosted, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serve(hosted) as url:
        monkeypatch.setenv("DATABRICKS_HOST", url)
        monkeypatch.setenv("DATABRICKS_TOKEN", "token-for-tests")
        yield "databricks"


def some_records(folder: Path, count: int) -> list[ModelRecord]:
    spec, partitions = make_spec(folder), keys(count)
    sealed = payloads(spec, partitions[:1])[partitions[0].id]
    return records(spec, partitions, {key.id: sealed for key in partitions}, "job-1")


def test_on_databricks_120_models_are_three_pages_of_fifty(
    databricks: str, hosted: Hosted, tmp_path: Path
) -> None:
    repository = open_repository(Repository(tracking=databricks), make_spec(tmp_path))
    assert repository.client.limits == DATABRICKS
    run = repository.start_run("sales job-1", {t.SPEC: "sales", t.JOB: "job-1"})
    made = some_records(tmp_path, 120)
    models = repository.create(made, run)
    assert (
        hosted.calls["POST logged-models/search"] == 3
    )  # looked at once: the SDK repeats lost calls by itself
    repository.log_metrics(run, [(models[record.partition_id].model_id, record.metrics) for record in made])
    repository.finalize(model.model_id for model in models.values())
    found = {model.partition_id: model for model in repository.search(t.where(SPEC="sales", JOB="job-1"))}
    assert hosted.calls["POST logged-models/search"] == 6
    assert {p: model.metrics for p, model in found.items()} == {r.partition_id: dict(r.metrics) for r in made}
    assert all(model.ready for model in found.values())
    assert (hosted.calls["POST logged-models"], hosted.calls["PATCH logged-models/ID"]) == (120, 120)
    assert hosted.calls["POST runs/log-batch"] == 1


def test_on_databricks_an_experiment_is_named_by_a_workspace_folder(
    databricks: str, hosted: Hosted, tmp_path: Path
) -> None:
    open_repository(Repository(tracking=databricks), make_spec(tmp_path))
    open_repository(Repository(tracking=databricks, experiment="/Users/me/sales"), make_spec(tmp_path))
    assert list(hosted.experiments) == ["/Shared/sales", "/Users/me/sales"]


def test_on_databricks_a_model_that_routes_wants_a_name_of_catalog_and_schema(
    databricks: str, hosted: Hosted, tmp_path: Path
) -> None:
    where = {"tracking": databricks}
    for route, name in ((True, None), ("main.sales.all", "main.sales.all")):
        spec = make_spec(
            tmp_path, mlflow={"development": where, "production": where}, promote={"route": route}
        )
        model = routing_model(open_repository(spec.mlflow.production, spec), spec)
        assert (model and model.name) == name


def test_files_in_databricks_own_root_go_through_the_server() -> None:
    assert by_server("dbfs:/databricks/mlflow-tracking/77/logged_models/m-1/artifacts")
    assert by_server("mlflow-artifacts:/1/models/m-1/artifacts")
    assert not by_server("dbfs:/Volumes/main/models")
    assert not by_server("abfss://models@account.dfs.core.windows.net/m-1")


def test_a_model_that_the_sdk_made_twice_is_found_and_deleted(
    databricks: str, hosted: Hosted, tmp_path: Path
) -> None:
    repository = open_repository(Repository(tracking=databricks), make_spec(tmp_path))
    once = hosted._post_logged_models

    def twice(path: str, body: dict[str, object]) -> tuple[int, dict[str, object]]:
        once(path, body)
        return once(path, body)

    hosted._post_logged_models = twice  # type: ignore[method-assign]
    made = repository.create(some_records(tmp_path, 3), None)
    assert sorted(hosted.models) == sorted(model.model_id for model in made.values())
    assert len(hosted.models) == 3


@pytest.fixture
def azureml(hosted: Hosted, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosted]:
    """An address of Azure ML that leads to the stand-in."""
    hosted.logged_models = False
    with serve(hosted) as url:
        monkeypatch.setattr(
            clients, "server_uri", lambda uri: f"{url}/" if uri.startswith("azureml:") else uri
        )
        for module in ("opening", "experiment"):
            monkeypatch.setattr(f"manymodels_spark.tracking.{module}.is_azureml", lambda uri: True)
        monkeypatch.setattr(clients, "limits_of", lambda uri: Limits(threads=2))
        yield hosted


def test_on_azure_ml_each_model_is_a_run_of_three_calls(azureml: Hosted, tmp_path: Path) -> None:
    where = Repository(tracking=AZUREML, artifacts="abfss://models@account.dfs.core.windows.net/root")
    repository = open_repository(where, make_spec(tmp_path))
    assert isinstance(repository, RunRepository)
    run = repository.start_run("sales job-1", {t.SPEC: "sales", t.JOB: "job-1"})
    made = some_records(tmp_path, 20)
    azureml.calls.clear()
    models = repository.create(made, run)
    repository.log_metrics(run, [(models[record.partition_id].model_id, record.metrics) for record in made])
    repository.finalize(model.model_id for model in models.values())
    assert azureml.calls == {"POST runs/create": 20, "POST runs/log-batch": 20, "POST runs/update": 20}
    assert repository.start_run("sales job-1", {t.SPEC: "sales", t.JOB: "job-1"}) == run
    found = {model.partition_id: model for model in repository.search(t.where(SPEC="sales", JOB="job-1"))}
    assert found.keys() == {record.partition_id for record in made}
    assert all(model.ready for model in found.values())
    assert all(found[record.partition_id].metrics == dict(record.metrics) for record in made)
    first = found[made[0].partition_id]
    assert first.location == f"abfss://models@account.dfs.core.windows.net/root/77/{first.model_id}/model"
    parents = {
        tag["value"]
        for r in azureml.runs.values()
        for tag in r["data"]["tags"]
        if tag["key"] == "mlflow.parentRunId"
    }
    assert parents == {run}


def test_roles_change_in_one_call_and_a_repeated_wave_adopts_its_runs(
    azureml: Hosted, tmp_path: Path
) -> None:
    repository = open_repository(Repository(tracking=AZUREML, artifacts=str(tmp_path)), make_spec(tmp_path))
    models = repository.create(some_records(tmp_path, 4), None)
    one = next(iter(models.values()))
    azureml.calls.clear()
    repository.set_tags(one.model_id, {t.ROLE: t.PREVIOUS, t.STATUS: "kept"})
    assert azureml.calls == {"POST runs/log-batch": 1}
    assert [model.model_id for model in repository.search(t.where(ROLE=t.PREVIOUS))] == [one.model_id]
    assert {p: m.model_id for p, m in repository.adopt("job-1", 1).items()} == {
        p: m.model_id for p, m in models.items()
    }


def test_azure_mls_own_artifact_root_is_refused_with_what_to_do(azureml: Hosted, tmp_path: Path) -> None:
    repository = open_repository(Repository(tracking=AZUREML), make_spec(tmp_path))
    with pytest.raises(TrackingError, match=r"Set mlflow\.\*\.artifacts .* abfss://"):
        repository.create(some_records(tmp_path, 1), None)


def test_registered_models_on_azure_ml_have_their_files_below_the_specs_own_root(
    azureml: Hosted, tmp_path: Path
) -> None:
    where = Repository(tracking=AZUREML, artifacts="abfss://models@account.dfs.core.windows.net/root/")
    repository = open_registry(where, make_spec(tmp_path))
    run = repository.start_run("sales promotion", {t.SPEC: "sales"})
    assert (
        repository.run_artifacts(run)
        == f"abfss://models@account.dfs.core.windows.net/root/{repository.experiment_id}/{run}"
    )


def test_registered_models_are_refused_on_databricks_with_what_to_write(
    databricks: str, tmp_path: Path
) -> None:
    with pytest.raises(TrackingError, match=r"Use promote\.form: logged_models"):
        open_registry(Repository(tracking=databricks), make_spec(tmp_path))


def test_429_in_the_shape_of_a_hosted_service_is_waited_for(azureml: Hosted, tmp_path: Path) -> None:
    repository = open_repository(Repository(tracking=AZUREML, artifacts=str(tmp_path)), make_spec(tmp_path))
    slept = list[float]()
    repository.client.sleep, repository.client.share = slept.append, lambda: 0.0
    azureml.refuse_every = 5
    models = repository.create(some_records(tmp_path, 20), None)
    assert len(models) == len(azureml.runs) == 20
    assert slept
    assert set(slept) == {1.0}
