"""What `manymodels doctor SPEC --spark` asks of a session: the executors' packages, a table in the lake."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from builders import make_spec

from manymodels_spark.doctor.cluster import cluster, executors, lake
from manymodels_spark.families.naive import SeasonalNaive
from manymodels_spark.stages.runs.job import Job

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def test_a_sound_session_has_the_packages_and_writes_the_lake(
    spark: SparkSession, make_job: Callable[..., Job]
) -> None:
    job = make_job()
    found = list(cluster(spark, job.spec))
    assert [(finding.check, finding.state) for finding in found] == [
        ("executors", "ok"),
        ("write lake by Spark", "ok"),
    ]
    assert f"Python {platform.python_version()}" in found[0].found
    assert job.lake.read("doctor").count() == 1


def test_a_package_that_the_executors_lack_is_named(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SeasonalNaive, "packages", ("not-to-be-had",))
    found = executors(spark, make_spec(tmp_path))
    assert (found.state, found.found) == ("failed", "lack not-to-be-had")
    assert "on every node" in found.advice


def test_a_lake_that_spark_may_not_write_is_named(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = lake(spark, make_spec(tmp_path, lake=str(tmp_path / "file" / "lake")))
    assert found.state == "failed"
    assert f"{tmp_path}/file/lake/sales/doctor" in found.found
