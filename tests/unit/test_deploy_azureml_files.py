"""The Azure ML files: through azure-ai-ml's loaders, every binding followed, and their scripts run here."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from deploy_files import DEPLOY, PLATFORMS, UPKEEP, WORKFLOW, module, read, texts, wanted

from manymodels_spark.cli.common import variables_of
from manymodels_spark.families.checked_spec import load_spec
from manymodels_spark.keys import PartitionKey

AZUREML = DEPLOY / "azureml"


@pytest.fixture
def loaders() -> Iterator[ModuleType]:
    import azure.ai.ml

    logging.disable(logging.CRITICAL)  # it greets experimental classes at length
    yield azure.ai.ml
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("path", sorted((AZUREML / "components").glob("*.yml")), ids=lambda path: path.stem)
def test_an_azure_ml_component_loads_and_its_code_is_there(path: Path, loaders: ModuleType) -> None:
    component, data = loaders.load_component(str(path)), read(path)
    assert component.type == data["type"]
    task = data.get("task", data)
    script = task.get("entry_script") or task["entry"]["file"]
    assert (path.parent / task["code"] / script).exists()
    arguments = task.get("args") or task["program_arguments"]
    bound = set(re.findall(r"\$\{\{(inputs|outputs)\.(\w+)}}", json.dumps(data)))
    assert {name for side, name in bound if side == "inputs"} <= set(data["inputs"])
    assert {name for side, name in bound if side == "outputs"} <= set(data["outputs"])
    optional = {name for name, one in data["inputs"].items() if one.get("optional")}
    assert set(re.findall(r"\$\[\[[^\]]*\$\{\{inputs\.(\w+)}}\]\]", arguments)) == optional, (
        "in brackets stands what may be missing"
    )


def test_the_azure_ml_loaders_name_what_is_wrong(loaders: ModuleType, tmp_path: Path) -> None:
    data = read(AZUREML / "components" / "train.yml")
    del data["entry"]
    (tmp_path / "bad.yml").write_text(yaml.safe_dump(data))
    with pytest.raises(Exception, match="entry"):
        loaders.load_component(str(tmp_path / "bad.yml"))


AZUREML_PIPELINES = [
    AZUREML / name
    for name in (
        "pipeline.yml",
        "training.yml",
        "parallel_pipeline.yml",
        "production/pipeline.yml",
        "production/upkeep.yml",
    )
]
COMPONENTS = {read(path)["name"]: path for path in (AZUREML / "components").glob("*.yml")}
BINDING = re.compile(r"\$\{\{parent\.(?:(inputs|outputs)\.(\w+)|jobs\.(\w+)\.outputs\.(\w+))}}")
REGISTRY = re.compile(r"azureml://registries/([\w-]+)/components/(\w+)/versions/[\w.-]+")


def component_of(step: dict[str, Any], folder: Path) -> Any:
    """The component that a step names: a file beside the pipeline, or by its name in the registry."""
    shared = REGISTRY.fullmatch(step["component"])
    return read(COMPONENTS[shared[2]] if shared else folder / step["component"])


def wrong_bindings(data: dict[str, Any], folder: Path) -> list[str]:
    """What azure-ai-ml's loader does not see: inputs that no component has, and references that lead
    nowhere.
    """
    found = []
    for name, step in data["jobs"].items():
        component = component_of(step, folder)
        needed = {key for key, one in component["inputs"].items() if not one.get("optional")}
        found += [f"{name}: {key} is not given" for key in needed - set(step["inputs"])]
        found += [
            f"{name}: the component has no input {key}"
            for key in set(step["inputs"]) - set(component["inputs"])
        ]
        found += [
            f"{name}: the component has no output {key}"
            for key in set(step.get("outputs", {})) - set(component["outputs"])
        ]
        for source in [*step["inputs"].values(), *step.get("outputs", {}).values()]:
            bound = BINDING.fullmatch(source)
            if bound is None or (bound[1] and bound[2] not in data.get(bound[1], {})):
                found.append(f"{name}: {source}")
            elif bound[3]:
                before = data["jobs"].get(bound[3])
                if before is None or bound[4] not in component_of(before, folder)["outputs"]:
                    found.append(f"{name}: {source}")
    return found


@pytest.mark.parametrize("path", AZUREML_PIPELINES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_azure_ml_pipeline_loads_and_binds_what_exists(path: Path, loaders: ModuleType) -> None:
    job, data = loaders.load_job(str(path)), read(path)
    assert list(job.jobs) == list(data["jobs"])
    assert wrong_bindings(data, path.parent) == []
    for one in data["inputs"].values():
        assert one["path"].startswith("azureml://") or (path.parent / one["path"]).exists()


@pytest.mark.parametrize(
    ("written", "instead", "told"),
    [
        ("${{parent.inputs.spec}}", "${{parent.inputs.nope}}", "promote: ${{parent.inputs.nope}}"),
        (
            "${{parent.jobs.train.outputs.done}}",
            "${{parent.jobs.tain.outputs.done}}",
            "promote: ${{parent.jobs.tain.outputs.done}}",
        ),
        (
            "${{parent.jobs.train.outputs.done}}",
            "${{parent.jobs.train.outputs.dome}}",
            "promote: ${{parent.jobs.train.outputs.dome}}",
        ),
    ],
)
def test_a_reference_that_leads_nowhere_passes_azure_s_loader_and_is_found_here(
    written: str, instead: str, told: str, loaders: ModuleType, tmp_path: Path
) -> None:
    folder = shutil.copytree(AZUREML, tmp_path / "deploy" / "azureml")
    shutil.copytree(PLATFORMS, tmp_path / "conf" / "platforms")
    data = read(folder / "pipeline.yml")
    data["jobs"]["promote"]["inputs"] = {
        key: value.replace(written, instead) for key, value in data["jobs"]["promote"]["inputs"].items()
    }
    (folder / "pipeline.yml").write_text(yaml.safe_dump(data, sort_keys=False))

    loaders.load_job(str(folder / "pipeline.yml"))
    assert wrong_bindings(data, folder) == [told]


def test_production_takes_its_components_from_the_registry_that_the_infrastructure_makes() -> None:
    steps = read(AZUREML / "production" / "pipeline.yml")["jobs"]
    registries = {REGISTRY.fullmatch(step["component"])[1] for step in steps.values()}  # type: ignore[index]
    prefix = read(DEPLOY / "bicep" / "main.parameters.json")["parameters"]["prefix"]["value"]
    assert registries == {f"{prefix}-registry"}
    assert [*read(AZUREML / "training.yml")["jobs"], *steps] == WORKFLOW[:-1], (
        "the two nights are one workflow"
    )
    assert list(read(AZUREML / "production" / "upkeep.yml")["jobs"]) == UPKEEP


@pytest.mark.parametrize("path", ["schedule.yml", "production/schedule.yml"])
def test_an_azure_ml_schedule_is_daily_and_its_pipeline_exists(path: str, loaders: ModuleType) -> None:
    from azure.ai.ml.entities._load_functions import load_schedule

    schedule = load_schedule(str(AZUREML / path))
    minute, hour, *rest = schedule.trigger.expression.split()
    assert minute.isdigit() and hour.isdigit() and rest == ["*", "*", "*"]
    assert (AZUREML / path).parent.joinpath(read(AZUREML / path)["create_job"]).exists()


def test_the_azure_ml_environment_endpoint_and_deployment_load_and_belong_together(
    loaders: ModuleType,
) -> None:
    environment = loaders.load_environment(str(AZUREML / "environment.yml"))
    endpoint = loaders.load_online_endpoint(str(AZUREML / "endpoint" / "endpoint.yml"))
    deployment = loaders.load_online_deployment(str(AZUREML / "endpoint" / "deployment.yml"))

    assert deployment.endpoint_name == endpoint.name
    assert endpoint.auth_mode == "aad_token"
    names = {
        text
        for path in AZUREML.rglob("*.yml")
        for text in texts(read(path))
        if re.match("azureml:(?!/)", text)
    }
    assert names == {f"azureml:{environment.name}:{environment.version}", "azureml:cpu"}
    assert "name: 'cpu'" in (DEPLOY / "bicep" / "modules" / "learning.bicep").read_text(), (
        "the cluster without Spark"
    )
    data = read(AZUREML / "endpoint" / "deployment.yml")
    code = AZUREML / "endpoint" / data["code_configuration"]["code"]
    assert (code / data["code_configuration"]["scoring_script"]).exists()
    variables = data["environment_variables"]
    assert (code / "spec.yaml").exists()
    production = read(code / "spec.yaml")["mlflow"]["production"]["tracking"]
    assert set(re.findall(r"\{(\w+)", production)) <= set(variables), (
        "a server resolves the production MLflow only"
    )


def test_the_azure_ml_settings_hold_what_the_spec_asks_for() -> None:
    text = (AZUREML / "settings.env").read_text()
    named = {
        line.removeprefix("secret.").split("=")[0]
        for line in text.splitlines()
        if "=" in line and not line.startswith("#")
    }
    assert wanted(PLATFORMS / "azureml.yaml") == named
    assert variables_of("# a\nA = b=c \nEMPTY=\n\n") == {"A": "b=c"}


def test_a_secret_of_the_settings_is_read_from_the_vault_and_never_handed_on_as_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = module(AZUREML / "src" / "stage.py")
    given: list[list[str]] = []
    monkeypatch.setattr(
        "manymodels_spark.cli.main", lambda arguments, standalone_mode: given.append(arguments)
    )
    monkeypatch.setattr(script, "secret", lambda address: f"value of {address}")
    monkeypatch.setenv("WAREHOUSE_URL", "")
    script.run("load", Path("spec.yaml"), "A=1\nsecret.WAREHOUSE_URL=https://v.vault.azure.net/secrets/w\n")
    assert os.environ["WAREHOUSE_URL"] == "value of https://v.vault.azure.net/secrets/w"
    assert given == [["--set", "A=1", "load", "spec.yaml"]]


def test_a_secret_s_address_is_one_of_a_vault() -> None:
    script = module(AZUREML / "src" / "stage.py")
    with pytest.raises(SystemExit, match=r"Expected: https://VAULT\.vault\.azure\.net/secrets/NAME"):
        script.secret("http://169.254.169.254/secrets/x")


def test_the_parallel_component_fits_files_by_the_function_that_spark_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from manymodels_spark.modeling.fit import fit_partition
    from manymodels_spark.modeling.payload import sha256

    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "name: s\npartition_by: [store]\nsource: {csv: x.csv}\ncolumns: {time: date, target: units}\n"
        "horizon: 3\ncandidates: [seasonal_naive]\nbacktest: {folds: 1}\n"
    )
    good = pd.DataFrame(
        {"store": 1, "date": pd.date_range("2026-01-01", periods=60), "units": np.arange(60.0)}
    )
    for number, rows in enumerate([good, good.head(2).assign(store=2)]):
        rows.to_parquet(tmp_path / f"{number}.parquet")
    script = module(AZUREML / "src" / "fit_parallel.py")
    monkeypatch.setattr(
        sys, "argv", ["x", "--spec", str(spec), "--payloads", str(tmp_path / "out"), "--azure-s-own", "1"]
    )

    script.init()
    first, second = (
        json.loads(line) for line in script.run([str(tmp_path / "0.parquet"), str(tmp_path / "1.parquet")])
    )

    same = fit_partition(good, load_spec(str(spec)), PartitionKey.of({"store": 1}))
    assert same.payload is not None
    assert (first["status"], first["family"], first["sha256"]) == (
        "fitted",
        "seasonal_naive",
        sha256(same.payload),
    )
    assert (tmp_path / "out" / first["partition_id"]).read_bytes() == same.payload
    assert (second["status"], second["reason"]) == ("failed", "too_short")


def test_the_scoring_script_answers_as_the_server_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flask import Request

    (tmp_path / "models").mkdir()
    monkeypatch.setenv("MANYMODELS_SERVE_SPEC", "")
    monkeypatch.delenv("MANYMODELS_SERVE_SPEC")  # so that what the script sets is taken back after the test
    monkeypatch.setenv("MANYMODELS_SERVE_MODELS", str(tmp_path / "models"))
    script = module(AZUREML / "src" / "score.py")
    script.init()

    malformed = script.run(Request.from_values(method="POST", data=b"{"))
    assert (malformed.status_code, malformed.get_json()["error"]["code"]) == (400, "malformed_json")
    body = b'{"partition": {"field": "north", "well": 1}, "dataframe_records": [{"pressure": 1}]}'
    absent = script.run(Request.from_values(method="POST", data=body))
    assert (absent.status_code, absent.get_json()["error"]["code"]) == (404, "unknown_partition")
