"""The scoring script under Azure ML's own inference server, as a managed online endpoint runs it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from serving_builders import CUTOFF, forecast_payload, key_of

from manymodels_spark.modeling.payload import sha256
from manymodels_spark.serving.models.sources import Champion, model_path, write_model

pytest.importorskip("azureml_inference_server_http")

SPEC = {
    "name": "sales",
    "partition_by": ["store", "item"],
    "source": {"csv": "sales.csv"},
    "columns": {"time": "date", "target": "units"},
    "horizon": 7,
}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The server with a model folder as Azure ML mounts it: the spec, and one model file."""
    root = tmp_path_factory.mktemp("azureml")
    mounted = root / "model" / "INPUT_model"
    mounted.mkdir(parents=True)
    (mounted / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    payload, key = forecast_payload(), key_of(1)
    champion = Champion(key.id, "m-1", sha256(payload), key=key.canonical, family="seasonal_naive")
    write_model(model_path(mounted / "models", key.id), champion, payload)
    script = root / "score.py"
    script.write_text("from manymodels_spark.serving.azureml import init, run\n")
    port, health = _free_port(), _free_port()
    command = [
        sys.executable,
        "-m",
        "azureml_inference_server_http",
        "--entry_script",
        str(script),
        "--model_dir",
        str(root / "model"),
        "--port",
        str(port),
        "--health_port",
        str(health),
    ]
    with (root / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=root, stdout=log, stderr=log, env={**os.environ, "AML_APP_ROOT": str(root)}
        )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        _wait(client, server, root / "log")
        yield client
    server.terminate()
    server.wait(20)


def test_a_champion_is_scored_under_the_inference_server(endpoint):
    answer = endpoint.post("/score", json={"partition": {"store": 1, "item": "a"}, "horizon": 2})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert [row["prediction"] for row in answer.json()["predictions"]] == [10.0, 11.0]


def test_failures_keep_their_status_and_reason(endpoint):
    unknown = endpoint.post("/score", json={"partition": {"store": 2, "item": "a"}})
    past = endpoint.post(
        "/score", json={"partition_id": key_of(1).id, "dataframe_records": [{"date": CUTOFF}]}
    )
    broken = endpoint.post("/score", content=b"{")

    assert [(one.status_code, one.json()["error"]["code"]) for one in (unknown, past, broken)] == [
        (404, "unknown_partition"),
        (422, "invalid"),
        (400, "malformed_json"),
    ]


def test_a_batch_is_answered_item_by_item(endpoint):
    items = [{"partition_id": key_of(1).id, "horizon": 1}, {"partition_id": key_of(2).id}]

    assert [one["status"] for one in endpoint.post("/score", json={"items": items}).json()["results"]] == [
        200,
        404,
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(client: httpx.Client, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server answers; its log where it ended instead."""
    while server.poll() is None:
        try:
            if client.get("/").status_code == 200:
                return
        except httpx.TransportError:
            continue
    raise AssertionError(log.read_text())
