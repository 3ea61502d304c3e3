"""Java's archive of Spark's classes: which options Java gets, and for which Java it counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from manymodels_spark.spark import class_archive
from manymodels_spark.spark.session import own_settings


@pytest.fixture
def jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of jars, and a Java that says which one it is."""
    java = tmp_path / "java"
    java.joinpath("bin").mkdir(parents=True)
    java.joinpath("release").write_text('JAVA_VERSION="21"\nJAVA_RUNTIME_VERSION="21.0.2+13/x y"\n')
    folder = tmp_path / "jars"
    folder.mkdir()
    monkeypatch.setenv("JAVA_HOME", str(java))
    monkeypatch.setenv("MANYMODELS_JARS", str(folder))
    return folder


def archive(folder: Path) -> Path:
    return folder / f"spark-{class_archive.version('pyspark')}-java-21.0.2-13-x-y.jsa"


def test_java_gets_the_archive_that_was_made_with_it(jars: Path) -> None:
    assert class_archive.java_options() == ""
    archive(jars).write_bytes(b"")
    assert class_archive.java_options().startswith(f"-XX:SharedArchiveFile={archive(jars)} -Xshare:auto ")


def test_a_path_with_a_space_is_no_option_of_java(
    jars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my jars"
    folder.mkdir()
    archive(folder).write_bytes(b"")
    monkeypatch.setenv("MANYMODELS_JARS", str(folder))
    assert class_archive.java_options() == ""


def test_what_is_there_is_not_made_again(jars: Path) -> None:
    archive(jars).write_bytes(b"made")
    assert class_archive.make() == archive(jars)
    assert archive(jars).read_bytes() == b"made"


def test_a_session_on_a_cluster_knows_nothing_of_it(jars: Path) -> None:
    archive(jars).write_bytes(b"")
    assert "spark.driver.extraJavaOptions" not in own_settings("spark://host:7077")
