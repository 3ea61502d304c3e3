"""Variables that a platform carries as one parameter, and the approval that a variable asks for."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from manymodels_spark.cli import main
from manymodels_spark.cli.common import variables_of
from manymodels_spark.stages.promote.approval import approved


def test_settings_become_variables_and_what_is_empty_is_left_to_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("BOX_A", "BOX_B", "BOX_C"):
        monkeypatch.setenv(name, "before")
    settings = "BOX_A=jdbc:x;y=1\n# a comment\nBOX_B=\n"
    done = CliRunner().invoke(main, ["--set", settings, "--set", "BOX_C=c", "deploy", "--help"])
    assert done.exit_code == 0
    assert [os.environ[name] for name in ("BOX_A", "BOX_B", "BOX_C")] == ["jdbc:x;y=1", "before", "c"]


@pytest.mark.parametrize("line", ["no equals sign", "not a name=1", "=1"])
def test_a_setting_of_another_form_is_named(line: str) -> None:
    with pytest.raises(click.UsageError, match="has not the form NAME=VALUE"):
        variables_of(line)


def test_an_approval_is_asked_for_where_its_variable_is_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MANYMODELS_APPROVAL", raising=False)
    assert approved("${MANYMODELS_APPROVAL:-}") is None
    (tmp_path / "approved.csv").write_text("model_id,partition\nm-1,store=1\n")
    monkeypatch.setenv("MANYMODELS_APPROVAL", str(tmp_path / "approved.csv"))
    assert approved("${MANYMODELS_APPROVAL:-}") == {"m-1"}
