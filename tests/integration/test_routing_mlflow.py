"""The model that routes in a real MLflow: found by alias,
loaded by plain MLflow, served by `mlflow models serve`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from builders import make_spec
from integration import mlflow_server
from integration.mlflow_server import MlflowServer
from integration.tracking_models import keys, log_all

from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.promote.champions_index import current_champions
from manymodels_spark.stages.promote.routing_model import led_to, publish, routing_model
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.opening import open_repository
from manymodels_spark.tracking.repository import ModelRepository, Registered

pytestmark = pytest.mark.services
SERVE_SECONDS = 120


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """With artifacts that only the server reaches, the harder
    case; tests/spark/test_routing.py has a plain folder.
    """
    running = mlflow_server.start(tmp_path_factory.mktemp("mlflow"), proxied=True)
    yield running
    running.stop()


@pytest.fixture
def spec(
    server: MlflowServer, mlflow_at: Callable[[str], None], tmp_path: Path, request: pytest.FixtureRequest
) -> Spec:
    """A spec of its own name for every test: on a server they share one registry."""
    where = {"tracking": server.url}
    name = "s" + "".join(character for character in request.node.name.lower() if character.isalnum())[-50:]
    mlflow_at(server.url)
    return make_spec(tmp_path, name=name, mlflow={"development": where, "production": where})


def promoted(server: MlflowServer, spec: Spec, count: int) -> tuple[ModelRepository, dict[str, Registered]]:
    repository = open_repository(spec.mlflow.production, spec)
    log_all(repository, spec, keys(count), "job-1", proxied=server.proxied)
    return repository, current_champions(repository)


def test_plain_mlflow_loads_it_by_alias_and_it_answers_for_every_partition(
    server: MlflowServer, spec: Spec
) -> None:
    repository, champions = promoted(server, spec, 6)
    repository.client.calls.clear()
    assert publish(repository, spec, champions.values()) == spec.name
    calls = {name: count for name, count in repository.client.calls.items() if name != "log_artifacts"}
    assert sum(calls.values()) <= 10, calls
    rows = pd.DataFrame([{**key.as_dict(), "date": "2026-02-12"} for key in reversed(keys(6))])
    model = mlflow.pyfunc.load_model(f"models:/{spec.name}@champion")
    assert model.predict(rows)["prediction"].tolist() == [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]
    ahead = model.predict(rows[["item", "store"]].head(1), params={"horizon": 3, "levels": [80]})
    assert ahead["prediction"].tolist() == [5.0, 6.0, 7.0]
    assert [name for name in ahead if name.startswith("lower")] == ["lower_80"]
    assert set(model.predict(model.input_example)["error"]) == {""}, "the example in the UI works"


def test_it_gets_a_version_only_when_champions_change_and_goes_back_by_alias(
    server: MlflowServer, spec: Spec
) -> None:
    repository, champions = promoted(server, spec, 3)
    everyone = list(champions.values())
    publish(repository, spec, everyone[:2])
    publish(repository, spec, everyone[:2][::-1])
    model = routing_model(repository, spec)
    assert model is not None
    assert [len(model.versions()), model.at(t.PREVIOUS)] == [1, None], "the same champions are no new version"
    publish(repository, spec, everyone)
    aliases = [model.at(alias) for alias in (t.CHAMPION, t.PREVIOUS)]
    assert [int(version.version) for version in aliases if version] == [2, 1]
    assert led_to(model, aliases[:1]) == {one.model_id for one in everyone}
    publish(repository, spec, everyone[:2])
    aliases = [model.at(alias) for alias in (t.CHAMPION, t.PREVIOUS)]
    assert [int(version.version) for version in aliases if version] == [1, 2], (
        "the state that was there before"
    )
    assert len(model.versions()) == 2


def test_a_spec_may_name_it_or_do_without(server: MlflowServer, spec: Spec) -> None:
    repository, champions = promoted(server, spec, 1)
    for route, name in ((f"{spec.name}_all", f"{spec.name}_all"), (False, None)):
        named = spec.model_copy(update={"promote": spec.promote.model_copy(update={"route": route})})
        assert publish(repository, named, champions.values()) == name


def test_mlflow_models_serve_answers_for_all_partitions(
    server: MlflowServer, spec: Spec, tmp_path: Path
) -> None:
    repository, champions = promoted(server, spec, 3)
    publish(repository, spec, champions.values())
    port = mlflow_server.free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "SPARK"))}
    # MLflow finds the server's program by its name.
    clean["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), clean.get("PATH", "")])
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        f"models:/{spec.name}@champion",
        "-p",
        str(port),
        "-h",
        "127.0.0.1",
        "--env-manager",
        "local",
    ]
    with (tmp_path / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env={**clean, "MLFLOW_TRACKING_URI": server.url, "MLFLOW_DISABLE_TELEMETRY": "true"},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        rows = [[*key.as_dict().values(), "2026-02-12"] for key in keys(3)] + [["nobody", 9, "2026-02-12"]]
        request = {
            "dataframe_split": {"columns": ["item", "store", "date"], "data": rows},
            "params": {"levels": [80]},
        }
        answer = ask(port, request, process, tmp_path / "serve.log")["predictions"]
        assert [row["prediction"] for row in answer[:3]] == [0.0, 1.0, 2.0]
        assert [row["store"] for row in answer] == [0, 1, 2, 9]
        assert [row["error"] for row in answer[:3]] == ["", "", ""]
        assert "no champion" in answer[3]["error"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask(port: int, body: dict[str, Any], process: subprocess.Popen[bytes], log: Path) -> Any:
    """The answer of the scoring server, which is waited for."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    begin = time.monotonic()
    while time.monotonic() - begin < SERVE_SECONDS and process.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise AssertionError(log.read_text()[-3000:])
