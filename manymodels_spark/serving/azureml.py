"""The two functions that Azure ML's inference server calls. A whole scoring script is one line:

    from manymodels_spark.serving.azureml import init, run

Requests and answers are those of POST /v1/score. The spec is found by MANYMODELS_SERVE_SPEC or as `spec.yaml`
in AZUREML_MODEL_DIR; model files in its folder `models`, where there is one, are used instead of the
production MLflow.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from azureml_inference_server_http.api.aml_request import rawhttp  # type: ignore[import-untyped]
from azureml_inference_server_http.api.aml_response import AMLResponse  # type: ignore[import-untyped]

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.serving.failures import ScoreError
from manymodels_spark.serving.launch import MODELS, SPEC, source_of, with_families
from manymodels_spark.serving.models import sizes
from manymodels_spark.serving.models.cache import ModelCache
from manymodels_spark.serving.readiness import Readiness
from manymodels_spark.serving.service import ScoringService
from manymodels_spark.serving.settings import MIB, ServingSettings
from manymodels_spark.serving.work import Answer

MODEL_DIR = "AZUREML_MODEL_DIR"
_service: ScoringService | None = None


def init() -> None:
    """Called once by the inference server. Raises ManyModelsError, which its log then shows, where nothing is
    found.
    """
    global _service
    spec, models = _places()
    settings = with_families(ServingSettings.of_environment(), spec)
    cache = ModelCache(source_of(spec, models), settings)
    sizes.settle()
    Readiness(cache, settings).warm()
    _service = ScoringService(cache, settings)


@rawhttp  # type: ignore[untyped-decorator]
def run(request: Any) -> Any:
    """Called with every request, as Flask knows it; keys and tokens are the endpoint's business, not ours."""
    if _service is None:
        raise ManyModelsError(
            "init() was not called before run(). Start the script under the inference server"
        )
    answer = _answered(_service, request)
    headers = {
        "Content-Type": "application/json",
        "Server-Timing": f"model;dur={answer.model_seconds * 1e3:.3f}",
    }
    if answer.retry_after is not None:
        headers["Retry-After"] = str(answer.retry_after)
    return AMLResponse(answer.body, answer.status, headers)


def _answered(service: ScoringService, request: Any) -> Answer:
    limit = int(service.settings.body_mb * MIB)
    if request.method != "POST":
        return service.failed(ScoreError(405, "method_not_allowed", "rows are scored by POST"))
    if (request.content_length or 0) > limit:
        return service.failed(
            ScoreError(
                413, "body_too_large", f"the body is larger than {limit:,} bytes. Send the items in parts"
            )
        )
    return service.score(request.get_data())


def _places() -> tuple[Path, Path | None]:
    """The spec, and the folder of model files or None."""
    root = Path(os.environ.get(MODEL_DIR, "."))
    given, models = os.environ.get(SPEC), os.environ.get(MODELS)
    # Azure ML puts a registered model into a folder of its own below the one that the variable names.
    found = [root / given] if given else sorted([*root.glob("spec.yaml"), *root.glob("*/spec.yaml")])
    if not found:
        raise ManyModelsError(
            f"no spec.yaml in {MODEL_DIR} and {SPEC} is not set. Put the spec next to the models, or set it"
        )
    folder = Path(models) if models else found[0].parent / "models"
    return found[0], folder if models or folder.is_dir() else None
