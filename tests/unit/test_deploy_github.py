"""The workflows of `deploy/github`: against the published schema, and every need, input, file and command
followed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from manymodels_spark.cli import main as manymodels
from manymodels_spark.doctor.needs import LAKE, PRODUCTION, unset
from manymodels_spark.families.checked_spec import load_spec

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / "deploy" / "github"
FILES = {path.name: yaml.safe_load(path.read_text()) for path in sorted(GITHUB.glob("*.yml"))}
each_file = pytest.mark.parametrize("name", list(FILES))


def started_by(workflow: dict[Any, Any]) -> dict[str, Any]:
    """The `on:` of a workflow; YAML 1.1 takes that word for a boolean."""
    found: dict[str, Any] = workflow.get("on", workflow.get(True))
    return found


@each_file
def test_a_workflow_has_the_published_form(name: str) -> None:
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*checker, str(GITHUB / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_misspelt_key_of_a_workflow_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text((GITHUB / "build.yml").read_text().replace("runs-on:", "run-on:", 1))
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    assert (
        subprocess.run([*checker, str(tmp_path / "bad.yml")], capture_output=True, check=False).returncode
        == 1
    )


@each_file
def test_a_workflow_s_needs_and_called_files_exist_and_get_their_inputs(name: str) -> None:
    jobs = FILES[name]["jobs"]
    before: set[str] = set()
    for key, job in jobs.items():
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= before
        before.add(key)
        if "uses" in job:
            inputs = started_by(FILES[Path(job["uses"]).name])["workflow_call"]["inputs"]
            assert {one for one, kind in inputs.items() if kind.get("required")} == set(job["with"])


@each_file
def test_a_workflow_reads_only_inputs_that_it_has_and_no_input_becomes_code(name: str) -> None:
    text = (GITHUB / name).read_text()
    inputs = {
        one for start in started_by(FILES[name]).values() if start for one in (start.get("inputs") or {})
    }
    assert set(re.findall(r"\binputs\.(\w+)", text)) <= inputs
    for job in FILES[name]["jobs"].values():
        for step in job.get("steps", []):
            assert "inputs." not in step.get("run", ""), "an input goes through the environment"
            assert "secrets." not in str(step), "sign-in is by identity"


def test_the_bundle_gets_its_variables_and_each_target_its_environment() -> None:
    bundle = yaml.safe_load((ROOT / "deploy" / "databricks" / "databricks.yml").read_text())
    job = FILES["deploy-bundle.yml"]["jobs"]["bundle"]
    given = {name.removeprefix("BUNDLE_VAR_") for name in job["env"] if name.startswith("BUNDLE_VAR_")}
    assert given == {name for name, one in bundle["variables"].items() if "default" not in one}
    targets = [one["with"]["target"] for one in FILES["build.yml"]["jobs"].values() if "uses" in one]
    assert targets == list(bundle["targets"])
    assert job["environment"] == "manymodels-${{ inputs.target }}"


def test_models_reach_production_after_a_dry_run_and_an_approval(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = FILES["promote.yml"]["jobs"]
    assert [(job["with"]["environment"], job["with"]["dry_run"]) for job in jobs.values()] == [
        ("manymodels-judge", True),
        ("manymodels-prod", False),
    ]
    assert jobs["promote"]["needs"] == "judge"
    steps = FILES["promote-steps.yml"]["jobs"]["steps"]
    command = steps["steps"][-1]["run"].split()
    assert command[:2] == ["manymodels", "promote"] and "promote" in manymodels.commands
    spec = load_spec(
        ROOT / started_by(FILES["promote.yml"])["workflow_dispatch"]["inputs"]["spec"]["default"]
    )
    for name in list(steps["env"]):
        monkeypatch.delenv(name, raising=False)
    assert set(unset(spec, (LAKE, PRODUCTION))) <= set(steps["env"])


def test_the_checks_are_those_that_this_repository_runs() -> None:
    checks = (ROOT / "scripts" / "lint.sh").read_text()
    lint = FILES["build.yml"]["jobs"]["lint"]["steps"][-1]["run"].split()
    assert lint == ["ruff", "check", ".", "mypy", "lint-imports"]
    for tool in ("ruff check .", "mypy", "lint-imports"):
        assert tool in checks
    for suite in FILES["build.yml"]["jobs"]["test"]["strategy"]["matrix"]["suite"]:
        assert (ROOT / suite).is_dir()
