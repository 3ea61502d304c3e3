"""The settings of a session of our own, by where it runs; nothing here starts one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manymodels_spark.spark import session
from manymodels_spark.spark.session import cores, own_settings, shuffle_partitions


class Conf(dict[str, str]):
    """The settings of a session, as `spark.conf` has them."""


class Spark:
    """A session that tells its settings and, where asked, into how many partitions it cuts a range."""

    def __init__(self, parallelism: int = 0, **settings: str) -> None:
        self.conf = Conf({name.replace("_", "."): value for name, value in settings.items()})
        self.parallelism = parallelism


@pytest.fixture(autouse=True)
def _without_java(monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(spark: Any) -> int:
        return int(spark.parallelism)

    monkeypatch.setattr(session, "jar_paths", lambda group: [Path(f"/jars/{group}.jar")])
    monkeypatch.setattr(session, "_parallelism", counted)


def test_a_local_session_has_delta_few_partitions_and_listens_on_the_loopback_address() -> None:
    settings = own_settings("local[2]")
    assert settings["spark.jars"] == "/jars/core.jar"
    assert settings["spark.sql.shuffle.partitions"] == "8"
    assert settings["spark.driver.host"] == "127.0.0.1"
    assert "-Duser.timezone=UTC" in settings["spark.driver.extraJavaOptions"], (
        "a database's times are read as they stand"
    )


def test_executors_on_other_machines_can_reach_the_driver() -> None:
    settings = own_settings("spark://master:7077")
    assert settings["spark.jars"] == "/jars/core.jar"
    assert settings["spark.executorEnv.OMP_NUM_THREADS"] == "1"
    assert settings["spark.executor.extraJavaOptions"] == "-Duser.timezone=UTC"
    assert not [name for name in settings if name.startswith("spark.driver.")]
    assert "spark.sql.warehouse.dir" not in settings


def test_a_connect_server_is_told_only_what_a_session_may_set() -> None:
    assert {name.rpartition(".")[0] for name in own_settings("sc://host:15002")} <= {
        "spark.sql.execution.arrow.pyspark",
        "spark.sql.execution.arrow",
        "spark.sql.session",
    }


@pytest.mark.parametrize(
    ("spark", "expected"),
    [
        (Spark(spark_master="local[3,4]"), 3),
        (Spark(parallelism=6, spark_master="spark://h:7077"), 6),
        (
            Spark(parallelism=2, spark_master="yarn", spark_executor_instances="4", spark_executor_cores="8"),
            32,
        ),
        (Spark(parallelism=16), 16),
    ],
    ids=[
        "local",
        "standalone: what has registered",
        "executors on their way",
        "Connect: no master to be seen",
    ],
)
def test_cores_are_those_of_the_machine_or_of_the_cluster(spark: Any, expected: int) -> None:
    assert cores(spark) == expected


def test_shuffles_go_by_the_setting_or_by_the_cores_where_the_platform_chooses() -> None:
    assert shuffle_partitions(Spark(spark_sql_shuffle_partitions="12")) == 12  # type: ignore[arg-type]
    assert shuffle_partitions(Spark(parallelism=8, spark_sql_shuffle_partitions="auto")) == 32  # type: ignore[arg-type]
