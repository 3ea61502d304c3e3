"""The model that routes, as promotion and rollback keep
it: loaded by alias and applied to a DataFrame of Spark.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from builders import days
from lakes import after
from pyspark.sql import SparkSession

from manymodels_spark.stages.maintain.retire import retire
from manymodels_spark.stages.promote.rollback import rollback
from manymodels_spark.stages.promote.routing_model import led_to, routing_model
from manymodels_spark.stages.promote.stage import promote
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.train.due import Choice
from manymodels_spark.stages.train.stage import train
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.opening import open_production

pytestmark = pytest.mark.spark
URI = "models:/sales@champion"


@pytest.fixture
def job(spark: SparkSession, mlflow_at: Callable[[str], None], tmp_path: Path) -> Job:
    """Three stores whose level is ten times their number,
    trained and promoted; MLflow looks at production.
    """
    rows = [
        {"store": store, "item": "a", "date": day, "units": 10 * store + number % 7}
        for store in (1, 2, 3)
        for number, day in enumerate(days(35))
    ]
    job = after("promote", tmp_path, spark, rows)
    mlflow_at(job.spec.mlflow.production.tracking)
    return job


def versions(job: Job) -> list[int]:
    """The versions under the aliases champion and previous."""
    model = routing_model(open_production(job.spec), job.spec)
    assert model is not None
    return [int(version.version) for alias in (t.CHAMPION, t.PREVIOUS) if (version := model.at(alias))]


def test_a_promotion_makes_a_version_that_answers_and_a_rollback_goes_back(job: Job) -> None:
    rows = pd.DataFrame({"store": [3, 1, 2], "item": "a", "date": "2026-02-05"})
    assert mlflow.pyfunc.load_model(URI).predict(rows)["prediction"].tolist() == [30.0, 10.0, 20.0]
    assert versions(job) == [1]

    asked = [(1, "a", "2026-02-06"), (3, "a", "2026-02-05"), (4, "a", "2026-02-05")]
    frame = job.spark.createDataFrame(asked, "store int, item string, date string")
    answers = mlflow.pyfunc.spark_udf(job.spark, URI)
    found = (
        frame.withColumn("p", answers(*frame.columns))
        .selectExpr("store", "p.prediction", "p.error = '' AS ok")
        .collect()
    )
    assert sorted((row["store"], row["prediction"] if row["ok"] else None) for row in found) == [
        (1, 11.0),
        (3, 30.0),
        (4, None),
    ]

    assert promote(job).counts["promoted"] == 0
    assert versions(job) == [1], "no champion changed"
    train(job, Choice(only="store = 2", force=True)), promote(job)
    assert versions(job) == [2, 1]
    rollback(job, only="store = 2")
    assert versions(job) == [1, 2]
    assert retire(job, keep=1).counts["retired"] == 0, "what the former version leads to stays"
    model = routing_model(open_production(job.spec), job.spec)
    assert model is not None and len(led_to(model, model.versions())) == 4
