"""The files of `deploy/` and `conf/platforms/`: each through what validates it offline, and every reference followed.

A validator says whether a file has the right form; that a task names a task that exists, or a job gives its spec the
variables that it asks for, no validator says, so that is checked here.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import kubernetes_validate
import numpy as np
import pandas as pd
import pytest
import yaml

from manymodels_spark.check import load_spec
from manymodels_spark.cli import main as manymodels
from manymodels_spark.cli.serving import serve
from manymodels_spark.keys import PartitionKey
from manymodels_spark.serving.settings import PREFIX, ServingSettings

ROOT = Path(__file__).parents[2]
DEPLOY, PLATFORMS = ROOT / "deploy", ROOT / "conf" / "platforms"
STAGES = ["ingest", "prepare", "train", "promote", "score", "load"]
WORKFLOW = [*STAGES, "report"]


def read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.suffix == ".json" else yaml.safe_load(path.read_text())


def texts(data: Any) -> Iterator[str]:
    """Every text in a document, keys left out."""
    if isinstance(data, dict):
        for value in data.values():
            yield from texts(value)
    elif isinstance(data, list):
        for value in data:
            yield from texts(value)
    elif isinstance(data, str):
        yield data


def wanted(spec: Path) -> set[str]:
    """The environment variables without a default that a spec asks for."""
    return {found[1] for text in texts(read(spec)) for found in re.finditer(r"\$\{(\w+)(:-)?", text) if not found[2]}


def module(path: Path) -> ModuleType:
    """A script of deploy/, imported without running it."""
    loader = importlib.util.spec_from_file_location(f"deployed_{path.parent.name}_{path.stem}", path)
    assert loader is not None and loader.loader is not None
    made = importlib.util.module_from_spec(loader)
    loader.loader.exec_module(made)
    return made


def test_no_file_holds_what_looks_like_a_secret() -> None:
    pattern = re.compile(r"(?i)(password|accountkey|sharedaccesskey|client_?secret|sig)\s*[=:]\s*[\"']?[A-Za-z0-9+/%]{8,}")
    for path in [*DEPLOY.rglob("*"), *PLATFORMS.rglob("*")]:
        if path.is_file() and "__pycache__" not in path.parts:
            assert not pattern.search(path.read_text()), path


def test_every_platform_has_a_few_lines_to_read() -> None:
    for folder in DEPLOY.iterdir():
        lines = (folder / "README.md").read_text().splitlines()
        assert 8 < len(lines) < 40, folder


# --- specs ---


@pytest.mark.parametrize("path", sorted(PLATFORMS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_platform_s_spec_is_valid(path: Path) -> None:
    assert load_spec(str(path)).name in {"retail_sales", "wells"}


@pytest.mark.parametrize(("copy", "of"), [("azureml/src/spec.yaml", "azureml.yaml"), ("aks/spec.yaml", "kubernetes.yaml")])
def test_a_copy_of_a_spec_is_still_a_copy(copy: str, of: str) -> None:
    assert (DEPLOY / copy).read_text() == (PLATFORMS / of).read_text()


# --- Databricks ---

BUNDLE = DEPLOY / "databricks"
JOBS = {path.name.removesuffix(".job.yml"): path for path in (BUNDLE / "resources").glob("*.job.yml")}


def job_of(name: str) -> dict[str, Any]:
    resources = read(JOBS[name])["resources"]
    assert list(resources) == ["jobs"] and list(resources["jobs"]) == [name]
    job: dict[str, Any] = resources["jobs"][name]
    return job


@pytest.mark.parametrize("name", sorted(JOBS))
def test_a_databricks_job_is_one_to_the_bundles_own_classes(name: str) -> None:
    from databricks.bundles.jobs import Job

    job = Job.from_dict(job_of(name))  # type: ignore[arg-type]
    assert [task.task_key for task in job.tasks] == WORKFLOW
    assert {task.python_wheel_task.entry_point for task in job.tasks} == {"manymodels-job"}  # type: ignore[union-attr]

    with pytest.raises(Exception, match="python_wheel_tusk"):
        Job.from_dict({"tasks": [{"task_key": "a", "python_wheel_tusk": {}}]})  # type: ignore[typeddict-unknown-key]


@pytest.mark.parametrize("name", sorted(JOBS))
def test_a_databricks_job_s_tasks_run_commands_that_exist_one_after_another(name: str) -> None:
    job = job_of(name)
    clusters = {cluster["job_cluster_key"] for cluster in job.get("job_clusters", [])}
    environments = {environment["environment_key"] for environment in job.get("environments", [])}
    variables = {one["environment_variables_key"] for one in job.get("environment_variables", [])}
    before: list[str] = []
    for task in job["tasks"]:
        assert [one["task_key"] for one in task.get("depends_on", [])] == before[-1:]
        before.append(task["task_key"])
        assert task.get("job_cluster_key") in clusters | {None} and task.get("environment_key") in environments | {None}
        assert ("job_cluster_key" in task) != ("environment_key" in task)
        assert task.get("environment_variables_key") in variables | {None}
        command, spec, *options = task["python_wheel_task"]["parameters"]
        assert command == task["task_key"]
        assert spec == "{{job.parameters.spec}}"
        known = {name for parameter in manymodels.commands[command].params for name in parameter.opts}
        assert {option for option in options if option.startswith("--")} <= known
        assert task["python_wheel_task"]["package_name"] == "manymodels-spark"
    assert [one["name"] for one in job["parameters"]] == ["spec"]
    assert {task["task_key"] for task in job["tasks"] if task.get("run_if") == "ALL_DONE"} == {"promote", "report"}


@pytest.mark.parametrize("name", sorted(JOBS))
def test_a_task_whose_failure_later_ones_hide_tells_of_it_itself(name: str) -> None:
    tasks = job_of(name)["tasks"]
    for before, task in pairwise(tasks):
        if task.get("run_if") == "ALL_DONE":
            assert before["email_notifications"]["on_failure"] == ["${var.notify}"], before["task_key"]
    assert all(task["max_retries"] >= 1 for task in tasks)


def test_the_workflow_runs_every_day_on_a_cluster_that_grows_or_on_none() -> None:
    job = job_of("retail_sales")
    seconds, minutes, hours, day, month, weekday = job["schedule"]["quartz_cron_expression"].split()
    assert (day, month, weekday) == ("*", "*", "?") and all(part.isdigit() for part in (seconds, minutes, hours))
    (cluster,) = job["job_clusters"]
    assert set(cluster["new_cluster"]["autoscale"]) == {"min_workers", "max_workers"}
    for script in cluster["new_cluster"]["init_scripts"]:
        assert (BUNDLE / script["workspace"]["destination"].removeprefix("${workspace.file_path}/")).exists()
    assert "job_clusters" not in job_of("retail_sales_serverless")
    secrets = [value for value in cluster["new_cluster"]["spark_env_vars"].values() if "secrets/" in value]
    assert secrets == ["{{secrets/${var.secret_scope}/sales-db-url}}"]


@pytest.mark.parametrize("name", sorted(JOBS))
def test_a_job_writes_models_and_reports_into_volumes_of_the_bundle(name: str) -> None:
    volumes = read(BUNDLE / "resources" / "storage.yml")["resources"]["volumes"]
    report = job_of(name)["tasks"][-1]["python_wheel_task"]["parameters"][-1]
    used = re.findall(r"/Volumes/[^/]+/retail/(\w+)", report)
    for target in ("development", "production"):
        spec = ROOT / "conf" / "platforms" / ("databricks_serverless.yaml" if "serverless" in name else "databricks.yaml")
        used += re.findall(r"/Volumes/[^/]+/retail/(\w+)", read(spec)["mlflow"][target]["artifacts"])
    assert set(used) == set(volumes)


@pytest.mark.parametrize("name", sorted(JOBS))
def test_a_databricks_job_gives_its_spec_every_variable_that_it_asks_for(name: str) -> None:
    job, bundle = job_of(name), read(BUNDLE / "databricks.yml")
    variable = re.fullmatch(r"\$\{var\.(\w+)}", job["parameters"][0]["default"])
    assert variable is not None
    default = bundle["variables"][variable[1]]["default"]
    spec = ROOT / default.removeprefix("${workspace.file_path}/")
    given: set[str] = set()
    for cluster in job.get("job_clusters", []):
        given |= set(cluster["new_cluster"]["spark_env_vars"])
    for one in job.get("environment_variables", []):
        given |= set(one["spec"]["variables"])
    assert wanted(spec) <= given


def test_every_reference_in_the_bundle_leads_somewhere() -> None:
    bundle = read(BUNDLE / "databricks.yml")
    files = [path for pattern in bundle["include"] for path in BUNDLE.glob(pattern)]
    assert {path.name for path in files} == {path.name for path in (BUNDLE / "resources").iterdir()}
    resources: dict[str, set[str]] = {}
    for path in files:
        for kind, named in read(path)["resources"].items():
            resources.setdefault(kind, set()).update(named)
    known = {"workspace.file_path", "bundle.name", "bundle.target"}
    for path in [BUNDLE / "databricks.yml", *files]:
        for found in (found for text in texts(read(path)) for found in re.findall(r"\$\{([\w.]+)}", text)):
            kind, _, rest = found.partition(".")
            if kind == "var":
                assert rest in bundle["variables"], f"{path.name}: {found}"
            elif kind == "resources":
                assert rest.split(".")[1] in resources[rest.split(".")[0]], f"{path.name}: {found}"
            else:
                assert found in known, f"{path.name}: {found}"
    used = {found for path in [BUNDLE / "databricks.yml", *files] for found in re.findall(r"\$\{var\.(\w+)}", path.read_text())}
    assert used == set(bundle["variables"]), "no variable is declared in vain"
    for target in bundle["targets"].values():
        assert set(target.get("variables", {})) <= set(bundle["variables"])
    for path in bundle["sync"]["paths"]:
        assert (BUNDLE / path).is_dir()
    assert set(bundle) <= {"bundle", "include", "sync", "artifacts", "variables", "targets", "permissions"}


def test_what_the_jobs_need_is_such_to_the_bundles_own_classes() -> None:
    from databricks.bundles.schemas import Schema
    from databricks.bundles.secret_scopes import SecretScope
    from databricks.bundles.volumes import Volume

    resources = read(BUNDLE / "resources" / "storage.yml")["resources"]
    assert Schema.from_dict(resources["schemas"]["retail"]).name == "retail"
    assert [Volume.from_dict(one).name for one in resources["volumes"].values()] == ["models", "reports"]
    scope = SecretScope.from_dict(read(BUNDLE / "resources" / "secrets.yml")["resources"]["secret_scopes"]["manymodels"])
    assert scope.backend_type is not None and scope.backend_type.value == "AZURE_KEYVAULT"  # type: ignore[union-attr]


def test_each_target_has_its_own_catalog_and_production_runs_as_nobody_s_person() -> None:
    bundle = read(BUNDLE / "databricks.yml")
    default = bundle["variables"]["catalog"]["default"]
    catalogs = {name: target["variables"].get("catalog", default) for name, target in bundle["targets"].items()}
    assert list(catalogs) == ["dev", "staging", "prod"] and len(set(catalogs.values())) == 3
    assert bundle["targets"]["dev"]["mode"] == "development" and bundle["targets"]["dev"]["default"] is True
    assert bundle["targets"]["prod"]["run_as"] == {"service_principal_name": "${var.service_principal}"}


# --- Data Factory and Synapse ---


def unknown(written: Any, kept: Any, where: str = "") -> list[str]:
    """The properties of a document that the models did not understand: those that do not come back."""
    if isinstance(written, dict):
        if not isinstance(kept, dict):
            return [where]
        return [line for key, value in written.items() for line in unknown(value, kept.get(key), f"{where}/{key}")]
    if isinstance(written, list):
        if not isinstance(kept, list) or len(kept) != len(written):
            return [where]
        return [line for number, value in enumerate(written) for line in unknown(value, kept[number], f"{where}/{number}")]
    same = kept == written or str(kept).replace(".000Z", "Z") == str(written)  # times come back with milliseconds
    return [] if same else [where]


def factory(kind: str, data: dict[str, Any]) -> Any:
    import azure.mgmt.datafactory.models as models

    return getattr(models, kind).deserialize(data)


KINDS = {"pipeline": "PipelineResource", "linkedService": "LinkedServiceResource", "dataset": "DatasetResource",
         "trigger": "TriggerResource"}
RESOURCES = [path for kind in KINDS for folder in ("datafactory", "synapse") for path in sorted((DEPLOY / folder / kind).glob("*.json"))]


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_every_property_of_a_data_factory_resource_is_understood(path: Path) -> None:
    data = read(path)
    resource = factory(KINDS[path.parent.name], data)
    back = resource.serialize(keep_readonly=True)

    assert unknown(data["properties"], back["properties"]) == []
    assert data["name"] == path.stem
    if path.parent.name != "pipeline":
        assert type(resource.properties).__name__ not in {"LinkedService", "Dataset", "Trigger"}, "an unknown type"
        assert not resource.properties.additional_properties


def test_a_misspelt_property_would_be_found() -> None:
    data = read(DEPLOY / "datafactory" / "pipeline" / "IngestAndRun.json")
    data["properties"]["activities"][2]["typeProperties"]["sourse"] = data["properties"]["activities"][2]["typeProperties"].pop("source")

    back = factory("PipelineResource", data).serialize(keep_readonly=True)
    assert "/activities/2/typeProperties/sourse" in [
        line.rsplit("/type", 1)[0] if line.count("/") > 4 else line for line in unknown(data["properties"], back["properties"])
    ]


PIPELINES = [path for path in RESOURCES if path.parent.name == "pipeline"]


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_a_pipeline_s_activities_are_of_known_types_with_what_they_need(path: Path) -> None:
    from azure.mgmt.datafactory import models

    needed = {
        models.CopyActivity: ("source", "sink", "inputs", "outputs"), models.LookupActivity: ("source", "dataset"),
        models.DatabricksJobActivity: ("job_id", "linked_service_name"), models.SynapseSparkJobDefinitionActivity: ("spark_job",),
    }
    for activity in factory("PipelineResource", read(path)).activities:
        for property_ in needed[type(activity)]:
            assert getattr(activity, property_), f"{activity.name}: {property_}"
        for part in ("source", "sink"):
            assert type(getattr(activity, part, None)).__name__ not in {"CopySource", "CopySink"}, f"{activity.name}: {part}"


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_a_pipeline_s_references_lead_somewhere(path: Path) -> None:
    properties, folder = read(path)["properties"], path.parents[1]
    names: set[str] = set()
    for activity in properties["activities"]:
        assert activity["name"] not in names, "a name stands once"
        assert {one["activity"] for one in activity["dependsOn"]} <= names, "dependencies come first, so there is no circle"
        ahead = ancestors(properties["activities"], activity["name"])
        for text in texts(activity):
            assert set(re.findall(r"pipeline\(\)\.parameters\.(\w+)", text)) <= set(properties["parameters"]), text
            assert set(re.findall(r"activity\('(\w+)'\)", text)) <= ahead, f"{activity['name']} reads what has not run"
        names.add(activity["name"])
    follow(folder, read(path))


def ancestors(activities: list[dict[str, Any]], name: str) -> set[str]:
    direct = {one["activity"] for activity in activities if activity["name"] == name for one in activity["dependsOn"]}
    return direct.union(*(ancestors(activities, one) for one in direct))


FOLDERS = {"LinkedServiceReference": "linkedService", "DatasetReference": "dataset", "PipelineReference": "pipeline",
           "SparkJobDefinitionReference": "sparkJobDefinition", "BigDataPoolReference": "bigDataPool"}


def follow(folder: Path, data: Any) -> None:
    """Every {referenceName, type} is a file; a dataset's parameters are given, no more and no fewer."""
    if isinstance(data, list):
        for value in data:
            follow(folder, value)
    if not isinstance(data, dict):
        return
    if "referenceName" in data:
        target = folder / FOLDERS[data["type"]] / f"{data['referenceName']}.json"
        assert target.exists(), f"{target} does not exist"
        if data["type"] == "DatasetReference":
            assert set(data.get("parameters", {})) == set(read(target)["properties"].get("parameters", {})), target.stem
    for value in data.values():
        follow(folder, value)


