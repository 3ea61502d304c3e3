"""The Azure DevOps pipelines: against the published schema, and every template, stage and parameter
followed.
"""

from __future__ import annotations

import re
import shutil
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
        before = stage.get("dependsOn") or []
        assert {*([before] if isinstance(before, str) else before)} <= {*stages[:number]}
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
    script = step["inputs"]["inlineScript"]
    spec = next(
        one["default"] for one in read(DEVOPS / "promote-pipeline.yml")["parameters"] if one["name"] == "spec"
    )
    assert wanted(ROOT / spec) - {"WAREHOUSE_URL"} <= set(step["env"])
    for spec in ("azureml.yaml", "synapse.yaml"):
        needed = wanted(ROOT / "conf" / "platforms" / spec) - {"WAREHOUSE_URL", "SYNAPSE_SERVER"}
        assert needed <= set(step["env"]), "it promotes from Synapse and Azure ML alike"
    assert "parameters." not in script and step["inputs"]["addSpnToEnvironment"] is True


def test_the_approved_list_is_the_one_that_is_copied_and_a_changed_one_ends_the_job(tmp_path: Path) -> None:
    """The pipeline's own script, with a stand-in for `manymodels`."""
    script = read(DEVOPS / "promote-steps.yml")["steps"][-1]["inputs"]["inlineScript"]
    tool = tmp_path / "bin" / "manymodels"
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/sh\necho "$MANYMODELS_APPROVAL $*" >> "$CALLS"\n'
        'case "$*" in *--write*) printf "model_id\\nm-1\\n" > approval/approved.csv ;; esac\n'
    )
    tool.chmod(0o755)
    given = {"CALLS": str(tmp_path / "calls"), "PATH": f"{tool.parent}:/usr/bin:/bin", "SPEC": "s.yaml"}
    given |= {"ONLY": "store = 1", "MLFLOW_AUDIENCE": "", "MANYMODELS_APPROVAL": "", "idToken": "jwt"}
    given |= {"servicePrincipalId": "promoter", "tenantId": "t"}
    given |= {"AGENT_TEMPDIRECTORY": str(tmp_path), "PIPELINE_WORKSPACE": str(tmp_path)}

    def bash(approved: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-c", script]
        environment = {**given, "APPROVED": approved}
        return subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    judged = bash("")
    (digest,) = re.findall(r"variable=digest;isOutput=true]([0-9a-f]{64})\n", judged.stdout)
    assert "m-1" in (tmp_path / "approval" / "summary.md").read_text()
    assert (tmp_path / "federated-token").read_text() == "jwt"
    assert bash(digest).returncode == 0
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[-1] == f"{tmp_path}/approval/approved.csv promote s.yaml --only store = 1 --all"

    (tmp_path / "approval" / "approved.csv").write_text("model_id\nm-2\n")
    assert bash(digest).returncode != 0 and len((tmp_path / "calls").read_text().splitlines()) == len(calls)


@pytest.mark.parametrize("platform", ["synapse", "datafactory"])
def test_a_pipeline_deploys_every_file_of_the_platform_and_those_first_that_others_name(
    platform: str, tmp_path: Path
) -> None:
    folder = tmp_path / "deploy"
    shutil.copytree(DEPLOY, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "az").write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n')
    (tmp_path / "az").chmod(0o755)
    (tmp_path / "python").symlink_to(sys.executable)
    given = {"RESOURCE_GROUP": "g", "SYNAPSE_WORKSPACE": "w", "LAKE_ACCOUNT": "a", "FACTORY": "f"}
    command = ["sh", str(folder / "devops" / "platforms.sh"), platform]
    subprocess.run(command, env={**given, "PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True)

    calls = (tmp_path / "calls").read_text().splitlines()
    named = [found[1] for line in calls if (found := re.search(r"--name (\w+)", line))]
    files = {path.stem for path in (DEPLOY / platform).glob("*/*.json") if path.parent.name != "bigDataPool"}
    assert set(named) == files
    first = {name: named.index(name) for name in named}
    pipeline, trigger = ("RetailSales", "Daily") if platform == "synapse" else ("RunJob", "Daily")
    assert first[pipeline] < first[trigger]
    if platform == "datafactory":
        assert first["RunJob"] < first["IngestAndRun"] and first["Lake"] < first["LandingParquet"]
    wrong = subprocess.run([*command[:2], "fabric"], env=given | {"PATH": "/usr/bin:/bin"}, check=False)
    assert wrong.returncode == 2


def test_the_deployment_gives_the_bundle_its_variables() -> None:
    step = read(DEVOPS / "deploy-bundle.yml")["jobs"][0]["strategy"]["runOnce"]["deploy"]["steps"][-1]
    given = {name.removeprefix("BUNDLE_VAR_") for name in step["env"] if name.startswith("BUNDLE_VAR_")}
    variables = read(BUNDLE / "databricks.yml")["variables"]
    assert given == {name for name, one in variables.items() if "default" not in one}
    targets = next(one["values"] for one in read(DEVOPS / "deploy-bundle.yml")["parameters"])
    assert set(targets) == set(read(BUNDLE / "databricks.yml")["targets"])
