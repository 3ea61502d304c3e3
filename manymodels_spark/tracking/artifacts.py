"""The files of one logged model: its payload and what plain `mlflow.pyfunc.load_model` wants beside it.

Made from a template that is rendered once per schema. Executors call `write`, so MLflow is imported only where a
location is no plain folder.
"""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from manymodels_spark.errors import PayloadError, TrackingError
from manymodels_spark.payload import sha256
from manymodels_spark.tracking.faults import status_of
from manymodels_spark.tracking.tags import PAYLOAD_FILE

LOADER = "manymodels_spark.pyfunc"
SERVERS_OWN = ("mlflow-artifacts:", "dbfs:/databricks/mlflow-tracking/")
_MISSING = "no payload at {}: the model's artifacts were deleted. Train and promote it again"


@dataclass(frozen=True)
class Template:
    """All that is equal in the models of one schema: signature (JSON text), requirements, MLflow's version."""

    signature: str
    requirements: tuple[str, ...]
    mlflow_version: str
    created: str

    def files(self, model_id: str, payload: bytes) -> dict[str, bytes]:
        """File name to content of one logged model."""
        python = platform.python_version()
        pip = "".join(f"    - {line}\n" for line in self.requirements)
        return {
            PAYLOAD_FILE: payload,
            "MLmodel": self._mlmodel(model_id, python, len(payload)).encode(),
            "requirements.txt": ("\n".join(self.requirements) + "\n").encode(),
            "conda.yaml": f"dependencies:\n- python={python}\n- pip\n- pip:\n{pip}name: mlflow-env\n".encode(),
            "python_env.yaml": (
                f"python: {python}\nbuild_dependencies:\n- pip\ndependencies:\n- -r requirements.txt\n"
            ).encode(),
        }

    def _mlmodel(self, model_id: str, python: str, size: int) -> str:
        # JSON is YAML, and this text is made tens of thousands of times.
        model = {
            "artifact_path": model_id,
            "flavors": {
                "python_function": {
                    "loader_module": LOADER,
                    "data": PAYLOAD_FILE,
                    "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                    "python_version": python,
                }
            },
            "mlflow_version": self.mlflow_version,
            "model_id": model_id,
            "model_uuid": model_id,
            "model_size_bytes": size,
            "signature": json.loads(self.signature),
            "utc_time_created": self.created,
        }
        return json.dumps(model, indent=1)


def local_path(location: str) -> Path | None:
    """The folder that an artifact location names, or None where it is no plain folder."""
    parsed = urlparse(location)
    if parsed.scheme == "file":
        return Path(unquote(parsed.path))
    return Path(location) if not parsed.scheme and location.startswith("/") else None


def by_server(location: str) -> bool:
    """Whether only the tracking server reaches the location, so that files go through MLflow."""
    return location.startswith(SERVERS_OWN)


def write(location: str, files: dict[str, bytes]) -> None:
    """Put the files at the artifact location; written again, they are the same.

    Raises TrackingError where the place is full or may not be written.
    """
    folder = local_path(location)
    if folder is not None:
        try:
            _write_folder(folder, files)
        except OSError as error:
            raise TrackingError(
                f"a model's files cannot be written to {folder} ({error.strerror or error}). Make room there or set "
                "mlflow.*.artifacts to another place, then run the same command again: what is missing is written"
            ) from error
        return
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with tempfile.TemporaryDirectory() as temporary:
        _write_folder(Path(temporary), files)
        repository: Any = get_artifact_repository(location)
        repository.log_artifacts(temporary)


def read_payload(location: str, expected_sha256: str | None, tracking: str | None = None) -> bytes:
    """The payload at an artifact location, checked. Raises PayloadError for a missing or altered one.

    `tracking` is the URI of the tracking server, which a location that only that server reaches
    (`mlflow-artifacts:/...`) needs.
    """
    payload = _local_payload(location) if local_path(location) is not None else _remote_payload(location, tracking)
    if expected_sha256 and sha256(payload) != expected_sha256:
        raise PayloadError(
            f"the payload at {location} has SHA-256 {sha256(payload)[:12]}…, its tag says {expected_sha256[:12]}…: "
            "it was altered or damaged and is not loaded. Promote the model again"
        )
    return payload


def _local_payload(location: str) -> bytes:
    path = Path(str(local_path(location))) / PAYLOAD_FILE
    if not path.exists():
        raise PayloadError(_MISSING.format(path))
    return path.read_bytes()


def _remote_payload(location: str, tracking: str | None) -> bytes:
    from mlflow.artifacts import download_artifacts

    name = f"{location.rstrip('/')}/{PAYLOAD_FILE}"
    with tempfile.TemporaryDirectory() as temporary:
        try:
            found = Path(download_artifacts(artifact_uri=name, dst_path=temporary, tracking_uri=tracking))
        except Exception as error:
            if status_of(error) == 404 or isinstance(error, FileNotFoundError) or "404" in str(error):
                raise PayloadError(_MISSING.format(name)) from error
            raise
        if not found.exists():
            raise PayloadError(_MISSING.format(name))
        return found.read_bytes()


def delete(location: str, tracking: str | None = None) -> None:
    """Remove the files of one model: a folder that holds no model is left alone. Missing ones are no error."""
    folder = local_path(location)
    if folder is not None:
        if (folder / PAYLOAD_FILE).exists() or (folder / "MLmodel").exists():
            shutil.rmtree(folder)
        return
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository: Any = get_artifact_repository(location, tracking_uri=tracking)
    if repository.list_artifacts():
        repository.delete_artifacts()


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