@pytest.mark.parametrize("path", [path for path in RESOURCES if path.parent.name != "pipeline"], ids=lambda path: path.stem)
def test_linked_services_datasets_and_triggers_refer_to_what_exists(path: Path) -> None:
    follow(path.parents[1], read(path))
    for text in texts(read(path)):
        assert set(re.findall(r"dataset\(\)\.(\w+)", text)) <= set(read(path)["properties"].get("parameters", {}))


@pytest.mark.parametrize("folder", ["datafactory", "synapse"])
def test_a_trigger_starts_its_pipeline_daily_with_the_parameters_that_have_no_default(folder: str) -> None:
    trigger = read(DEPLOY / folder / "trigger" / "Daily.json")["properties"]
    assert (trigger["typeProperties"]["recurrence"]["frequency"], trigger["typeProperties"]["recurrence"]["interval"]) == ("Day", 1)
    for started in trigger["pipelines"]:
        pipeline = read(DEPLOY / folder / "pipeline" / f"{started['pipelineReference']['referenceName']}.json")
        parameters, given = pipeline["properties"]["parameters"], set(started.get("parameters", {}))
        assert {name for name, one in parameters.items() if "defaultValue" not in one} <= given <= set(parameters)


def test_the_window_of_a_file_trigger_is_the_one_that_is_copied() -> None:
    started = read(DEPLOY / "datafactory" / "trigger" / "DailyFiles.json")["properties"]["pipeline"]
    pipeline = read(DEPLOY / "datafactory" / "pipeline" / f"{started['pipelineReference']['referenceName']}.json")["properties"]
    assert {name for name, one in pipeline["parameters"].items() if "defaultValue" not in one} == set(started["parameters"])
    assert re.findall(r"outputs\.(\w+)", " ".join(started["parameters"].values())) == ["windowStartTime", "windowEndTime"]
    bounds = pipeline["activities"][0]["typeProperties"]["source"]["storeSettings"]
    asked = [bounds[f"modifiedDatetime{end}"]["value"] for end in ("Start", "End")]
    assert asked == ["@pipeline().parameters.windowStart", "@pipeline().parameters.windowEnd"]


