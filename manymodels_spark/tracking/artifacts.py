"""The files of one logged model: its payload and what plain `mlflow.pyfunc.load_model` requires.

Made from a template that is rendered once per schema. Executors call `write`, so MLflow is imported only
where a location is no plain folder.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlparse

from manymodels_spark.errors import PayloadError, TrackingError
from manymodels_spark.modeling.payload import sha256
from manymodels_spark.spark.storage import SCHEMES
from manymodels_spark.tracking.faults import status_of
from manymodels_spark.tracking.tags import PAYLOAD_FILE, SHA256

LOADER = "manymodels_spark.flavor.pyfunc"
EXAMPLE_FILE = "input_example.json"
DATABRICKS_OWN = "dbfs:/databricks/mlflow-tracking/"
SERVERS_OWN = ("mlflow-artifacts:", DATABRICKS_OWN)
_OF_A_MODEL = (PAYLOAD_FILE, "MLmodel")
_MISSING = "no payload at {}: the model's artifacts were deleted. Train and promote it again"

# How stores report a missing file. MLflow makes one text of it, without a status or a cause: a heading that
# names the place, then a line per file. Whole words at their places, so that no id, port or path of an
# address is taken for one.
_GONE = re.compile(
    r"^404 (?:Client Error\b|[A-Z]+ https?://)"
    r"|^(?:\[Errno 2\] )?No such (?:file or directory|artifact)\b"
    r"|^ErrorCode:(?:Blob|Path|Resource)NotFound\b"
    r"|^An error occurred \((?:404|NoSuchKey)\) when calling ",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Template:
    """All that is equal in the models of one schema: signature (JSON text), requirements, MLflow's version,
    and an input example (JSON of a DataFrame, split) where there is one. `loader` is the module that MLflow
    calls, with the file `data` of the model or, where that is None, with its folder.
    """

    signature: str
    requirements: tuple[str, ...]
    mlflow_version: str
    created: str
    example: str | None = None
    loader: str = LOADER
    data: str | None = PAYLOAD_FILE

    def files(self, model_id: str, payload: bytes) -> dict[str, bytes]:
        """File name to content of one logged model."""
        return {PAYLOAD_FILE: payload, **self.around(model_id, len(payload), sha256(payload))}

    def around(self, model_id: str | None, size: int, checksum: str | None = None) -> dict[str, bytes]:
        """The files of a logged model but its own of `size` bytes and, for a payload, this checksum."""
        example = {} if self.example is None else {EXAMPLE_FILE: self.example.encode()}
        return {"MLmodel": self._mlmodel(model_id, size, checksum).encode(), **self._environment, **example}

    @cached_property
    def _environment(self) -> dict[str, bytes]:
        python = platform.python_version()
        pip = "".join(f"    - {line}\n" for line in self.requirements)
        return {
            "requirements.txt": ("\n".join(self.requirements) + "\n").encode(),
            "conda.yaml": f"dependencies:\n- python={python}\n- pip\n- pip:\n{pip}name: "
            "mlflow-env\n".encode(),
            "python_env.yaml": (
                f"python: {python}\nbuild_dependencies:\n- pip\ndependencies:\n- -r requirements.txt\n"
            ).encode(),
        }

    def _mlmodel(self, model_id: str | None, size: int, checksum: str | None) -> str:
        # JSON is YAML, and this text is made tens of thousands of times.
        flavor = {
            "loader_module": self.loader,
            "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
            "python_version": platform.python_version(),
        }
        model = {
            "flavors": {"python_function": flavor if self.data is None else {**flavor, "data": self.data}},
            "mlflow_version": self.mlflow_version,
            "model_size_bytes": size,
            "signature": json.loads(self.signature),
            "utc_time_created": self.created,
        }
        if checksum is not None:
            model["metadata"] = {SHA256: checksum}
        if model_id is not None:
            model |= {"artifact_path": model_id, "model_id": model_id, "model_uuid": model_id}
        if self.example is not None:
            model["saved_input_example_info"] = {
                "artifact_path": EXAMPLE_FILE,
                "type": "dataframe",
                "pandas_orient": "split",
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
                f"a model's files cannot be written to {folder} ({error.strerror or error}). Make room "
                "there or set "
                "mlflow.*.artifacts to another place, then run the same command again: what is missing is "
                "written"
            ) from error
        return
    from manymodels_spark.tracking.abfs import repository_at

    with tempfile.TemporaryDirectory() as temporary:
        _write_folder(Path(temporary), files)
        repository_at(location).log_artifacts(temporary)


def read_payload(location: str, expected_sha256: str | None, tracking: str | None = None) -> bytes:
    """The payload at an artifact location, checked. Raises PayloadError for a missing or altered one.

    `tracking` is the URI of the tracking server, which a location that only that server reaches
    (`mlflow-artifacts:/...`) needs.
    """
    payload = read_file(location, PAYLOAD_FILE, tracking)
    if expected_sha256 and sha256(payload) != expected_sha256:
        raise PayloadError(
            f"the payload at {location} has SHA-256 {sha256(payload)[:12]}…, its tag says "
            f"{expected_sha256[:12]}…: "
            "it was altered or damaged and is not loaded. Promote the model again"
        )
    return payload


def read_file(location: str, name: str, tracking: str | None = None) -> bytes:
    """One file at an artifact location, as it is. Raises PayloadError where it is missing."""
    folder = local_path(location)
    if folder is None:
        return _remote_file(f"{location.rstrip('/')}/{name}", tracking)
    if not (folder / name).exists():
        raise PayloadError(_MISSING.format(folder / name))
    return (folder / name).read_bytes()


def _remote_file(uri: str, tracking: str | None) -> bytes:
    with tempfile.TemporaryDirectory() as temporary:
        try:
            found = Path(_download(uri, temporary, tracking))
        except Exception as error:
            if _is_gone(error):
                raise PayloadError(_MISSING.format(uri)) from error
            raise
        if not found.exists():
            raise PayloadError(_MISSING.format(uri))
        return found.read_bytes()


def _download(uri: str, folder: str, tracking: str | None) -> str:
    """Bring one file into a folder; gives its path there."""
    if uri.startswith(SCHEMES):
        from manymodels_spark.tracking.abfs import repository_at

        location, _, name = uri.rpartition("/")
        return str(repository_at(location).download_artifacts(name, folder))
    from mlflow.artifacts import download_artifacts

    return str(download_artifacts(artifact_uri=uri, dst_path=folder, tracking_uri=tracking))


def _is_gone(error: Exception) -> bool:
    """Whether a store reported that the file is missing:
    by the status where there is one, else by type or words.
    """
    status = status_of(error)
    if status is not None:
        return status == 404
    missing = (
        isinstance(error, FileNotFoundError)
        or getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST"
    )
    return missing or _GONE.search(str(error)) is not None


def delete(location: str, tracking: str | None = None) -> None:
    """Remove the files of one model: a folder that holds no model stays. Missing ones are no error.

    Nothing is removed from the storage that Databricks manages (`dbfs:/databricks/mlflow-tracking/...`).
    """
    folder = local_path(location)
    if folder is not None:
        if any((folder / name).exists() for name in _OF_A_MODEL):
            shutil.rmtree(folder)
        return
    if location.startswith(DATABRICKS_OWN):
        # MLflow's client has no deletion there, and what is asked of it does nothing. The files of a logged
        # model are Databricks's to remove once the model is deleted; those of a run stay with the run.
        return
    from manymodels_spark.tracking.abfs import delete_folder, repository_at

    repository = repository_at(location, tracking)
    if location.startswith("abfss:"):
        delete_folder(repository, _OF_A_MODEL)
    elif repository.list_artifacts():
        repository.delete_artifacts()


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
