"""A Delta log on this machine's disk: what its commits say, and when Spark is asked instead."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from manymodels_spark.lake.local_log import Detail, LocalLog


def session(master: str) -> Any:
    return SimpleNamespace(conf=SimpleNamespace(get=lambda name, default=None: master))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of versions 9 and 10 (earlier ones were cleaned up), with what else lies in a log."""
    log = tmp_path / "table" / "_delta_log"
    log.mkdir(parents=True)
    metadata = {"id": "x", "partitionColumns": ["a"], "configuration": {"delta.columnMapping.mode": "name"}}
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["columnMapping"]}
    for version, note, described in (
        (9, "first", [{"metaData": metadata}, {"protocol": protocol}]),
        (10, None, []),
    ):
        info = {"operation": "WRITE", "operationMetrics": {"numOutputRows": str(version)}}
        lines = [*described, {"commitInfo": info | ({"userMetadata": note} if note else {})}]
        log.joinpath(f"{version:020}.json").write_text(
            "\n".join(json.dumps(line, separators=(",", ":")) for line in lines)
        )
    for other in ("00000000000000000009.checkpoint.parquet", "_last_checkpoint", "00000000000000000010.crc"):
        log.joinpath(other).write_text("")
    return tmp_path / "table"


def test_the_newest_commit_is_found_and_notes_come_the_newest_first(table: Path) -> None:
    log = LocalLog.of(session("local[2,4]"), str(table))
    assert log is not None
    assert log.version == 10
    assert [(version, info.get("userMetadata")) for version, info in log.commits(5)] == [
        (10, None),
        (9, "first"),
    ]
    assert log.commits(1)[0][1]["operationMetrics"]["numOutputRows"] == "10"


def test_the_table_is_what_the_newest_commits_say(table: Path) -> None:
    log = LocalLog(table / "_delta_log")
    name = {"delta.columnMapping.mode": "name"}
    assert log.detail() == Detail("x", table.as_uri(), ("a",), name, frozenset({"columnMapping"}), 3)
    log.folder.joinpath(f"{9:020}.json").unlink()
    assert log.detail() is None, "the commit that said it was cleaned up: Spark is asked"


def test_spark_is_asked_where_the_table_may_lie_elsewhere(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = LocalLog.of(session("local[2]"), str(table / "none"))
    assert missing is not None and not missing.is_there
    assert LocalLog.of(session("local[2]"), "abfss://lake@account/table") is None
    assert LocalLog.of(session("spark://host:7077"), str(table)) is None
    assert LocalLog.of(session("local[2]"), f"file://{table}") == LocalLog(table / "_delta_log")
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    assert LocalLog.of(session("local[*, 4]"), str(table)) is None