def test_passwords_of_linked_services_are_secrets_of_the_vault() -> None:
    for path in (DEPLOY / "datafactory" / "linkedService").glob("*.json"):
        properties = read(path)["properties"]["typeProperties"]
        for name in ("password", "connectionString"):
            assert name not in properties or properties[name]["type"] == "AzureKeyVaultSecret", path.name


SPARK_JOBS = sorted((DEPLOY / "synapse" / "sparkJobDefinition").glob("*.json"))


@pytest.mark.parametrize("path", SPARK_JOBS, ids=lambda path: path.stem)
def test_a_spark_job_definition_runs_a_stage_with_all_that_its_spec_asks_for(path: Path) -> None:
    properties = read(path)["properties"]
    job = properties["jobProperties"]
    follow(DEPLOY / "synapse", properties)
    stage, spec = job["args"]
    assert stage == path.stem and stage in manymodels.commands
    assert (DEPLOY / "synapse" / Path(job["file"]).name).exists()
    settings = module(DEPLOY / "synapse" / "stage.py").environment(job["conf"], lambda *place: "/".join(place))
    assert wanted(PLATFORMS / Path(spec).name) <= set(settings)
    pool = read(DEPLOY / "synapse" / "bigDataPool" / f"{properties['targetBigDataPool']['referenceName']}.json")["properties"]
    assert properties["requiredSparkVersion"] == pool["sparkVersion"]
    assert int(job["conf"]["spark.dynamicAllocation.maxExecutors"]) < pool["autoScale"]["maxNodeCount"], "the driver has a node too"


