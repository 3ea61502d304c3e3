"""May this identity write where the spec says: the lake, the roots of artifacts, staging; and is there room?

Each place is tried by writing a small file and removing it. Folders that are missing are not made.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from manymodels_spark.doctor.findings import Finding, failed, first_line, ok, skipped
from manymodels_spark.doctor.needs import unset
from manymodels_spark.errors import ManyModelsError
from manymodels_spark.spark.credentials import credential
from manymodels_spark.spark.storage import CONNECTION
from manymodels_spark.spec import Spec
from manymodels_spark.spec.source import resolve
from manymodels_spark.tracking.artifacts import by_server

CATALOG = re.compile(r"\w+(\.\w+)?\Z")
LEAST_FREE = 2 * 1024**3
_ABFS = re.compile(r"abfss?://([^@/]+)@([^/]+)/?(.*)")
_BLOB_SECONDS = 10


def write_to(check: str, location: str) -> Finding:
    """Whether a file can be written at a resolved location."""
    folder = local_folder(location)
    if folder is not None:
        return _write_local(check, folder)
    if found := _ABFS.match(location):
        return _write_blob(check, *found.groups())
    if by_server(location):
        return skipped(check, "the tracking server writes there")
    if CATALOG.match(location):
        return skipped(
            check, f"{location} is a catalog's: `manymodels doctor SPEC --spark` writes a table there"
        )
    return skipped(check, f"{urlparse(location).scheme}: is reached from the platform only")


def local_folder(location: str) -> Path | None:
    """The folder on this machine that a location names, or None;
    a volume of Databricks is one on its clusters.
    """
    parsed = urlparse(location)
    if parsed.scheme == "file":
        return Path(unquote(parsed.path))
    if location.startswith("dbfs:/Volumes/") and Path("/Volumes").is_dir():
        return Path(location.removeprefix("dbfs:"))
    plain = not parsed.scheme and not CATALOG.match(location)
    return Path(location).absolute() if plain else None


def places(spec: Spec, paths: tuple[str, ...]) -> Iterator[Finding]:
    """A finding for each place that the parts of the spec name."""
    named = {
        "lake": ("lake", spec.lake),
        "artifacts, development": ("mlflow.development", spec.mlflow.development.artifacts),
        "artifacts, production": ("mlflow.production", spec.mlflow.production.artifacts),
        "staging": ("warehouse", getattr(spec.warehouse, "staging", None)),
    }
    for check, (part, location) in named.items():
        if location is None or part not in paths:
            continue
        if missing := unset(spec, (part,)):
            yield skipped(f"write {check}", f"requires {', '.join(missing)}")
        else:
            yield write_to(f"write {check}", resolve(location))


def disk(spec: Spec | None) -> Iterator[Finding]:
    """Free room for temporary files and for a lake on this machine."""
    folders = {"disk for temporary files": Path(tempfile.gettempdir())}
    if (
        spec is not None
        and not unset(spec, ("lake",))
        and (lake := local_folder(resolve(spec.lake))) is not None
    ):
        folders["disk for the lake"] = lake
    for check, folder in folders.items():
        there = _existing(folder)
        free = shutil.disk_usage(there).free
        room = f"{free / 1024**3:.1f} GiB free at {there}"
        if free >= LEAST_FREE:
            yield ok(check, room)
        else:
            yield failed(
                check,
                room,
                "Make room (old files of Spark in the temporary folder), or set TMPDIR to a larger disk",
            )


def _write_local(check: str, folder: Path) -> Finding:
    there = _existing(folder)
    probe = there / f".manymodels-doctor-{uuid.uuid4().hex[:8]}"
    try:
        probe.write_bytes(b"probe")
        probe.unlink()
    except OSError as error:
        found = f"{there} cannot be written to ({error.strerror})"
        return failed(check, found, "Correct its permissions, make room, or name another place in the spec")
    return ok(check, str(folder))


def _existing(folder: Path) -> Path:
    """The folder itself or the nearest one above that is there."""
    return next(one for one in (folder, *folder.parents) if one.exists())


def _write_blob(check: str, container: str, host: str, path: str) -> Finding:
    """Write a file into Azure storage without Spark, signed in as Spark would be:
    by what the environment says.
    """
    try:
        with _service(host) as service:
            blob = service.get_blob_client(
                container, f"{path}/.manymodels-doctor-{uuid.uuid4().hex[:8]}".lstrip("/")
            )
            blob.upload_blob(b"probe", overwrite=True)
            blob.delete_blob()
    except ImportError as error:
        return skipped(
            check, f"{error.name} is not installed: pip install 'manymodels-spark[azure]', or `--spark`"
        )
    except ManyModelsError as error:
        return failed(
            check,
            first_line(error),
            "Give the spec's location the form abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/FOLDER",
        )
    except Exception as error:
        advice = (
            f"Give this identity the role Storage Blob Data Contributor on container {container}, and "
            "check the account's firewall"
        )
        return failed(check, f"{container} at {host} cannot be written to: {first_line(error)}", advice)
    return ok(check, f"{container} at {host}")


def _service(host: str) -> Any:
    from azure.storage.blob import BlobServiceClient

    if ".dfs." not in host:
        raise ManyModelsError(f"{host} is no host of a data lake")
    limits: dict[str, Any] = {
        "retry_total": 0,
        "connection_timeout": _BLOB_SECONDS,
        "read_timeout": _BLOB_SECONDS,
    }
    if connection := os.environ.get(CONNECTION):
        return BlobServiceClient.from_connection_string(connection, **limits)
    address = f"https://{host.replace('.dfs.', '.blob.', 1)}"
    return BlobServiceClient(address, credential(), **limits)
