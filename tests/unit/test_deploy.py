"""All of `deploy/` and `conf/platforms/`: no secrets, a page to read, specs that are valid; each platform has
a module of its own.

A validator says whether a file has the right form; that a task names a task that exists, or a job gives its
spec the variables that it asks for, no validator says, so that is checked here.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from deploy_files import DEPLOY, PLATFORMS, module

from manymodels_spark.families.checked_spec import load_spec


def test_no_file_holds_what_looks_like_a_secret() -> None:
    pattern = re.compile(
        r"(?i)(password|accountkey|sharedaccesskey|client_?secret|sig)\s*[=:]\s*[\"']?[A-Za-z0-9+/%]{8,}"
    )
    for path in [*DEPLOY.rglob("*"), *PLATFORMS.rglob("*")]:
        if path.is_file() and "__pycache__" not in path.parts:
            assert not pattern.search(path.read_text()), path


def test_every_platform_has_a_few_lines_to_read() -> None:
    for folder in DEPLOY.iterdir():
        lines = (folder / "README.md").read_text().splitlines()
        assert 8 < len(lines) < 40, folder


@pytest.mark.parametrize("path", sorted(PLATFORMS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_platform_s_spec_is_valid(path: Path) -> None:
    assert load_spec(str(path)).name in {"retail_sales", "wells"}


@pytest.mark.parametrize(
    ("copy", "of"), [("azureml/src/spec.yaml", "azureml.yaml"), ("aks/spec.yaml", "kubernetes.yaml")]
)
def test_a_copy_of_a_spec_is_still_a_copy(copy: str, of: str) -> None:
    assert (DEPLOY / copy).read_text() == (PLATFORMS / of).read_text()


@pytest.mark.parametrize("script", ["synapse/stage.py", "azureml/src/stage.py"])
def test_a_stage_that_fails_ends_its_platform_s_job_and_one_that_does_not_returns(
    script: str, tmp_path: Path
) -> None:
    run = module(DEPLOY / script).run
    run("check", PLATFORMS / "azureml.yaml")

    (tmp_path / "bad.yaml").write_text("name: s\n")
    with pytest.raises(SystemExit) as end:
        run("check", tmp_path / "bad.yaml")
    assert end.value.code == 2