@pytest.mark.parametrize("path", SPARK_JOBS, ids=lambda path: path.stem)
def test_every_property_of_a_spark_job_definition_is_understood(path: Path) -> None:
    artifacts = pytest.importorskip("azure.synapse.artifacts")
    data = read(path)

    back = artifacts.models.SparkJobDefinitionResource.deserialize(data).serialize(keep_readonly=True)
    assert unknown(data["properties"], back["properties"]) == []


def test_the_synapse_pipeline_runs_the_stages_in_order() -> None:
    activities = read(DEPLOY / "synapse" / "pipeline" / "RetailSales.json")["properties"]["activities"]
    assert [one["typeProperties"]["sparkJob"]["referenceName"] for one in activities] == WORKFLOW
    assert [one["typeProperties"]["args"][0] for one in activities] == WORKFLOW
    conditions = {one["name"]: [c for d in one["dependsOn"] for c in d["dependencyConditions"]] for one in activities}
    assert conditions["promote"] == ["Completed"], "too many failures do not keep the others from being promoted"
    assert conditions["report"] == ["Completed"], "a report is wanted above all where something failed"


def test_settings_of_a_synapse_job_become_variables_and_secrets_come_from_the_vault() -> None:
    asked: list[tuple[str, str]] = []

    def secret(vault: str, name: str) -> str:
        asked.append((vault, name))
        return "from the vault"

    conf = {
        "spark.manymodels.A": "1", "spark.manymodels.secret.B": "vault/name/part", "spark.sql.x": "2",
        "spark.manymodels.report": "abfss://lake@account.dfs.core.windows.net/reports",
    }
    assert module(DEPLOY / "synapse" / "stage.py").environment(conf, secret) == {"A": "1", "B": "from the vault"}
    assert asked == [("vault", "name/part")]


