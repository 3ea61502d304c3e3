"""Models' files where only MLflow reaches them: which errors mean that they are gone, and what is deleted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builders import make_spec

from manymodels_spark.errors import PayloadError
from manymodels_spark.stages.promote import routing_model
from manymodels_spark.tracking import artifacts

# An id and a port with the number that means "not found".
PLACE = "wasbs://models@account.blob.core.windows.net/dev/m-a404f00d/artifacts"
URL = "http://mlflow:14041/api/2.0/mlflow-artifacts/artifacts/1/models/m-a404f00d/artifacts/payload.bin"
Fail = Callable[[Exception], None]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Makes every download of MLflow's end with an error."""

    def arrange(error: Exception) -> None:
        def download(**_: Any) -> str:
            raise error

        monkeypatch.setattr("mlflow.artifacts.download_artifacts", download)

    return arrange


def plural(text: str, code: int = 1) -> Exception:
    """The error into which MLflow puts what a store said of single files."""
    from mlflow.exceptions import MlflowException

    heading = f"The following failures occurred while downloading one or more artifacts from {PLACE}:"
    return MlflowException(f"{heading}\n##### File payload.bin #####\n{text}", error_code=code)


@pytest.mark.parametrize(
    "text",
    [
        f"404 Client Error: NOT FOUND for url: {URL}. Response text: {{}}",
        "No such file or directory: 'dev/m-a404f00d/artifacts/payload.bin'",
        "[Errno 2] No such file or directory: '/dbfs/models/payload.bin'",
        "No such artifact: 'payload.bin'",
        "The specified blob does not exist.\nRequestId:1\nErrorCode:BlobNotFound",
        "The specified path does not exist.\nRequestId:1\nErrorCode:PathNotFound",
        "The specified resource does not exist.\nErrorCode:ResourceNotFound",
        "API request to endpoint /dbfs/models/payload.bin failed with error code 404 != 200. Response "
        "body: ''",
        "An error occurred (404) when calling the HeadObject operation: Not Found",
        "An error occurred (NoSuchKey) when calling the GetObject operation: The specified key does not "
        "exist.",
        "404 GET https://storage.googleapis.com/download/storage/v1/b/models/o/payload.bin: No such object",
    ],
)
def test_a_file_that_a_store_does_not_have_is_gone(fail: Fail, text: str) -> None:
    fail(plural(text))
    with pytest.raises(PayloadError, match="artifacts were deleted"):
        artifacts.read_file(PLACE, "payload.bin")


def test_a_file_is_gone_by_the_code_or_the_type_of_the_error_alone(fail: Fail) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

    for error in (
        plural("gone", RESOURCE_DOES_NOT_EXIST),
        MlflowException("gone", RESOURCE_DOES_NOT_EXIST),
        FileNotFoundError("gone"),
    ):
        fail(error)
        with pytest.raises(PayloadError, match="artifacts were deleted"):
            artifacts.read_file(PLACE, "payload.bin")


