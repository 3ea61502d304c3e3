"""The Azure DevOps pipelines: against the published schema, and every template, stage and parameter
followed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deploy_files import BUNDLE, DEPLOY, ROOT, read, wanted

from manymodels_spark.cli import main as manymodels

DEVOPS = DEPLOY / "devops"


@pytest.mark.parametrize("path", sorted(DEVOPS.glob("*.yml")), ids=lambda path: path.stem)
def test_an_azure_pipeline_has_the_published_form(path: Path) -> None:
    checker = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--regex-variant",
        "python",
        "--builtin-schema",
        "vendor.azure-pipelines",
    ]
    done = subprocess.run([*checker, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted(DEVOPS.glob("*.yml")), ids=lambda path: path.stem)
def test_an_azure_pipeline_s_templates_stages_and_parameters_exist(path: Path) -> None:
    data = read(path)
    names = {one["name"] for one in data.get("parameters", [])}
    assert set(re.findall(r"parameters\.(\w+)", path.read_text())) <= names
    stages = [one["stage"] for one in data.get("stages", [])]
    for number, stage in enumerate(data.get("stages", [])):
        assert stage.get("dependsOn") in [None, *stages[:number]]
    for one in templates(data):
        template = read(DEVOPS / one["template"])
        wanted_ = {parameter["name"] for parameter in template["parameters"] if "default" not in parameter}
        assert wanted_ == set(one["parameters"])
    for command in re.findall(r"^\s*(?:- script: )?manymodels (\w+)", path.read_text(), re.MULTILINE):
        assert command in manymodels.commands


def templates(data: Any) -> Iterator[dict[str, Any]]:
    if isinstance(data, dict):
        if "template" in data:
            yield data
        for value in data.values():
            yield from templates(value)
    elif isinstance(data, list):
        for value in data:
            yield from templates(value)


def test_the_promotion_gives_its_spec_what_it_asks_for_and_no_parameter_becomes_code() -> None:
    step = read(DEVOPS / "promote-steps.yml")["steps"][-1]
    spec = next(
        one["default"] for one in read(DEVOPS / "promote-pipeline.yml")["parameters"] if one["name"] == "spec"
    )
    assert wanted(ROOT / spec) - {"WAREHOUSE_URL"} <= set(step["env"])
    assert "parameters.spec" not in step["script"] and "parameters.only" not in step["script"]


def test_the_deployment_gives_the_bundle_its_variables() -> None:
    step = read(DEVOPS / "deploy-bundle.yml")["jobs"][0]["strategy"]["runOnce"]["deploy"]["steps"][-1]
    given = {name.removeprefix("BUNDLE_VAR_") for name in step["env"] if name.startswith("BUNDLE_VAR_")}
    variables = read(BUNDLE / "databricks.yml")["variables"]
    assert given == {name for name, one in variables.items() if "default" not in one}
    targets = next(one["values"] for one in read(DEVOPS / "deploy-bundle.yml")["parameters"])
    assert set(targets) == set(read(BUNDLE / "databricks.yml")["targets"])
