"""MLflow's artifacts at `abfs://` and `abfss://`, signed in as the platform does; how a folder is removed.

MLflow takes `abfss://` through the service for folders (dfs),
which only accounts with a hierarchical namespace have, and only over TLS.
The blob service reaches the same files in every account, and the emulator speaks it, too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from mlflow.store.artifact.azure_blob_artifact_repo import AzureBlobArtifactRepository
from mlflow.store.artifact.azure_data_lake_artifact_repo import AzureDataLakeArtifactRepository

from manymodels_spark.errors import TrackingError
from manymodels_spark.spark import credentials
from manymodels_spark.spark.storage import CONNECTION

_SAS = "AZURE_STORAGE_SAS_TOKEN"
_ABFS = re.compile(
    r"abfs://(?P<container>[^@/]+)@(?P<account>[^./]+)\.dfs\.(?P<cloud>core\.[^/]+)(?P<path>/.*)?", re.DOTALL
)


class AbfsArtifactRepository(AzureBlobArtifactRepository):
    """Files below `abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH`, by MLflow's client for blobs.

    It signs in by AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCESS_KEY where they are set, else as the
    platform does (`spark.credentials`). Raises TrackingError for an address of another form.
    """

    def __init__(self, artifact_uri: str, client: Any = None, *args: Any, **kwargs: Any) -> None:
        address = as_blobs(artifact_uri)
        super().__init__(address, client or _blob_client(address), *args, **kwargs)


class AbfssArtifactRepository(AzureDataLakeArtifactRepository):
    """MLflow's repository for `abfss://`, signed in by AZURE_STORAGE_SAS_TOKEN where it is set,
    else as the platform does.
    """

    def __init__(self, artifact_uri: str, credential: Any = None, *args: Any, **kwargs: Any) -> None:
        if credential is None and not os.environ.get(_SAS):
            credential = credentials.credential()
        super().__init__(artifact_uri, credential, *args, **kwargs)


def repository_at(location: str, tracking: str | None = None) -> Any:
    """MLflow's artifact repository of a location; in Azure storage one that signs in as the platform does."""
    from mlflow.store.artifact import artifact_repository_registry as registry

    scheme = location.partition(":")[0]
    own = {"abfs": AbfsArtifactRepository, "abfss": AbfssArtifactRepository}.get(scheme)
    return own(location) if own else registry.get_artifact_repository(location, tracking_uri=tracking)


def _blob_client(address: str) -> Any:
    """A client of the blob service signed in as the platform, or None where the environment holds a key."""
    if any(name in os.environ for name in (CONNECTION, "AZURE_STORAGE_ACCESS_KEY")):
        return None
    from azure.storage.blob import BlobServiceClient

    return BlobServiceClient(f"https://{urlsplit(address).hostname}", credentials.credential())


def as_blobs(artifact_uri: str) -> str:
    """The `wasbs://` address of the same files. Raises TrackingError for an address of another form."""
    found = _ABFS.fullmatch(artifact_uri)
    if found is None:
        raise TrackingError(
            f"{artifact_uri!r} is no place for artifacts. Give mlflow.*.artifacts the form "
            "abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/FOLDER"
        )
    return f"wasbs://{found['container']}@{found['account']}.blob.{found['cloud']}{found['path'] or ''}"


def delete_folder(repository: Any, files: Iterable[str]) -> None:
    """Remove the folder of MLflow's repository for `abfss://`, which deletes nothing itself,
    where it holds one of `files`.

    A missing folder is no error. The service removes a folder as one; file by file, an account with a
    hierarchical namespace would keep it, empty.
    """
    from azure.core.exceptions import ResourceNotFoundError

    names = set(files)
    if names.isdisjoint(_names(repository)):
        return
    try:
        repository.fs_client.get_directory_client(repository.base_data_lake_directory).delete_directory()
    except ResourceNotFoundError:
        # Azure's client sends a request again whose answer was lost: the first one may have worked.
        if not names.isdisjoint(_names(repository)):
            raise


def _names(repository: Any) -> set[str]:
    from azure.core.exceptions import ResourceNotFoundError

    try:
        return {found.path for found in repository.list_artifacts()}
    except ResourceNotFoundError:
        return set()
