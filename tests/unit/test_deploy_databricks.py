"""The Databricks bundle: through the bundles' own classes, and every reference followed."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from deploy_files import BUNDLE, ROOT, UPKEEP, WORKFLOW, read, texts, wanted
from platform_rules import UPLOADED, upload_root

from manymodels_spark.cli import main as manymodels
from manymodels_spark.cli.common import variables_of

NIGHTLY = ["retail_sales", "retail_sales_serverless"]
JOBS = {path.name.removesuffix(".job.yml"): path for path in (BUNDLE / "resources").glob("*.job.yml")}


def job_of(name: str) -> dict[str, Any]:
    resources = read(JOBS[name])["resources"]
    assert list(resources) == ["jobs"] and list(resources["jobs"]) == [name]
    job: dict[str, Any] = resources["jobs"][name]
    return job


def command_of(task: dict[str, Any]) -> list[str]:
    """What a task runs, without the settings that it sets before."""
    parameters: list[str] = task["python_wheel_task"]["parameters"]
    return parameters[2:] if parameters[0] == "--set" else parameters


@pytest.mark.parametrize("name", sorted(JOBS))
def test_a_databricks_job_is_one_to_the_bundles_own_classes(name: str) -> None:
    from databricks.bundles.jobs import Job

    job = Job.from_dict(job_of(name))  # type: ignore[arg-type]
    assert [task.task_key for task in job.tasks] == (WORKFLOW if name in NIGHTLY else UPKEEP)
    assert {task.python_wheel_task.entry_point for task in job.tasks} == {"manymodels-job"}  # type: ignore[union-attr]

    with pytest.raises(Exception, match="python_wheel_tusk"):
        Job.from_dict({"tasks": [{"task_key": "a", "python_wheel_tusk": {}}]})  # type: ignore[typeddict-unknown-key]


@pytest.mark.parametrize("name", sorted(JOBS))
def test_a_databricks_job_s_tasks_run_commands_that_exist_one_after_another(name: str) -> None:
    job = job_of(name)
    clusters = {cluster["job_cluster_key"] for cluster in job.get("job_clusters", [])}
    environments = {environment["environment_key"] for environment in job.get("environments", [])}
    before: list[str] = []
    for task in job["tasks"]:
        assert [one["task_key"] for one in task.get("depends_on", [])] == before[-1:]
        before.append(task["task_key"])
        assert task.get("job_cluster_key") in clusters | {None} and task.get(
            "environment_key"
        ) in environments | {None}
        assert ("job_cluster_key" in task) != ("environment_key" in task)
        command, spec, *options = command_of(task)
        assert command == task["task_key"]
        assert spec == "{{job.parameters.spec}}"
        known = {name for parameter in manymodels.commands[command].params for name in parameter.opts}
        assert {option for option in options if option.startswith("--")} <= known
        assert task["python_wheel_task"]["package_name"] == "manymodels-spark"
    assert job["parameters"][0]["name"] == "spec"
    rescues = {task["task_key"] for task in job["tasks"] if task.get("run_if") == "ALL_DONE"}
    assert rescues == ({"promote", "monitor", "report"} if name in NIGHTLY else set())


@pytest.mark.parametrize("name", sorted(JOBS))
def test_a_task_whose_failure_later_ones_hide_mails_it_itself(name: str) -> None:
    tasks = job_of(name)["tasks"]
    for before, task in pairwise(tasks):
        if task.get("run_if") == "ALL_DONE":
            assert before["email_notifications"]["on_failure"] == ["${var.notify}"], before["task_key"]
    assert all(task["max_retries"] >= 1 for task in tasks)


def test_the_workflow_runs_every_day_on_a_cluster_that_grows_or_on_none() -> None:
    job = job_of("retail_sales")
    seconds, minutes, hours, day, month, weekday = job["schedule"]["quartz_cron_expression"].split()
    assert (day, month, weekday) == ("*", "*", "?") and all(
        part.isdigit() for part in (seconds, minutes, hours)
    )
    (cluster,) = job["job_clusters"]
    assert set(cluster["new_cluster"]["autoscale"]) == {"min_workers", "max_workers"}
    for script in cluster["new_cluster"]["init_scripts"]:
        path = script["workspace"]["destination"].removeprefix(f"{UPLOADED}/")
        assert (upload_root(read(BUNDLE / "databricks.yml")) / path).exists()
    assert "job_clusters" not in job_of("retail_sales_serverless")
    secrets = [value for value in cluster["new_cluster"]["spark_env_vars"].values() if "secrets/" in value]
    assert secrets == ["{{secrets/${var.secret_scope}/sales-db-url}}"]


@pytest.mark.parametrize("name", NIGHTLY)
def test_a_job_writes_models_and_reports_into_volumes_of_the_bundle(name: str) -> None:
    volumes = read(BUNDLE / "resources" / "storage.yml")["resources"]["volumes"]
    report = job_of(name)["tasks"][-1]["python_wheel_task"]["parameters"][-1]
    used = re.findall(r"/Volumes/[^/]+/retail/(\w+)", report)
    for target in ("development", "production"):
        spec = (
            ROOT
            / "conf"
            / "platforms"
            / ("databricks_serverless.yaml" if "serverless" in name else "databricks.yaml")
        )
        used += re.findall(r"/Volumes/[^/]+/retail/(\w+)", read(spec)["mlflow"][target]["artifacts"])
    approval = read(BUNDLE / "databricks.yml")["targets"]["prod"]["variables"]["approval"]
    used += re.findall(r"/Volumes/[^/]+/retail/(\w+)", approval)
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
    given |= {key for one in job["parameters"][1:] for key in variables_of(one["default"])}
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
    used = {
        found
        for path in [BUNDLE / "databricks.yml", *files]
        for found in re.findall(r"\$\{var\.(\w+)}", path.read_text())
    }
    assert used == set(bundle["variables"]), "no variable is declared in vain"
    for target in bundle["targets"].values():
        assert set(target.get("variables", {})) <= set(bundle["variables"])
    for path in bundle["sync"]["paths"]:
        assert (BUNDLE / path).is_dir()


def test_what_the_jobs_need_is_such_to_the_bundles_own_classes() -> None:
    from databricks.bundles.schemas import Schema
    from databricks.bundles.secret_scopes import SecretScope
    from databricks.bundles.volumes import Volume

    resources = read(BUNDLE / "resources" / "storage.yml")["resources"]
    assert Schema.from_dict(resources["schemas"]["retail"]).name == "retail"
    assert [Volume.from_dict(one).name for one in resources["volumes"].values()] == [
        "models",
        "reports",
        "approvals",
    ]
    scope = SecretScope.from_dict(
        read(BUNDLE / "resources" / "secrets.yml")["resources"]["secret_scopes"]["manymodels"]
    )
    assert scope.backend_type is not None and scope.backend_type.value == "AZURE_KEYVAULT"  # type: ignore[union-attr]


def test_each_target_has_its_own_catalog_and_production_runs_as_a_service_principal() -> None:
    bundle = read(BUNDLE / "databricks.yml")
    default = bundle["variables"]["catalog"]["default"]
    catalogs = {
        name: target["variables"].get("catalog", default) for name, target in bundle["targets"].items()
    }
    assert list(catalogs) == ["dev", "staging", "prod"] and len(set(catalogs.values())) == 3
    assert bundle["targets"]["dev"]["mode"] == "development" and bundle["targets"]["dev"]["default"] is True
    assert bundle["targets"]["prod"]["run_as"] == {"service_principal_name": "${var.service_principal}"}


def test_the_tested_versions_are_those_of_the_lock_and_none_is_sparks() -> None:
    from manymodels_spark.deploy.lock import lock

    for folder, extras in {
        "databricks": ["azure"],
        "synapse": ["azure"],
        "azureml": ["azure", "serve"],
    }.items():
        lines = (ROOT / "deploy" / folder / "requirements.txt").read_text().splitlines()[1:]
        assert lines == lock(ROOT / "constraints.txt", extras), f"run: manymodels deploy lock ({folder})"
        names = {line.split("==")[0] for line in lines}
        assert {"mlflow", "prophet", "azure-identity"} <= names and not {"pyspark", "delta-spark"} & names
