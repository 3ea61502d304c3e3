"""MLflow over an SQLite file in this process: spared what need not be asked twice, and left as it was."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from manymodels_spark.tracking.embedded import one_experiment


def test_an_experiment_is_looked_up_once_a_batch_and_anew_in_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.create_experiment("sales", artifact_location=str(tmp_path))
    store = client._tracking_client.store
    asked: list[str] = []
    ask = type(store).get_experiment
    monkeypatch.setattr(type(store), "get_experiment", lambda self, which: asked.append(which) or ask(self, which))
    for expected in (1, 2):
        with one_experiment(client):
            models = [client.create_logged_model(experiment, name=f"m{n}") for n in range(3)]
        assert len(asked) == expected
        assert {model.experiment_id for model in models} == {experiment}
        assert "get_experiment" not in vars(store)
    client.create_logged_model(experiment, name="after")
    assert len(asked) == 3


def test_a_store_behind_a_server_is_left_alone() -> None:
    store = SimpleNamespace(get_host_creds=None)
    with one_experiment(SimpleNamespace(_tracking_client=SimpleNamespace(store=store))):
        assert not hasattr(store, "get_experiment")
