"""What the flags of the commands ask of the stages: each reaches its stage as it was meant."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from manymodels_spark.cli import common, inspecting, main, models, running
from manymodels_spark.stages.maintain import retire
from manymodels_spark.stages.promote import champions_index, rollback
from manymodels_spark.stages.promote import stage as promote_stage
from manymodels_spark.stages.runs.job import StageReport
from manymodels_spark.stages.train import stage as train_stage
from manymodels_spark.stages.train.due import Choice


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """What a stage was called with, beside the job."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def stage(job: object, *args: Any, **kwargs: Any) -> StageReport:
        calls.append((args, kwargs))
        return StageReport("stage", "run-1", note="done")

    for module in (running, models, inspecting):
        monkeypatch.setattr(module, "job_of", lambda spec: spec)
    for module, name in (
        (train_stage, "train"),
        (promote_stage, "promote"),
        (retire, "retire"),
        (rollback, "rollback"),
        (champions_index, "rebuild"),
    ):
        monkeypatch.setattr(module, name, stage)
    return calls


@pytest.mark.parametrize(
    ("flags", "choice"),
    [
        ([], Choice()),
        (["--only", "store = 12"], Choice(only="store = 12")),
        (["--failed"], Choice(failed=True)),
        (["--older-than", "7d"], Choice(older_than=timedelta(days=7))),
        (["--older-than", "12h"], Choice(older_than=timedelta(hours=12))),
        (["--older-than", "30m", "--force"], Choice(older_than=timedelta(minutes=30), force=True)),
        (["--only-degraded"], Choice(degraded=True)),
    ],
)
def test_train_chooses_as_its_flags_say(asked: list[Any], flags: list[str], choice: Choice) -> None:
    assert CliRunner().invoke(main, ["train", "spec.yaml", *flags]).exit_code == 0
    assert asked == [((choice,), {})]


@pytest.mark.parametrize("text", ["7", "d", "7w", "-1d", "1.5d", "7d "])
def test_an_age_that_is_none_is_told_with_what_was_expected(asked: list[Any], text: str) -> None:
    result = CliRunner().invoke(main, ["train", "spec.yaml", "--older-than", text])
    assert result.exit_code == 2
    assert "Expected a number with d, h or m, e.g. 7d" in " ".join(result.output.split())
    assert asked == []


def test_promote_rollback_retire_and_index_pass_their_flags_on(asked: list[Any], tmp_path: Path) -> None:
    for line in (
        ["promote", "s", "--only", "store = 1", "--dry-run", "--write", str(tmp_path / "asked.yaml")],
        ["rollback", "s", "--where", "store = 1", "--to", "run-7", "--dry-run"],
        ["rollback", "s", "--only", "store = 2"],
        ["retire", "s", "--keep", "3", "--older-than", "90d", "--dry-run"],
        ["index", "s"],
    ):
        assert CliRunner().invoke(main, line).exit_code == 0
    assert asked == [
        ((), {"only": "store = 1", "dry_run": True, "write": tmp_path / "asked.yaml"}),
        ((), {"only": "store = 1", "to": "run-7", "dry_run": True}),
        ((), {"only": "store = 2", "to": "previous", "dry_run": False}),
        ((), {"keep": 3, "older_than": timedelta(days=90), "dry_run": True}),
        ((), {}),
    ]


def test_only_and_where_at_once_are_refused(asked: list[Any]) -> None:
    assert CliRunner().invoke(main, ["rollback", "s", "--only", "a", "--where", "b"]).exit_code == 2
    assert asked == []


@pytest.mark.parametrize(("wrong", "code"), [([], 0), (["p1", "p2"], 1)])
def test_verifying_the_index_ends_with_1_where_it_differs(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch, wrong: list[str], code: int
) -> None:
    monkeypatch.setattr(champions_index, "verify", lambda job: wrong)
    result = CliRunner().invoke(main, ["index", "s", "--verify"])
    assert (result.exit_code, asked) == (code, [])
    assert f"{len(wrong)} partitions differ" in result.output
    assert all(partition in result.output for partition in wrong)


def test_there_is_one_notion_of_an_age() -> None:
    assert common.age(None) is None