def test_a_secret_of_a_synapse_job_that_cannot_be_read_is_named_and_never_told() -> None:
    def refuse(vault: str, name: str) -> str:
        raise PermissionError("403 Forbidden: eyJhbGciOi")

    with pytest.raises(SystemExit) as end:
        module(DEPLOY / "synapse" / "stage.py").environment({"spark.manymodels.secret.DB": "kv/sales-db"}, refuse)
    assert "spark.manymodels.secret.DB: secret 'sales-db' of vault 'kv' cannot be read (PermissionError)" in str(end.value.code)
    assert "eyJ" not in str(end.value.code)


def test_the_synapse_report_is_written_here_and_copied_to_the_lake(monkeypatch: pytest.MonkeyPatch) -> None:
    script, calls = module(DEPLOY / "synapse" / "stage.py"), []
    monkeypatch.setattr(script, "run", lambda *given: calls.append(given))
    monkeypatch.setattr(script, "text_of", lambda spark, path: "name: s")
    monkeypatch.setattr(script, "copy_to_lake", lambda page, folder: calls.append((page, folder)))
    session = SimpleNamespace(conf=SimpleNamespace(getAll={}, get={"spark.manymodels.report": "abfss://lake@a/reports"}.get))
    monkeypatch.setattr(script, "session", lambda: session)

    script.main(["report", "abfss://code@a/synapse.yaml"])
    (stage, spec, option, page), (copied, folder) = calls
    assert (stage, Path(spec).name, option, folder) == ("report", "synapse.yaml", "--out", "abfss://lake@a/reports")
    assert str(copied) == page and copied.name.startswith("synapse-") and copied.suffix == ".html"


@pytest.mark.parametrize("script", ["synapse/stage.py", "azureml/src/stage.py"])
def test_a_stage_that_fails_ends_its_platform_s_job_and_one_that_does_not_returns(script: str, tmp_path: Path) -> None:
    run = module(DEPLOY / script).run
    run("check", PLATFORMS / "azureml.yaml")

    (tmp_path / "bad.yaml").write_text("name: s\n")
    with pytest.raises(SystemExit) as end:
        run("check", tmp_path / "bad.yaml")
    assert end.value.code == 2


