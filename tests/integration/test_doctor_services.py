"""The doctor against servers: may it write into Azure
storage, and what does a tracking server's refusal become?
"""

from __future__ import annotations

import os
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from builders import make_spec

from manymodels_spark.doctor import Finding, places, repositories

pytestmark = pytest.mark.services


class Tracking(BaseHTTPRequestHandler):
    """A tracking server without experiments, which lets in whoever signs in as `me`."""

    def do_POST(self) -> None:
        allowed = self.headers.get("Authorization") == f"Basic {b64encode(b'me:hunter2').decode()}"
        refusal = b'{"error_code": "PERMISSION_DENIED", "message": "no rights on experiments"}'
        body = b'{"experiments": []}' if allowed else refusal
        self.send_response(200 if allowed else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def tracking() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Tracking)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


def mlflow(folder: Path, uri: str) -> Finding:
    (found,) = repositories.mlflow(
        make_spec(folder, mlflow={"development": {"tracking": uri}}), "mlflow.development"
    )
    return found


def test_a_tracking_server_that_lets_this_identity_in_is_good(
    tracking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    assert mlflow(tmp_path, f"http://{tracking}") == Finding("mlflow development", "ok", f"http://{tracking}")


def test_a_tracking_server_that_refuses_is_named_with_what_it_says(tracking: str, tmp_path: Path) -> None:
    found = mlflow(tmp_path, f"http://you:hunter3@{tracking}")
    assert (found.check, found.state) == ("mlflow development", "failed")
    assert "no rights on experiments" in found.found and "hunter3" not in found.found
    assert "this identity may read and write experiments" in found.advice


def test_a_lake_in_azure_storage_is_written_to_and_left_as_it_was(abfs: str) -> None:
    from azure.storage.blob import ContainerClient

    assert places.write_to("write lake", f"{abfs}/tables").state == "ok"
    container = abfs.removeprefix("abfs://").partition("@")[0]
    with ContainerClient.from_connection_string(
        os.environ["AZURE_STORAGE_CONNECTION_STRING"], container
    ) as client:
        assert list(client.list_blob_names()) == []


def test_a_container_that_is_not_there_is_named(abfs: str) -> None:
    host = abfs.partition("@")[2]
    found = places.write_to("write lake", f"abfs://nowhere@{host}/tables")
    assert found.state == "failed"
    assert found.found.startswith(
        f"nowhere at {host} cannot be written to: The specified container does not exist"
    )
    assert "Storage Blob Data Contributor on container nowhere" in found.advice
