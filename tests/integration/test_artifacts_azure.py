"""Models' files in Azure Blob Storage, on the emulator:
written, read and deleted by us, loaded by plain MLflow.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from builders import make_spec
from integration.tracking_models import keys, log_all, payloads

from manymodels_spark.errors import PayloadError
from manymodels_spark.stages.promote.champions_index import current_champions
from manymodels_spark.stages.promote.routing_model import publish
from manymodels_spark.tracking.opening import open_repository

pytestmark = pytest.mark.services


@pytest.mark.parametrize("scheme", ["abfs", "wasbs"])
def test_models_live_in_a_container_and_plain_mlflow_loads_them(
    scheme: str, abfs: str, mlflow_at: Callable[[str], None], tmp_path: Path
) -> None:
    container = abfs.removeprefix("abfs://").partition("@")[0]
    root = {
        "abfs": f"{abfs}/models",
        "wasbs": f"wasbs://{container}@devstoreaccount1.blob.core.windows.net/models",
    }[scheme]
    where = {"tracking": f"sqlite:///{tmp_path}/prod.db", "artifacts": root}
    spec = make_spec(tmp_path, mlflow={"development": where, "production": where})
    repository = open_repository(spec.mlflow.production, spec)
    models, some = log_all(repository, spec, keys(3), "job-1"), keys(3)
    assert all(model.location.startswith(root) for model in models.values())
    assert {key.id: repository.read(models[key.id]) for key in some} == payloads(spec, some)
    publish(repository, spec, current_champions(repository).values())
    mlflow_at(repository.client.uri)
    one = mlflow.pyfunc.load_model(f"models:/{models[some[2].id].model_id}")
    assert one.predict(pd.DataFrame(), params={"horizon": 2})["prediction"].tolist() == [2.0, 3.0]
    every = mlflow.pyfunc.load_model("models:/sales@champion")
    rows = pd.DataFrame([{**key.as_dict(), "date": "2026-02-12"} for key in some])
    assert every.predict(rows)["prediction"].tolist() == [0.0, 1.0, 2.0]
    repository.remove([models[some[0].id]])
    with pytest.raises(PayloadError, match="artifacts were deleted"):
        repository.read(models[some[0].id])
    assert repository.read(models[some[1].id]) == payloads(spec, some)[some[1].id]
