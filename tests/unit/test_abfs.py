"""Artifacts in Azure storage: addresses at abfs:// as MLflow's client for blobs takes them, and deletion at
abfss://.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from manymodels_spark.errors import PayloadError, TrackingError
from manymodels_spark.tracking import artifacts
from manymodels_spark.tracking.abfs import as_blobs

ROOT = "abfss://models@account.dfs.core.windows.net/"
HERE = "dev/m-1/artifacts"


@pytest.mark.parametrize(
    ("address", "blobs"),
    [
        (
            "abfs://models@account.dfs.core.windows.net/a/b",
            "wasbs://models@account.blob.core.windows.net/a/b",
        ),
        ("abfs://models@account.dfs.core.windows.net", "wasbs://models@account.blob.core.windows.net"),
        ("abfs://m@one.dfs.core.chinacloudapi.cn/x%20y", "wasbs://m@one.blob.core.chinacloudapi.cn/x%20y"),
    ],
)
def test_an_address_names_the_same_files_in_the_blob_service(address: str, blobs: str) -> None:
    assert as_blobs(address) == blobs


@pytest.mark.parametrize(
    "address",
    ["abfs://account.dfs.core.windows.net/a", "abfs://models@account/a", "abfss://m@a.dfs.core.windows.net"],
)
def test_an_address_of_another_form_is_told_with_the_right_one(address: str) -> None:
    with pytest.raises(TrackingError, match="abfs://CONTAINER@ACCOUNT"):
        as_blobs(address)


@dataclass
class Lake:
    """One container as the service for folders shows it to Azure's client: listing and removing a folder,
    nothing else.
    """

    files: set[str] = field(default_factory=set)
    deleted: list[str] = field(default_factory=list)
    answer: tuple[int, str] | None = None
    loses_answers: bool = False

    def reply(self, method: str, url: str) -> tuple[int, dict[str, Any]]:
        """Status and JSON of a request."""
        address = urlsplit(url)
        query, path = parse_qs(address.query), unquote(address.path).removeprefix("/models").strip("/")
        if self.answer is not None:
            return self._no(*self.answer)
        if method == "GET" and "directory" in query:
            return self._list(query["directory"][0])
        if method == "DELETE" and query["recursive"] == ["true"]:
            return self._delete(path)
        return self._no(404, "BlobNotFound")

    def _list(self, folder: str) -> tuple[int, dict[str, Any]]:
        below = {name.removeprefix(f"{folder}/") for name in self.files if name.startswith(f"{folder}/")}
        if not below:
            return self._no(404, "PathNotFound")
        names = {name.partition("/")[0]: "/" in name for name in below}
        return 200, {
            "paths": [
                {"name": f"{folder}/{name}", "isDirectory": str(deep).lower()} for name, deep in names.items()
            ]
        }

    def _delete(self, folder: str) -> tuple[int, dict[str, Any]]:
        self.deleted.append(folder)
        self.files = {name for name in self.files if not name.startswith(f"{folder}/")}
        return self._no(404, "PathNotFound") if self.loses_answers else (200, {})

    @staticmethod
    def _no(status: int, code: str) -> tuple[int, dict[str, Any]]:
        return status, {"error": {"code": code, "message": "The specified path does not exist."}}


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A container that MLflow reaches at `ROOT` by Azure's own client, over a wire that ends in this
    process.
    """
    pytest.importorskip("azure.storage.filedatalake")
    import requests
    from azure.core.pipeline.transport import RequestsTransport
    from azure.storage.filedatalake import DataLakeServiceClient
    from urllib3 import HTTPResponse

    found = Lake()

    class Wire(requests.adapters.HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
            status, body = found.reply(str(request.method), str(request.url))
            headers = {
                "Content-Type": "application/json",
                "x-ms-error-code": body.get("error", {}).get("code", ""),
            }
            content = io.BytesIO(json.dumps(body).encode())
            return self.build_response(request, HTTPResponse(content, headers, status, preload_content=False))

    session = requests.Session()
    session.mount("https://account.", Wire())
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2026-01-01&sig=none")
    monkeypatch.setattr(
        "mlflow.store.artifact.azure_data_lake_artifact_repo._get_data_lake_client",
        lambda account_url, credential: DataLakeServiceClient(
            account_url,
            credential,
            transport=RequestsTransport(session=session, session_owner=False),
            retry_total=0,
        ),
    )
    return found


@pytest.mark.parametrize("name", ["payload.bin", "MLmodel"])
def test_a_model_at_abfss_is_deleted_as_one_folder_and_its_neighbours_stay(lake: Lake, name: str) -> None:
    others = {"dev/m-10/artifacts/payload.bin", "dev/m-1/other/payload.bin"}
    lake.files = {f"{HERE}/{name}", f"{HERE}/deep/er/part.bin", *others}
    artifacts.delete(ROOT + HERE)
    assert lake.deleted == [HERE]
    assert lake.files == others
    artifacts.delete(ROOT + HERE)
    assert lake.deleted == [HERE], "what is gone is not deleted again"


def test_a_folder_at_abfss_whose_name_has_a_space_is_the_one_that_is_deleted(lake: Lake) -> None:
    lake.files = {"retail sales/m-1/MLmodel"}
    artifacts.delete(ROOT + "retail%20sales/m-1")
    assert lake.files == set()


def test_a_folder_at_abfss_that_holds_no_model_is_left_alone(lake: Lake) -> None:
    lake.files = {"dev/m-1/artifacts/MLmodel", "dev/notes.txt"}
    artifacts.delete(ROOT + "dev")
    assert not lake.deleted


def test_a_deletion_at_abfss_whose_answer_was_lost_is_no_error(lake: Lake) -> None:
    lake.files, lake.loses_answers = {f"{HERE}/MLmodel"}, True
    artifacts.delete(ROOT + HERE)
    assert lake.files == set()


def test_a_model_at_abfss_that_is_not_deleted_is_told(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

    lake.files = {f"{HERE}/MLmodel"}
    monkeypatch.setattr(lake, "_delete", lambda folder: lake._no(404, "PathNotFound"))
    with pytest.raises(ResourceNotFoundError):
        artifacts.delete(ROOT + HERE)
    lake.answer = (403, "AuthorizationPermissionMismatch")
    with pytest.raises(HttpResponseError, match="AuthorizationPermissionMismatch"):
        artifacts.delete(ROOT + HERE)


def test_a_missing_payload_at_abfss_is_gone_and_one_that_may_not_be_read_is_not(lake: Lake) -> None:
    with pytest.raises(PayloadError, match="artifacts were deleted"):
        artifacts.read_payload(ROOT + HERE, None)
    lake.files = {f"{HERE}/MLmodel"}
    with pytest.raises(PayloadError, match="artifacts were deleted"):
        artifacts.read_payload(ROOT + HERE, None)
    lake.answer = (403, "AuthorizationPermissionMismatch")
    with pytest.raises(Exception, match="AuthorizationPermissionMismatch") as caught:
        artifacts.read_payload(ROOT + HERE.replace("m-1", "m-404"), None)
    assert not isinstance(caught.value, PayloadError)