# --- Azure ML ---

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
    assert set(re.findall(r"\$\[\[[^\]]*\$\{\{inputs\.(\w+)}}\]\]", arguments)) == optional, "in brackets stands what may be missing"


def test_the_azure_ml_loaders_name_what_is_wrong(loaders: ModuleType, tmp_path: Path) -> None:
    data = read(AZUREML / "components" / "train.yml")
    del data["entry"]
    (tmp_path / "bad.yml").write_text(yaml.safe_dump(data))
    with pytest.raises(Exception, match="entry"):
        loaders.load_component(str(tmp_path / "bad.yml"))


AZUREML_PIPELINES = [AZUREML / name for name in ("pipeline.yml", "training.yml", "parallel_pipeline.yml", "production/pipeline.yml")]
COMPONENTS = {read(path)["name"]: path for path in (AZUREML / "components").glob("*.yml")}
BINDING = re.compile(r"\$\{\{parent\.(?:(inputs|outputs)\.(\w+)|jobs\.(\w+)\.outputs\.(\w+))}}")
REGISTRY = re.compile(r"azureml://registries/([\w-]+)/components/(\w+)/labels/latest")


def component_of(step: dict[str, Any], folder: Path) -> Any:
    """The component that a step names: a file beside the pipeline, or by its name in the registry."""
    shared = REGISTRY.fullmatch(step["component"])
    return read(COMPONENTS[shared[2]] if shared else folder / step["component"])


def wrong_bindings(data: dict[str, Any], folder: Path) -> list[str]:
    """What azure-ai-ml's loader does not see: inputs that no component has, and references that lead nowhere."""
    found = []
    for name, step in data["jobs"].items():
        component = component_of(step, folder)
        needed = {key for key, one in component["inputs"].items() if not one.get("optional")}
        found += [f"{name}: {key} is not given" for key in needed - set(step["inputs"])]
        found += [f"{name}: the component has no input {key}" for key in set(step["inputs"]) - set(component["inputs"])]
        found += [f"{name}: the component has no output {key}" for key in set(step.get("outputs", {})) - set(component["outputs"])]
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
        ("${{parent.jobs.train.outputs.done}}", "${{parent.jobs.tain.outputs.done}}", "promote: ${{parent.jobs.tain.outputs.done}}"),
        ("${{parent.jobs.train.outputs.done}}", "${{parent.jobs.train.outputs.dome}}", "promote: ${{parent.jobs.train.outputs.dome}}"),
    ],
)
def test_a_reference_that_leads_nowhere_passes_azure_s_loader_and_is_found_here(
    written: str, instead: str, told: str, loaders: ModuleType, tmp_path: Path
) -> None:
    folder = shutil.copytree(AZUREML, tmp_path / "deploy" / "azureml")
    shutil.copytree(PLATFORMS, tmp_path / "conf" / "platforms")
    data = read(folder / "pipeline.yml")
    data["jobs"]["promote"]["inputs"] = {key: value.replace(written, instead) for key, value in data["jobs"]["promote"]["inputs"].items()}
    (folder / "pipeline.yml").write_text(yaml.safe_dump(data, sort_keys=False))

    loaders.load_job(str(folder / "pipeline.yml"))
    assert wrong_bindings(data, folder) == [told]


def test_production_takes_its_components_from_the_registry_that_the_infrastructure_makes() -> None:
    steps = read(AZUREML / "production" / "pipeline.yml")["jobs"]
    registries = {REGISTRY.fullmatch(step["component"])[1] for step in steps.values()}  # type: ignore[index]
    prefix = read(DEPLOY / "bicep" / "main.parameters.json")["parameters"]["prefix"]["value"]
    assert registries == {f"{prefix}-registry"}
    assert list(steps) == ["promote", "score"] and list(read(AZUREML / "training.yml")["jobs"]) == ["train"]


@pytest.mark.parametrize("path", ["schedule.yml", "production/schedule.yml"])
def test_an_azure_ml_schedule_is_daily_and_its_pipeline_exists(path: str, loaders: ModuleType) -> None:
    from azure.ai.ml.entities._load_functions import load_schedule

    schedule = load_schedule(str(AZUREML / path))
    minute, hour, *rest = schedule.trigger.expression.split()
    assert minute.isdigit() and hour.isdigit() and rest == ["*", "*", "*"]
    assert (AZUREML / path).parent.joinpath(read(AZUREML / path)["create_job"]).exists()


