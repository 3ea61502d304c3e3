"""A logged model where nothing is installed but what it says
itself that it needs, and no lake, Spark or spec is near.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.packaged import ROOT, wheel
from integration.tracking_models import keys, log_all, new_repository

from manymodels_spark.tracking.artifacts import local_path

pytestmark = pytest.mark.services
FORECAST = """
import importlib.util, json, sys
import mlflow
import pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/" + sys.argv[2])
ahead = model.predict(pd.DataFrame(), params={"horizon": 3, "levels": [80]})
asked = model.predict(pd.DataFrame({"date": pd.to_datetime(["2026-02-13"])}))
print(json.dumps({
    "ahead": ahead["prediction"].tolist(), "columns": list(ahead), "asked": asked["prediction"].tolist(),
    "absent": [name for name in ("pyspark", "delta", "duckdb") if importlib.util.find_spec(name) is None],
}))
"""


def test_a_model_loads_and_predicts_with_its_stated_requirements_alone(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    repository, spec = new_repository(tmp_path, uri)
    key = keys(3)[2]
    model = log_all(repository, spec, keys(3), "job-1")[key.id]
    folder = local_path(model.location)
    assert folder is not None

    python = clean(tmp_path / "clean", folder / "requirements.txt", wheel(tmp_path / "dist").parent)
    (tmp_path / "forecast.py").write_text(FORECAST)
    answer = run([str(python), str(tmp_path / "forecast.py"), uri, model.model_id], tmp_path)

    assert json.loads(answer.splitlines()[-1]) == {
        "ahead": [2.0, 3.0, 4.0],
        "columns": ["date", "prediction", "lower_80", "upper_80"],
        "asked": [3.0],
        "absent": ["pyspark", "delta", "duckdb"],
    }


def clean(folder: Path, requirements: Path, wheels: Path) -> Path:
    """The Python of an environment with these requirements;
    what they leave open is as in the tests' own environment.
    """
    uv = [sys.executable, "-m", "uv"]
    run([*uv, "venv", "--python", sys.executable, str(folder)], folder.parent)
    options = ["--find-links", str(wheels), "-c", str(ROOT / "constraints.txt"), "-r", str(requirements)]
    run([*uv, "pip", "install", "-p", str(folder / "bin" / "python"), *options], folder.parent)
    return folder / "bin" / "python"


def run(command: list[str], folder: Path) -> str:
    """What a command prints, run without a trace of this
    package or of MLflow's settings in its environment.
    """
    ours = ("MANYMODELS_", "MLFLOW_", "SPARK_", "PYTHON", "VIRTUAL_ENV")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    answer = subprocess.run(
        command, cwd=folder, env=bare, capture_output=True, text=True, timeout=600, check=False
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    return answer.stdout
