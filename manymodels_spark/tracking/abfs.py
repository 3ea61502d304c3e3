"""MLflow's artifacts at `abfs://`: a plugin for a scheme that MLflow itself does not know; and how `abfss://`
is emptied.

MLflow takes `abfss://` through the service for folders (dfs), which only accounts with a hierarchical
namespace have, and only over TLS. The blob service reaches the same files in every account, and the emulator
speaks it, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from mlflow.store.artifact.azure_blob_artifact_repo import AzureBlobArtifactRepository

from manymodels_spark.errors import TrackingError

_ABFS = re.compile(
    r"abfs://(?P<container>[^@/]+)@(?P<account>[^./]+)\.dfs\.(?P<cloud>core\.[^/]+)(?P<path>/.*)?", re.DOTALL
)


class AbfsArtifactRepository(AzureBlobArtifactRepository):
    """Files below `abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH`, by MLflow's client for blobs.

    It signs in as that does: AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_ACCESS_KEY, or azure-identity's
    defaults. Raises TrackingError for an address of another form.
    """

    def __init__(self, artifact_uri: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(as_blobs(artifact_uri), *args, **kwargs)


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
    """Remove the folder of MLflow's repository for `abfss://`, which deletes nothing itself, where it holds
    one of `files`.

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