@pytest.mark.parametrize(
    "text",
    [
        f"403 Client Error: FORBIDDEN for url: {URL}. Response text: 404 Client Error",
        f"503 Server Error: SERVICE UNAVAILABLE for url: {URL}",
        f"API request to {URL} failed with exception HTTPConnectionPool(host='mlflow', port=14041): Max "
        "retries exceeded",
        f"API request to {URL} failed with exception HTTPConnectionPool: (Caused by ResponseError('too "
        "many 500 error responses'))",
        "This request is not authorized to perform this "
        "operation.\nRequestId:40404\nErrorCode:AuthorizationPermissionMismatch",
        "An error occurred (AccessDenied) when calling the GetObject operation: models/404/BlobNotFound",
        "[Errno 13] Permission denied: '/models/404/No such file or directory'",
        "The server is busy.\nTime:2026-02-12T04:04:04.404Z\nErrorCode:ServerBusy",
    ],
)
def test_an_error_whose_text_has_the_number_by_chance_is_not_a_missing_file(fail: Fail, text: str) -> None:
    error = plural(text)
    fail(error)
    with pytest.raises(Exception, match="failures occurred") as caught:
        artifacts.read_file(PLACE, "payload.bin")
    assert caught.value is error


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], str]]:
    """Starts a tracking server that answers every request for a file with one status."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    status = 200

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listing = "?path=" in self.path
            body = json.dumps(
                {"files": []} if listing else {"error_code": "X", "message": self.path}
            ).encode()
            self.send_response(200 if listing else status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    def start(answer: int) -> str:
        nonlocal status
        status = answer
        return f"http://127.0.0.1:{running.server_port}"

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield start
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "gone"), [(404, True), (400, False), (403, False), (500, False), (503, False)]
)
def test_a_file_behind_a_server_is_gone_where_the_server_says_so(
    server: Callable[[int], str], status: int, gone: bool
) -> None:
    uri = server(status)
    with pytest.raises(Exception) as caught:
        artifacts.read_file("mlflow-artifacts:/1/models/m-a404f00d/artifacts", "payload.bin", uri)
    assert isinstance(caught.value, PayloadError) is gone


def test_a_file_in_a_folder_that_mlflow_mounts_is_gone_by_mlflows_own_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    def download(artifact_uri: str, dst_path: str, tracking_uri: str | None) -> str:
        return str(LocalArtifactRepository(str(tmp_path)).download_artifacts("payload.bin", dst_path))

    monkeypatch.setattr("mlflow.artifacts.download_artifacts", download)
    with pytest.raises(PayloadError, match="artifacts were deleted"):
        artifacts.read_file("dbfs:/Volumes/main/retail/models/m-1/artifacts", "payload.bin")


class Versions:
    """A routing model without aliases and with one version, whose file lies where MLflow must be asked."""

    def __init__(self) -> None:
        self.left = [SimpleNamespace(version="1")]

    def at(self, alias: str) -> None:
        """No version has an alias."""

    def versions(self) -> list[SimpleNamespace]:
        return list(self.left)

    def read(self, version: SimpleNamespace, name: str) -> bytes:
        return artifacts.read_file(PLACE, name)

    def remove(self, version: SimpleNamespace) -> None:
        self.left.remove(version)


def test_a_routing_version_that_could_not_be_read_is_kept_and_one_without_files_goes(
    fail: Fail, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model, spec, repository = Versions(), make_spec(tmp_path), SimpleNamespace()
    monkeypatch.setattr(routing_model, "routing_model", lambda *_: model)
    fail(plural(f"403 Client Error: FORBIDDEN for url: {URL}"))
    with pytest.raises(Exception, match="FORBIDDEN"):
        routing_model.forget(repository, spec, {"m-1"})  # type: ignore[arg-type]
    assert len(model.left) == 1
    fail(plural(f"404 Client Error: NOT FOUND for url: {URL}"))
    routing_model.forget(repository, spec, {"m-1"})  # type: ignore[arg-type]
    assert model.left == []


@pytest.mark.parametrize("place", ["1/logged_models/m-1/artifacts", "1/0a404f/artifacts/published"])
def test_nothing_is_asked_of_the_storage_that_databricks_manages(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        "mlflow.store.artifact.artifact_repository_registry.get_artifact_repository",
        lambda uri, **_: asked.append(uri),
    )
    artifacts.delete(f"{artifacts.DATABRICKS_OWN}{place}")
    assert asked == [], "MLflow would do nothing there"


def test_mlflow_has_no_deletion_for_the_storage_that_databricks_manages() -> None:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.store.artifact.databricks_logged_model_artifact_repo import (
        DatabricksLoggedModelArtifactRepository,
    )
    from mlflow.store.artifact.databricks_run_artifact_repo import DatabricksRunArtifactRepository

    for kind in (DatabricksLoggedModelArtifactRepository, DatabricksRunArtifactRepository):
        assert kind.delete_artifacts is ArtifactRepository.delete_artifacts
