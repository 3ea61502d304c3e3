"""Rollback and retention as stages: roles in MLflow, the index, the record of what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from promotions import PARTITIONS, promoted

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.lake.tables import PROMOTIONS
from manymodels_spark.stages.maintain.retire import retire
from manymodels_spark.stages.promote.champions_index import read_index, verify
from manymodels_spark.stages.promote.rollback import rollback
from manymodels_spark.stages.promote.stage import promote
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.train.due import Choice
from manymodels_spark.stages.train.stage import train
from manymodels_spark.tracking.artifacts import local_path
from manymodels_spark.tracking.opening import open_production

pytestmark = pytest.mark.spark


def champions(job: Job) -> dict[str, str]:
    """Partition id to the promotion that made its champion."""
    return {row["partition_id"]: row["promotion"] for row in read_index(job).collect()}


def test_back_to_the_former_champion_and_to_a_named_promotion(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    job, ids = promoted(make_job, tmp_path, 2)
    assert set(champions(job).values()) == {ids[1]}

    dry = rollback(job, only="store = 1", dry_run=True)
    assert dry.counts == {"champions": 1, "rolled_back": 1, "already": 0, "impossible": 0}
    assert set(champions(job).values()) == {ids[1]}

    report = rollback(job, only="store = 1")
    assert report.note == "1 of 1 champions go back to previous"
    assert sorted(champions(job).values()) == sorted([ids[0], ids[1], ids[1]])
    assert verify(job) == []
    recorded = job.lake.read(PROMOTIONS).filter("outcome = 'rolled back'").collect()
    assert [(row["promotion"], row["reason"]) for row in recorded] == [(report.run_id, "back to previous")]

    everywhere = rollback(job, to=ids[0])
    assert everywhere.counts == {"champions": 3, "rolled_back": 2, "already": 1, "impossible": 0}
    assert set(champions(job).values()) == {ids[0]}
    with pytest.raises(ManyModelsError, match="none of 3 partitions has a former champion"):
        rollback(job)
    with pytest.raises(ManyModelsError, match="no model .* comes from a training run or promotion 'nowhere'"):
        rollback(job, to="nowhere")


@pytest.mark.slow  # tests/unit/test_retention.py has the rule
def test_retention_keeps_the_newest_and_whatever_a_champion_stands_on(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    job, _ = promoted(make_job, tmp_path, 3)
    with pytest.raises(ManyModelsError, match=r"nothing says which models .* --keep N"):
        retire(job)
    assert retire(job, older_than=timedelta(days=1)).counts == {"models": 18, "retired": 0, "protected": 0}
    expected = {"models": 18, "retired": 6, "protected": 6}
    assert retire(job, keep=1, dry_run=True).counts == expected
    before = set(tmp_path.rglob("payload.bin"))
    assert retire(job, keep=1).counts == expected
    assert len(before) - len(set(tmp_path.rglob("payload.bin"))) == 6
    assert retire(job, keep=1).counts == {"models": 12, "retired": 0, "protected": 6}
    assert verify(job) == []
    assert rollback(job).counts["rolled_back"] == PARTITIONS


# The same retention in the other form of a registry, which tests/integration/test_tracking_registry.py holds.
@pytest.mark.slow
def test_registered_versions_go_with_their_models_and_no_alias_ever_leads_to_nothing(
    make_job: Callable[..., Job], tmp_path: Path, mlflow_at: Callable[[str], None]
) -> None:
    job, _ = promoted(make_job, tmp_path, 3, promote={"form": "registered_models"})
    assert registered(job) == {("partition", (1, 2, 3), 3, 2): PARTITIONS, ("all", (1, 2, 3), 3, 2): 1}

    assert retire(job, keep=1).counts == {"models": 18, "retired": 6, "protected": 6}
    assert registered(job) == {("partition", (2, 3), 3, 2): PARTITIONS, ("all", (2, 3), 3, 2): 1}
    assert verify(job) == []
    assert answers(job, mlflow_at) == {"champion": PARTITIONS, "previous": PARTITIONS}

    assert rollback(job).counts["rolled_back"] == PARTITIONS
    assert registered(job)["partition", (2, 3), 2, None] == PARTITIONS, (
        "what was previous is champion, and nothing is previous"
    )
    assert retire(job, keep=1).counts["retired"] == 0, (
        "one version is the champion, the other what all went back from"
    )
    train(job, Choice(force=True))
    promote(job)
    retire(job, keep=1)
    assert registered(job) == {("partition", (2, 4), 4, 2): PARTITIONS, ("all", (2, 4), 4, 2): 1}
    assert answers(job, mlflow_at) == {"champion": PARTITIONS, "previous": PARTITIONS}
    assert rollback(job).counts["rolled_back"] == PARTITIONS


def registered(job: Job) -> Counter[tuple[object, ...]]:
    """How often a registered model has these versions, all with their files, and these under its aliases."""
    api = open_production(job.spec).client.mlflow
    found: Counter[tuple[object, ...]] = Counter()
    for model in api.search_registered_models():
        versions = api.search_model_versions(f"name='{model.name}'")
        assert all(next(local(version.source).iterdir(), None) for version in versions)
        aliases = {alias: int(version) for alias, version in model.aliases.items()}
        kind = "all" if model.name == job.spec.name else "partition"
        found[
            kind,
            tuple(sorted(int(version.version) for version in versions)),
            aliases["champion"],
            aliases.get("previous"),
        ] += 1
    return found


def local(source: str) -> Path:
    folder = local_path(source)
    assert folder is not None
    return folder


def answers(job: Job, mlflow_at: Callable[[str], None]) -> dict[str, int]:
    """For how many partitions the model that routes has a prediction, by alias."""
    mlflow_at(job.spec.mlflow.production.tracking)
    asked = pd.DataFrame({"store": range(PARTITIONS), "item": 1, "date": "2026-02-10"})
    models = {
        alias: mlflow.pyfunc.load_model(f"models:/{job.spec.name}@{alias}")
        for alias in ("champion", "previous")
    }
    return {alias: int(model.predict(asked)["prediction"].notna().sum()) for alias, model in models.items()}
