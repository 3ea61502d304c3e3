"""From a spec to a running server: uvicorn in this process, or several that each make their own app."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.families.checked_spec import load_spec
from manymodels_spark.families.registry import importable
from manymodels_spark.serving.models.sources import ChampionSource, FolderChampions
from manymodels_spark.serving.settings import PREFIX, ServingSettings, is_loopback, require_access_control
from manymodels_spark.spec.source import resolve

if TYPE_CHECKING:
    from fastapi import FastAPI

log = logging.getLogger(__name__)
SPEC, MODELS = f"{PREFIX}SPEC", f"{PREFIX}MODELS"
OPTIONS: dict[str, Any] = {
    "access_log": False,
    "log_level": "warning",
    "server_header": False,
    "backlog": 2048,
    "timeout_keep_alive": 30,
    "timeout_graceful_shutdown": 20,
}


def source_of(spec: str | Path, models: str | Path | None = None) -> ChampionSource:
    """The production MLflow of a spec, or a folder of model files. Raises ManyModelsError before anything
    starts.
    """
    loaded = load_spec(spec)
    if models:
        if not Path(models).is_dir():
            raise ManyModelsError(
                f"{models} is no folder. Give the folder that holds the model files, or leave it out"
            )
        return FolderChampions(Path(models))
    from manymodels_spark.serving.models.mlflow_source import MlflowChampions

    resolve(loaded.mlflow.production.tracking)
    return MlflowChampions.of(loaded)


def launch(
    spec: str,
    settings: ServingSettings,
    *,
    host: str,
    port: int,
    workers: int = 1,
    models: Path | None = None,
) -> None:
    """Serve until interrupted.

    Raises:
        ManyModelsError: The server's packages are missing, or it would be open to everybody unsaid.

    """
    require_access_control(settings, host)
    try:
        import uvicorn
    except ImportError as error:
        raise ManyModelsError("serving needs more packages: pip install 'manymodels-spark[serve]'") from error
    source_of(spec, models)
    # A worker process does not know where it listens, which was looked at here.
    checked = settings if settings.guarded else settings.model_copy(update={"open": True})
    _to_environment(spec, checked, models)
    log_requests()
    log.warning("%s", access_of(settings, host))
    uvicorn.run(
        "manymodels_spark.serving.launch:from_environment",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        **OPTIONS,
    )


def from_environment() -> FastAPI:
    """The app as MANYMODELS_SERVE_SPEC and its fellows say; for `uvicorn --factory` and other ASGI
    servers.
    """
    from manymodels_spark.serving.http.app import create_app

    spec = os.environ.get(SPEC)
    if not spec:
        raise ManyModelsError(f"{SPEC} is not set. Set it to the path of the spec and start again")
    settings = with_families(ServingSettings.of_environment(), spec)
    require_access_control(settings, None)
    log_requests()
    return create_app(source_of(spec, os.environ.get(MODELS)), settings)


def with_families(settings: ServingSettings, spec: str | Path) -> ServingSettings:
    """The settings with the families that the spec names: their modules may be imported for a model."""
    families = dict.fromkeys([*settings.families, *importable(load_spec(spec))])
    return settings.model_copy(update={"families": tuple(families)})


def access_of(settings: ServingSettings, host: str) -> str:
    """One sentence that says who may ask."""
    required = [
        *([f"{len(settings.keys)} bearer keys"] if settings.keys else []),
        *([f"Entra tokens for {settings.entra_audience}"] if settings.entra_audience else []),
    ]
    if required:
        return f"requests require {' or '.join(required)}"
    who = "everybody on this machine" if is_loopback(host) else "everybody who reaches it"
    return f"no key or token is required: open to {who}"


def log_requests() -> None:
    """One JSON line a request to the standard output; everything else at the level of the program."""
    from manymodels_spark.serving.http.telemetry import Gathered

    logger = logging.getLogger("manymodels_spark.serving.access")
    if not logger.handlers:
        handler = Gathered(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


def _to_environment(spec: str, settings: ServingSettings, models: Path | None) -> None:
    """Worker processes are new interpreters: they read their settings from the environment."""
    os.environ[SPEC] = str(Path(spec).absolute())
    if models:
        os.environ[MODELS] = str(models.absolute())
    for name in sorted(settings.model_fields_set):
        value = getattr(settings, name)
        if name == "keys":
            text = "".join(f"{key.get_secret_value()}\n" for key in value)
        elif isinstance(value, tuple):
            text = "".join(f"{line}\n" for line in value)
        else:
            text = str(value)
        os.environ[PREFIX + name.upper()] = text
