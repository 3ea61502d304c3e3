"""A server in a bad mood: 429 at 10 %, 2 % of the
connections broken. All models are logged, each exactly once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration import mlflow_server
from integration.flaky_proxy import Moods, proxy
from integration.mlflow_server import MlflowServer
from integration.tracking_models import keys, log_all, new_repository, payloads, records

from manymodels_spark.errors import TrackingError
from manymodels_spark.spec.places import Repository
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.opening import open_repository
from manymodels_spark.tracking.repository import ModelRepository

pytestmark = pytest.mark.services
COUNT = 150


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    running = mlflow_server.start(tmp_path_factory.mktemp("mlflow"), workers=2)
    yield running
    running.stop()


def opened(url: str, experiment: str, folder: Path) -> ModelRepository:
    _, spec = new_repository(folder, url)
    return open_repository(Repository(tracking=url, experiment=experiment), spec)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_through_a_bad_night_every_model_is_logged_once(
    server: MlflowServer, tmp_path: Path, seed: int
) -> None:
    moods = Moods(seed=seed)
    with proxy(server.port, moods) as url:
        repository = opened(url, f"night-{seed}", tmp_path)
        _, spec = new_repository(tmp_path, url)
        models = log_all(repository, spec, keys(COUNT), "job-1")
    assert (
        moods.count["refuse"] > COUNT * 0.1
        and moods.count["drop after"] > 0
        and moods.count["drop before"] > 0
    )
    calm = opened(server.url, f"night-{seed}", tmp_path)
    found = list(calm.search(t.where(JOB="job-1")))
    assert Counter(model.partition_id for model in found) == Counter({key.id: 1 for key in keys(COUNT)})
    assert {model.model_id for model in found} == {model.model_id for model in models.values()}
    assert all(model.ready and model.metrics["rows"] == 42.0 for model in found)
    runs = calm.client.mlflow.search_runs([calm.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"]


def test_lost_answers_do_happen_and_their_models_are_found_again(
    server: MlflowServer, tmp_path: Path
) -> None:
    moods = Moods(refuse=0.0, drop=0.0)
    with proxy(server.port, moods) as url:
        repository = opened(url, "lost", tmp_path)
        _, spec = new_repository(tmp_path, url)
        some = keys(40)
        made = records(spec, some, payloads(spec, some), "job-1")
        moods.drop = 0.4
        models = repository.create(made, None)
    sent = moods.posts["POST /api/2.0/mlflow/logged-models"]
    assert moods.count["drop after"] > 0
    found = [model.model_id for model in opened(server.url, "lost", tmp_path).search(t.where(JOB="job-1"))]
    assert sorted(found) == sorted(model.model_id for model in models.values())
    assert len(found) == 40 and sent >= 40


def test_a_server_that_refuses_everything_is_left_in_peace_after_a_while(
    server: MlflowServer, tmp_path: Path
) -> None:
    moods = Moods(refuse=0.0, drop=0.0, retry_after="7")
    with proxy(server.port, moods) as url:
        repository = opened(url, "refused", tmp_path)
        moods.refuse = 1.0
        slept = list[float]()
        repository.client.sleep, repository.client.share = slept.append, lambda: 0.0
        with pytest.raises(TrackingError, match="status 429"):
            list(repository.search(t.where(JOB="job-1")))
    assert slept == [7.0] * 7


def test_mlflows_own_repeats_stay_as_they_are_for_other_servers(server: MlflowServer, tmp_path: Path) -> None:
    import os

    opened(server.url, "polite", tmp_path)
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
