"""Scoring script of an Azure ML online endpoint: the service of `manymodels serve`, behind Azure's own
server.

The spec is `spec.yaml` beside this file, unless MANYMODELS_SERVE_SPEC says otherwise.
"""

import os
from pathlib import Path

os.environ.setdefault("MANYMODELS_SERVE_SPEC", str(Path(__file__).resolve().parent / "spec.yaml"))

from manymodels_spark.serving.azureml import init, run

__all__ = ["init", "run"]
