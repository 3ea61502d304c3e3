"""Models in bulk over HTTP: a real `mlflow server` over Postgres, artifacts direct and through the server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration import mlflow_server, postgres
from integration.mlflow_server import MlflowServer
from integration.tracking_models import keys, log_all, new_repository, payloads, records

from manymodels_spark.errors import PayloadError, TrackingError
from manymodels_spark.spec.places import Repository
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.artifacts import local_path
from manymodels_spark.tracking.opening import open_repository
from manymodels_spark.tracking.repository import ModelRepository

pytestmark = pytest.mark.services
COUNT = 30
FORECAST = """
import json, sys
for absent in ("pyspark", "delta", "duckdb", "psycopg"):
    sys.modules[absent] = None  # as where only the model's stated requirements are installed
import mlflow
import pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/" + sys.argv[2])
print(json.dumps(model.predict(pd.DataFrame(), params={"horizon": 3})["prediction"].tolist()))
"""


@pytest.fixture(scope="module", params=[pytest.param("direct", marks=pytest.mark.slow), "proxied"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, _postgres: postgres.Server
) -> Iterator[MlflowServer]:
    folder, store = tmp_path_factory.mktemp(f"mlflow-{request.param}"), _postgres.new_database()
    running = mlflow_server.start(folder, store, proxied=request.param == "proxied", workers=2)
    yield running
    running.stop()


@pytest.fixture
def repository(server: MlflowServer, tmp_path: Path, request: pytest.FixtureRequest) -> ModelRepository:
    """The repository of an experiment that no other test uses."""
    _, spec = new_repository(tmp_path, server.url)
    return open_repository(Repository(tracking=server.url, experiment=request.node.name), spec)


def test_thirty_models_take_two_calls_each_and_a_few_for_all(
    repository: ModelRepository, server: MlflowServer, tmp_path: Path
) -> None:
    _, spec = new_repository(tmp_path, server.url)
    models = log_all(repository, spec, keys(COUNT), "job-1", proxied=server.proxied)
    calls = repository.client.calls
    assert (calls["create_logged_model"], calls["finalize_logged_model"]) == (COUNT, COUNT)
    files = calls.pop("log_artifacts", 0)
    assert files == (5 * COUNT if server.proxied else 0)
    assert sum(calls.values()) <= 2 * COUNT + 10
    found = {model.partition_id: model for model in repository.search(t.where(SPEC="sales", JOB="job-1"))}
    assert found.keys() == models.keys() == {key.id for key in keys(COUNT)}
    assert all(model.ready for model in found.values())
    for number, key in enumerate(keys(COUNT)):
        assert found[key.id].metrics == {"wape": number / 100, "rows": 42.0}
        assert found[key.id].tags["item"] == f"a/b 'é' {number}"


def test_a_payload_comes_back_as_it_was_and_an_altered_one_is_refused(
    repository: ModelRepository, server: MlflowServer, tmp_path: Path
) -> None:
    _, spec = new_repository(tmp_path, server.url)
    some = keys(2)
    models = log_all(repository, spec, some, "job-1", proxied=server.proxied)
    sealed = payloads(spec, some)
    assert {key.id: repository.read(models[key.id]) for key in some} == sealed
    (
        next(path for path in server.artifacts.rglob(f"*{models[some[0].id].model_id}*/**/payload.bin"))
    ).write_bytes(b"other")
    with pytest.raises(PayloadError, match=r"SHA-256 .* altered or damaged"):
        repository.read(models[some[0].id])


def test_a_clean_process_loads_a_model_by_its_id_and_predicts_without_spark(
    repository: ModelRepository, server: MlflowServer, tmp_path: Path
) -> None:
    _, spec = new_repository(tmp_path, server.url)
    model = log_all(repository, spec, keys(9), "job-1", proxied=server.proxied)[keys(9)[8].id]
    script = tmp_path / "forecast.py"
    script.write_text(FORECAST)
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "PYTHONPATH", "SPARK"))
    }
    answer = subprocess.run(
        [sys.executable, str(script), server.url, model.model_id],
        cwd=tmp_path,
        env=clean,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert json.loads(answer.stdout.splitlines()[-1]) == [8.0, 9.0, 10.0]


def test_a_repeated_wave_adopts_what_is_there_and_deletes_what_came_twice(
    repository: ModelRepository, server: MlflowServer, tmp_path: Path
) -> None:
    _, spec = new_repository(tmp_path, server.url)
    some = keys(4)
    made = records(spec, some, payloads(spec, some), "job-1")
    run = repository.start_run("sales job-1", {t.SPEC: "sales", t.JOB: "job-1"})
    first = repository.create(made[:3], run)
    repository.create(made[2:], run)
    adopted = repository.adopt("job-1", 1)
    assert adopted.keys() == {record.partition_id for record in made}
    assert {partition: model.model_id for partition, model in adopted.items() if partition in first} == {
        partition: model.model_id for partition, model in first.items()
    }
    assert len(list(repository.search(t.where(JOB="job-1")))) == 4


def test_a_job_that_starts_again_finds_its_run(repository: ModelRepository) -> None:
    run = repository.start_run("sales job-1", {t.SPEC: "sales", t.JOB: "job-1"})
    assert repository.start_run("sales job-1", {t.SPEC: "sales", t.JOB: "job-1"}) == run
    assert repository.start_run("sales job-2", {t.SPEC: "sales", t.JOB: "job-2"}) != run


def test_metrics_sent_twice_are_there_once_and_numbers_that_are_none_are_left_out(
    repository: ModelRepository, server: MlflowServer, tmp_path: Path
) -> None:
    _, spec = new_repository(tmp_path, server.url)
    some = keys(3)
    run = repository.start_run("sales job-1", {t.SPEC: "sales", t.JOB: "job-1"})
    models = list(repository.create(records(spec, some, payloads(spec, some), "job-1"), run).values())
    values = [
        (model.model_id, {"rows": 42.0, "wape": float("nan"), "bias": float("-inf")}) for model in models
    ]
    log_batch = repository.client.mlflow.log_batch
    repository.client.mlflow.log_batch = lambda *args: (log_batch(*args), log_batch(*args))  # type: ignore[method-assign]
    repository.log_metrics(run, values)
    found = repository.client.mlflow.search_logged_models([repository.experiment_id])
    assert [[(metric.key, metric.value) for metric in model.metrics or []] for model in found] == [
        [("rows", 42.0)]
    ] * 3


def test_a_wave_that_is_logged_again_later_has_its_metrics_once(
    repository: ModelRepository, server: MlflowServer, tmp_path: Path
) -> None:
    _, spec = new_repository(tmp_path, server.url)
    some = keys(3)
    run = repository.start_run("sales job-3", {t.SPEC: "sales", t.JOB: "job-3"})
    models = list(repository.create(records(spec, some, payloads(spec, some), "job-3"), run).values())
    values = [(model.model_id, {"rows": 42.0, "wape": 0.5}) for model in models]
    for since in (1_764_000_000_000, 1_764_000_000_000, 1_764_000_060_000):
        repository.log_metrics(run, values, since)
    found = {
        model.model_id: model
        for model in repository.client.mlflow.search_logged_models([repository.experiment_id])
    }
    for model in models:
        told = sorted(
            (metric.key, metric.value, metric.timestamp // 60_000) for metric in found[model.model_id].metrics
        )
        assert told == [
            (name, value, moment)
            for name, value in (("rows", 42.0), ("wape", 0.5))
            for moment in (29_400_000, 29_400_001)
        ]


def test_searching_turns_pages(repository: ModelRepository, server: MlflowServer, tmp_path: Path) -> None:
    from dataclasses import replace

    _, spec = new_repository(tmp_path, server.url)
    some = keys(25)
    repository.create(
        records(spec, some, payloads(spec, some[:1]) | {key.id: b"" for key in some}, "job-1"), None
    )
    repository.client.limits = replace(repository.client.limits, page=10)
    before = repository.client.calls["search_logged_models"]
    assert {model.partition_id for model in repository.search(t.where(JOB="job-1"))} == {
        key.id for key in some
    }
    assert repository.client.calls["search_logged_models"] - before == 3


def test_deleting_twice_is_no_error(
    repository: ModelRepository, server: MlflowServer, tmp_path: Path
) -> None:
    _, spec = new_repository(tmp_path, server.url)
    some = keys(2)
    models = repository.create(records(spec, some, payloads(spec, some), "job-1"), None)
    for _ in range(2):
        repository.delete(model.model_id for model in models.values())
    assert list(repository.search(t.where(JOB="job-1"))) == []


def test_a_full_artifact_root_says_where_and_what_to_do(tmp_path: Path) -> None:
    from manymodels_spark.tracking.artifacts import write

    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    folder = tmp_path / "m-1"
    folder.mkdir()
    (folder / "payload.bin").symlink_to("/dev/full")
    with pytest.raises(TrackingError, match=r"No space left on device.*Make room"):
        write(folder.as_uri(), {"payload.bin": b"0" * 10_000})
    assert local_path(folder.as_uri()) == folder


@pytest.mark.slow
def test_a_server_that_stops_in_the_middle_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    running = mlflow_server.start(tmp_path / "server")
    try:
        repository, spec = new_repository(tmp_path, running.url)
        some = keys(12)
        made = records(spec, some, payloads(spec, some), "job-1")
        run = repository.start_run("sales job-1", {t.SPEC: "sales", t.JOB: "job-1"})
        repository.create(made[:5], run)
        running.stop()
        repository.client.sleep = lambda seconds: None
        with pytest.raises(TrackingError, match=r"did not answer.*what was committed so far is safe"):
            repository.create(made[5:], run)
        running.start()
        again, _ = new_repository(tmp_path, running.url)
        assert again.start_run("sales job-1", {t.SPEC: "sales", t.JOB: "job-1"}) == run
        present = again.adopt("job-1", 1)
        again.create([record for record in made if record.partition_id not in present], run)
        found = [model.partition_id for model in again.search(t.where(JOB="job-1"))]
        assert sorted(found) == sorted(record.partition_id for record in made)
    finally:
        running.stop()
        shutil.rmtree(tmp_path / "server", ignore_errors=True)


def test_a_server_that_is_not_there_is_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(
        TrackingError, match=r"MLflow at http://127\.0\.0\.1:\d+ did not answer.*mlflow\.\*\.tracking"
    ):
        new_repository(tmp_path, f"http://127.0.0.1:{mlflow_server.free_port()}")
