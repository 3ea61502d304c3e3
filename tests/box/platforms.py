"""Our own workflow files as tasks: variables, parameters and paths resolved as each platform documents it.

The box replaces what only a cloud has: the catalog, storage and SQL pool are folders and a DuckDB file. All
else of a spec (columns, gates, variables) and of a workflow stays as it is shipped.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml
from deploy_files import BUNDLE, DEPLOY, PLATFORMS, ROOT, read, texts
from platform_rules import UPLOADED, upload_root

from box.expressions import resolved
from box.workflow import Task

ABFSS = re.compile(r"abfss://(\w+)@manymodelslake\.dfs\.core\.windows\.net")
UTILITIES = '''"""Stands in for Synapse's own module, which is there on the driver only."""
import shutil
from types import SimpleNamespace
mssparkutils = SimpleNamespace(fs=SimpleNamespace(
    cp=lambda source, target: shutil.copy(source.removeprefix("file:"), target)))
'''


def spec_of(platform: str, folder: Path) -> str:
    """The shipped spec of a platform with the box's places, and models that are quick to fit."""
    spec = yaml.safe_load((PLATFORMS / f"{platform}.yaml").read_text())
    spec["source"] = {"parquet": str(folder / "lake" / "landing" / "sales")}
    spec["candidates"], spec["horizon"] = ["seasonal_naive"], 7
    spec["backtest"] = {"folds": 1, "metric": "wape", "intervals": [80]}
    spec["lake"] = str(folder / "lake" / "tables")
    for name, where in spec["mlflow"].items():
        where.update(tracking=f"sqlite:///{folder}/{name}.db", artifacts=str(folder / f"{name}-models"))
        where.pop("experiment", None)
    spec["warehouse"] = {"duckdb": str(folder / "warehouse.duckdb")}
    return yaml.safe_dump(spec)


def databricks(name: str, target: str, folder: Path) -> list[Task]:
    """The tasks of a job of the bundle on one of its targets."""
    bundle = read(BUNDLE / "databricks.yml")
    uploaded = _upload(bundle, folder)
    given = {key: one.get("default", f"box-{key}") for key, one in bundle["variables"].items()}
    given |= bundle["targets"][target].get("variables", {}) | {"approval": ""}
    job = _filled(
        read(BUNDLE / "resources" / f"{name}.job.yml")["resources"]["jobs"][name], given, target, uploaded
    )
    parameters = {one["name"]: one["default"] for one in job["parameters"]}
    environment = dict(job["job_clusters"][0]["new_cluster"]["spark_env_vars"])
    for path in _named_files(job):
        assert Path(path).exists(), f"{path} is not among what is uploaded"
    Path(parameters["spec"]).write_text(spec_of("databricks", folder))
    return [_wheel_task(task, parameters, environment, folder) for task in job["tasks"]]


def synapse(name: str, folder: Path, python: Path, session: dict[str, str]) -> list[Task]:
    """The tasks of a pipeline of Synapse; `session` is what the pool brings with its Spark."""
    code = folder / "code" / "manymodels"
    code.mkdir(parents=True, exist_ok=True)
    (folder / "reports").mkdir(exist_ok=True)
    (folder / "brought" / "notebookutils").mkdir(parents=True, exist_ok=True)
    (folder / "brought" / "notebookutils" / "__init__.py").write_text(UTILITIES)
    shutil.copy(DEPLOY / "synapse" / "stage.py", code)
    (code / "synapse.yaml").write_text(spec_of("synapse", folder))
    properties = read(DEPLOY / "synapse" / "pipeline" / f"{name}.json")["properties"]
    parameters = {key: one["defaultValue"] for key, one in properties["parameters"].items()}
    names = {"pipeline": lambda: {"parameters": parameters}}
    return [_spark_job(one, names, folder, python, session) for one in properties["activities"]]


def _wheel_task(task: dict[str, Any], parameters: dict[str, str], environment: Any, folder: Path) -> Task:
    wheel = task["python_wheel_task"]
    assert (wheel["package_name"], wheel["entry_point"]) == ("manymodels-spark", "manymodels-job")
    arguments = [
        re.sub(r"\{\{job\.parameters\.(\w+)}}", lambda found: parameters[found[1]], text)
        .replace("{{job.run_id}}", "1")
        .replace("/Volumes/", f"{folder}/Volumes/")
        for text in wheel["parameters"]
    ]
    start = "from manymodels_spark.cli import job; job()"
    return Task(
        task["task_key"],
        [sys.executable, "-c", start, *arguments],
        {**environment, "PYTHONPATH": str(ROOT)},
        tuple(one["task_key"] for one in task.get("depends_on", [])),
        task.get("run_if") == "ALL_DONE",
    )


def _spark_job(activity: Any, names: Any, folder: Path, python: Path, session: dict[str, str]) -> Task:
    named = activity["typeProperties"]["sparkJob"]["referenceName"]
    job = read(DEPLOY / "synapse" / "sparkJobDefinition" / f"{named}.json")["properties"]["jobProperties"]
    conf = {key: value for key, value in job["conf"].items() if key.startswith("spark.manymodels.")}
    submitted = [f"--conf {key}={_here(value, folder)}" for key, value in {**conf, **session}.items()]
    arguments = [_here(resolved(one, names), folder) for one in activity["typeProperties"]["args"]]
    return Task(
        activity["name"],
        [str(python), _here(job["file"], folder), *arguments],
        {
            "PYTHONPATH": f"{ROOT}:{folder / 'brought'}",
            "PYSPARK_PYTHON": str(python),
            "AZURE_SERVICE": "Microsoft.ProjectArcadia",
            "PYSPARK_SUBMIT_ARGS": " ".join(["--master local[2]", *submitted, "pyspark-shell"]),
        },
        tuple(one["activity"] for one in activity["dependsOn"]),
        any("Completed" in one["dependencyConditions"] for one in activity["dependsOn"]),
    )


def _here(text: str, folder: Path) -> str:
    """A container of the lake is a folder of the box."""
    return ABFSS.sub(lambda found: f"{folder}/{found[1]}", str(text))


def _upload(bundle: dict[str, Any], folder: Path) -> Path:
    """What `bundle deploy` copies into the workspace: `sync.paths` alone, below their common root."""
    root, uploaded = upload_root(bundle), folder / "files"
    for path in bundle["sync"]["paths"]:
        source = (BUNDLE / path).resolve()
        shutil.copytree(source, uploaded / source.relative_to(root), dirs_exist_ok=True)
    return uploaded


def _filled(data: Any, variables: dict[str, Any], target: str, uploaded: Path) -> Any:
    """A document with `${...}` and secrets replaced. Raises KeyError for a variable that there is not."""
    if isinstance(data, dict):
        return {key: _filled(value, variables, target, uploaded) for key, value in data.items()}
    if isinstance(data, list):
        return [_filled(value, variables, target, uploaded) for value in data]
    if not isinstance(data, str):
        return data
    text = re.sub(r"\$\{var\.(\w+)}", lambda found: str(variables[found[1]]), data)
    text = text.replace(UPLOADED, str(uploaded)).replace("${bundle.target}", target)
    return re.sub(r"\{\{secrets/[\w-]+/([\w-]+)}}", r"secret-\1", text)


def _named_files(job: dict[str, Any]) -> list[str]:
    """The files of the workspace that a job names."""
    return [text.removeprefix("-r ") for text in texts(job) if "/files/" in text and " " not in text.strip()]