def test_the_azure_ml_environment_endpoint_and_deployment_load_and_belong_together(loaders: ModuleType) -> None:
    environment = loaders.load_environment(str(AZUREML / "environment.yml"))
    endpoint = loaders.load_online_endpoint(str(AZUREML / "endpoint" / "endpoint.yml"))
    deployment = loaders.load_online_deployment(str(AZUREML / "endpoint" / "deployment.yml"))

    assert deployment.endpoint_name == endpoint.name
    assert endpoint.auth_mode == "aad_token"
    names = {text for path in AZUREML.rglob("*.yml") for text in texts(read(path)) if re.match("azureml:(?!/)", text)}
    assert names == {f"azureml:{environment.name}@latest", "azureml:cpu"}
    assert "name: 'cpu'" in (DEPLOY / "bicep" / "modules" / "learning.bicep").read_text(), "the cluster without Spark"
    data = read(AZUREML / "endpoint" / "deployment.yml")
    code = AZUREML / "endpoint" / data["code_configuration"]["code"]
    assert (code / data["code_configuration"]["scoring_script"]).exists()
    variables = data["environment_variables"]
    assert (code / "spec.yaml").exists()
    production = read(code / "spec.yaml")["mlflow"]["production"]["tracking"]
    assert set(re.findall(r"\{(\w+)", production)) <= set(variables), "a server resolves the production MLflow only"


def test_the_azure_ml_settings_hold_what_the_spec_asks_for() -> None:
    text = (AZUREML / "settings.env").read_text()
    named = {line.split("=")[0] for line in text.splitlines() if "=" in line and not line.startswith("#")}
    assert wanted(PLATFORMS / "azureml.yaml") == named
    variables = module(AZUREML / "src" / "stage.py").variables
    assert variables("# a\nA = b=c \nEMPTY=\n\n") == {"A": "b=c"}


def test_the_parallel_component_fits_files_by_the_function_that_spark_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from manymodels_spark.fit import fit_partition
    from manymodels_spark.payload import sha256

    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "name: s\npartition_by: [store]\nsource: {csv: x.csv}\ncolumns: {time: date, target: units}\n"
        "horizon: 3\ncandidates: [seasonal_naive]\nbacktest: {folds: 1}\n"
    )
    good = pd.DataFrame({"store": 1, "date": pd.date_range("2026-01-01", periods=60), "units": np.arange(60.0)})
    for number, rows in enumerate([good, good.head(2).assign(store=2)]):
        rows.to_parquet(tmp_path / f"{number}.parquet")
    script = module(AZUREML / "src" / "fit_parallel.py")
    monkeypatch.setattr(sys, "argv", ["x", "--spec", str(spec), "--payloads", str(tmp_path / "out"), "--azure-s-own", "1"])

    script.init()
    first, second = (json.loads(line) for line in script.run([str(tmp_path / "0.parquet"), str(tmp_path / "1.parquet")]))

    same = fit_partition(good, load_spec(str(spec)), PartitionKey.of({"store": 1}))
    assert same.payload is not None
    assert (first["status"], first["family"], first["sha256"]) == ("fitted", "seasonal_naive", sha256(same.payload))
    assert (tmp_path / "out" / first["partition_id"]).read_bytes() == same.payload
    assert (second["status"], second["reason"]) == ("failed", "too_short")


def test_the_scoring_script_answers_as_the_server_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


# --- Azure DevOps ---

DEVOPS = DEPLOY / "devops"


@pytest.mark.parametrize("path", sorted(DEVOPS.glob("*.yml")), ids=lambda path: path.stem)
def test_an_azure_pipeline_has_the_published_form(path: Path) -> None:
    checker = [sys.executable, "-m", "check_jsonschema", "--regex-variant", "python", "--builtin-schema", "vendor.azure-pipelines"]
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
    spec = next(one["default"] for one in read(DEVOPS / "promote-pipeline.yml")["parameters"] if one["name"] == "spec")
    assert wanted(ROOT / spec) - {"WAREHOUSE_URL"} <= set(step["env"])
    assert "parameters.spec" not in step["script"] and "parameters.only" not in step["script"]


def test_the_deployment_gives_the_bundle_its_variables() -> None:
    step = read(DEVOPS / "deploy-bundle.yml")["jobs"][0]["strategy"]["runOnce"]["deploy"]["steps"][-1]
    given = {name.removeprefix("BUNDLE_VAR_") for name in step["env"] if name.startswith("BUNDLE_VAR_")}
    variables = read(BUNDLE / "databricks.yml")["variables"]
    assert given == {name for name, one in variables.items() if "default" not in one}
    targets = next(one["values"] for one in read(DEVOPS / "deploy-bundle.yml")["parameters"])
    assert set(targets) == set(read(BUNDLE / "databricks.yml")["targets"])


# --- Kubernetes ---

AKS = DEPLOY / "aks"
MANIFESTS = {path.name: read(path) for path in sorted(AKS.glob("*.yaml")) if path.name != "spec.yaml"}


@pytest.mark.parametrize("name", [name for name in MANIFESTS if name != "kustomization.yaml"])
def test_a_manifest_is_valid_strictly(name: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], "1.37", strict=True)


