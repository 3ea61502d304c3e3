"""MLflow over an SQLite file in this process: spared what need not be asked twice, and left as it was."""

from __future__ import annotations

import gc
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from manymodels_spark.tracking.embedded import few_collections, one_experiment


def test_an_experiment_is_looked_up_once_a_batch_and_anew_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.create_experiment("sales", artifact_location=str(tmp_path))
    store = client._tracking_client.store
    asked: list[str] = []
    ask = type(store).get_experiment
    monkeypatch.setattr(
        type(store), "get_experiment", lambda self, which: asked.append(which) or ask(self, which)
    )
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


def test_metrics_are_logged_with_fewer_collections_and_collections_are_as_before_afterwards(
    tmp_path: Path,
) -> None:
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    before = gc.get_threshold()
    with pytest.raises(ZeroDivisionError), few_collections(client):
        assert gc.get_threshold() == (10_000, *before[1:])
        with few_collections(client):
            pass
        assert gc.get_threshold() == (10_000, *before[1:])
        raise ZeroDivisionError
    assert gc.get_threshold() == before


def test_collections_that_somebody_switched_off_stay_off(tmp_path: Path) -> None:
    client, before = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db"), gc.get_threshold()
    gc.set_threshold(0, *before[1:])
    try:
        with few_collections(client):
            assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)