def test_a_misspelt_field_of_a_manifest_would_be_found() -> None:
    with pytest.raises(kubernetes_validate.ValidationError, match="selektor"):
        kubernetes_validate.validate({**MANIFESTS["service.yaml"], "spec": {"selektor": {}}}, "1.37", strict=True)


def test_the_manifests_refer_to_each_other() -> None:
    kustomization, deployment = MANIFESTS["kustomization.yaml"], MANIFESTS["deployment.yaml"]
    assert set(kustomization["resources"]) == set(MANIFESTS) - {"kustomization.yaml"}
    namespace = MANIFESTS["namespace.yaml"]["metadata"]["name"]
    assert kustomization["namespace"] == namespace
    labels, pod = deployment["spec"]["template"]["metadata"]["labels"], deployment["spec"]["template"]["spec"]
    ports = {port["name"] for port in pod["containers"][0]["ports"]}
    selectors = [
        deployment["spec"]["selector"]["matchLabels"], MANIFESTS["service.yaml"]["spec"]["selector"],
        MANIFESTS["disruption.yaml"]["spec"]["selector"]["matchLabels"], MANIFESTS["network.yaml"]["spec"]["podSelector"]["matchLabels"],
        pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()
    target = MANIFESTS["autoscaler.yaml"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (deployment["kind"], deployment["metadata"]["name"])
    assert pod["serviceAccountName"] == MANIFESTS["serviceaccount.yaml"]["metadata"]["name"]
    assert {port["targetPort"] for port in MANIFESTS["service.yaml"]["spec"]["ports"]} <= ports
    assert {port["port"] for rule in MANIFESTS["network.yaml"]["spec"]["ingress"] for port in rule["ports"]} <= ports
    maps = {one["name"]: one["files"] for one in kustomization["configMapGenerator"]}
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == set(volumes)
    assert volumes["spec"]["configMap"]["name"] in maps
    assert all((AKS / file).exists() for files in maps.values() for file in files)


def test_the_pod_s_command_and_probes_are_those_of_the_server() -> None:
    container = MANIFESTS["deployment.yaml"]["spec"]["template"]["spec"]["containers"][0]
    command, spec, *rest = container["args"]
    assert command == serve.name
    options = {name for parameter in serve.params for name in parameter.opts}
    assert {argument for argument in rest if argument.startswith("--")} <= options
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert Path(spec).parent == Path(mounts["spec"]) and Path(spec).name == "spec.yaml"
    assert rest[rest.index("--port") + 1] == str(container["ports"][0]["containerPort"])
    app = (ROOT / "manymodels_spark" / "serving" / "app.py").read_text()
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert f'"{container[probe]["httpGet"]["path"]}"' in app
    settings = {f"{PREFIX}{name.upper()}" for name in ServingSettings.model_fields}
    assert {one["name"] for one in container["env"] if one["name"].startswith(PREFIX)} <= settings


def test_the_image_has_what_it_copies_the_extras_that_exist_and_the_pod_s_user() -> None:
    from importlib.metadata import metadata

    image = (AKS / "Dockerfile").read_text()
    (extras,) = re.findall(r"whl\)\[([\w,]+)]", image)
    assert {"serve", "azure", "lightgbm"} == set(extras.split(",")) <= set(metadata("manymodels-spark").get_all("Provides-Extra") or [])
    kept = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {"setup.py", "README.md", "pyproject.toml", "constraints.txt", "manymodels_spark"} <= kept
    assert all((ROOT / name).exists() for name in kept)
    user = MANIFESTS["deployment.yaml"]["spec"]["template"]["spec"]["securityContext"]["runAsUser"]
    assert f"USER {user}\n" in image and f"--uid {user} " in image
    assert 'ENTRYPOINT ["manymodels"]' in image


def test_the_pods_are_held_to_little_and_outlive_a_drain() -> None:
    spec = MANIFESTS["deployment.yaml"]["spec"]
    pod, container = spec["template"]["spec"], spec["template"]["spec"]["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] is True
    guarded = container["securityContext"]
    assert (guarded["readOnlyRootFilesystem"], guarded["allowPrivilegeEscalation"]) == (True, False)
    assert guarded["capabilities"] == {"drop": ["ALL"]}
    assert set(container["resources"]["limits"]) >= {"cpu", "memory"} <= set(container["resources"]["requests"])
    assert MANIFESTS["disruption.yaml"]["spec"]["minAvailable"] < MANIFESTS["autoscaler.yaml"]["spec"]["minReplicas"]
    bound = next(one["value"] for one in container["env"] if one["name"] == "MANYMODELS_SERVE_RSS_MB")
    assert container["resources"]["limits"]["memory"] == "2Gi" and float(bound) < 2048, "models go before the pod is killed"
