"""Data Factory and Synapse: resources through Microsoft's models, every reference followed, and the script of
a Synapse job.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from deploy_files import DEPLOY, PLATFORMS, UPKEEP, WORKFLOW, module, read, texts, wanted

from manymodels_spark.cli import main as manymodels


def unknown(written: Any, kept: Any, where: str = "") -> list[str]:
    """The properties of a document that the models did not understand: those that do not come back."""
    if isinstance(written, dict):
        if not isinstance(kept, dict):
            return [where]
        return [
            line for key, value in written.items() for line in unknown(value, kept.get(key), f"{where}/{key}")
        ]
    if isinstance(written, list):
        if not isinstance(kept, list) or len(kept) != len(written):
            return [where]
        return [
            line
            for number, value in enumerate(written)
            for line in unknown(value, kept[number], f"{where}/{number}")
        ]
    same = kept == written or str(kept).replace(".000Z", "Z") == str(
        written
    )  # times come back with milliseconds
    return [] if same else [where]


def factory(kind: str, data: dict[str, Any]) -> Any:
    import azure.mgmt.datafactory.models as models

    return getattr(models, kind).deserialize(data)


KINDS = {
    "pipeline": "PipelineResource",
    "linkedService": "LinkedServiceResource",
    "dataset": "DatasetResource",
    "trigger": "TriggerResource",
}
RESOURCES = [
    path
    for kind in KINDS
    for folder in ("datafactory", "synapse")
    for path in sorted((DEPLOY / folder / kind).glob("*.json"))
]


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_every_property_of_a_data_factory_resource_is_understood(path: Path) -> None:
    data = read(path)
    resource = factory(KINDS[path.parent.name], data)
    back = resource.serialize(keep_readonly=True)

    assert unknown(data["properties"], back["properties"]) == []
    assert data["name"] == path.stem
    if path.parent.name != "pipeline":
        assert type(resource.properties).__name__ not in {"LinkedService", "Dataset", "Trigger"}, (
            "an unknown type"
        )
        assert not resource.properties.additional_properties


def test_a_misspelt_property_would_be_found() -> None:
    data = read(DEPLOY / "datafactory" / "pipeline" / "IngestAndRun.json")
    data["properties"]["activities"][2]["typeProperties"]["sourse"] = data["properties"]["activities"][2][
        "typeProperties"
    ].pop("source")

    back = factory("PipelineResource", data).serialize(keep_readonly=True)
    assert "/activities/2/typeProperties/sourse" in [
        line.rsplit("/type", 1)[0] if line.count("/") > 4 else line
        for line in unknown(data["properties"], back["properties"])
    ]


PIPELINES = [path for path in RESOURCES if path.parent.name == "pipeline"]


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_a_pipeline_s_activities_are_of_known_types_with_what_they_need(path: Path) -> None:
    from azure.mgmt.datafactory import models

    needed = {
        models.CopyActivity: ("source", "sink", "inputs", "outputs"),
        models.LookupActivity: ("source", "dataset"),
        models.DatabricksJobActivity: ("job_id", "linked_service_name"),
        models.SynapseSparkJobDefinitionActivity: ("spark_job",),
    }
    for activity in factory("PipelineResource", read(path)).activities:
        for property_ in needed[type(activity)]:
            assert getattr(activity, property_), f"{activity.name}: {property_}"
        for part in ("source", "sink"):
            assert type(getattr(activity, part, None)).__name__ not in {"CopySource", "CopySink"}, (
                f"{activity.name}: {part}"
            )


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_a_pipeline_s_references_lead_somewhere(path: Path) -> None:
    properties, folder = read(path)["properties"], path.parents[1]
    names: set[str] = set()
    for activity in properties["activities"]:
        assert activity["name"] not in names, "a name stands once"
        assert {one["activity"] for one in activity["dependsOn"]} <= names, (
            "dependencies come first, so there is no circle"
        )
        ahead = ancestors(properties["activities"], activity["name"])
        for text in texts(activity):
            assert set(re.findall(r"pipeline\(\)\.parameters\.(\w+)", text)) <= set(
                properties["parameters"]
            ), text
            assert set(re.findall(r"activity\('(\w+)'\)", text)) <= ahead, (
                f"{activity['name']} reads what has not run"
            )
        names.add(activity["name"])
    follow(folder, read(path))


def ancestors(activities: list[dict[str, Any]], name: str) -> set[str]:
    direct = {
        one["activity"]
        for activity in activities
        if activity["name"] == name
        for one in activity["dependsOn"]
    }
    return direct.union(*(ancestors(activities, one) for one in direct))


FOLDERS = {
    "LinkedServiceReference": "linkedService",
    "DatasetReference": "dataset",
    "PipelineReference": "pipeline",
    "SparkJobDefinitionReference": "sparkJobDefinition",
    "BigDataPoolReference": "bigDataPool",
}


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
            assert set(data.get("parameters", {})) == set(read(target)["properties"].get("parameters", {})), (
                target.stem
            )
    for value in data.values():
        follow(folder, value)


@pytest.mark.parametrize(
    "path", [path for path in RESOURCES if path.parent.name != "pipeline"], ids=lambda path: path.stem
)
def test_linked_services_datasets_and_triggers_refer_to_what_exists(path: Path) -> None:
    follow(path.parents[1], read(path))
    for text in texts(read(path)):
        assert set(re.findall(r"dataset\(\)\.(\w+)", text)) <= set(
            read(path)["properties"].get("parameters", {})
        )


@pytest.mark.parametrize("folder", ["datafactory", "synapse"])
def test_a_trigger_starts_its_pipeline_daily_with_the_parameters_that_have_no_default(folder: str) -> None:
    trigger = read(DEPLOY / folder / "trigger" / "Daily.json")["properties"]
    assert (
        trigger["typeProperties"]["recurrence"]["frequency"],
        trigger["typeProperties"]["recurrence"]["interval"],
    ) == ("Day", 1)
    for started in trigger["pipelines"]:
        pipeline = read(
            DEPLOY / folder / "pipeline" / f"{started['pipelineReference']['referenceName']}.json"
        )
        parameters, given = pipeline["properties"]["parameters"], set(started.get("parameters", {}))
        assert (
            {name for name, one in parameters.items() if "defaultValue" not in one}
            <= given
            <= set(parameters)
        )


def test_the_window_of_a_file_trigger_is_the_one_that_is_copied() -> None:
    started = read(DEPLOY / "datafactory" / "trigger" / "DailyFiles.json")["properties"]["pipeline"]
    pipeline = read(
        DEPLOY / "datafactory" / "pipeline" / f"{started['pipelineReference']['referenceName']}.json"
    )["properties"]
    assert {name for name, one in pipeline["parameters"].items() if "defaultValue" not in one} == set(
        started["parameters"]
    )
    assert re.findall(r"outputs\.(\w+)", " ".join(started["parameters"].values())) == [
        "windowStartTime",
        "windowEndTime",
    ]
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
    stage, spec, *options = job["args"]
    known = {name for parameter in manymodels.commands[stage].params for name in parameter.opts}
    assert {option for option in options if option.startswith("--")} <= known
    assert stage == path.stem and stage in manymodels.commands
    assert (DEPLOY / "synapse" / Path(job["file"]).name).exists()
    settings = module(DEPLOY / "synapse" / "stage.py").environment(
        job["conf"], lambda *place: "/".join(place)
    )
    assert wanted(PLATFORMS / Path(spec).name) <= set(settings)
    pool = read(
        DEPLOY / "synapse" / "bigDataPool" / f"{properties['targetBigDataPool']['referenceName']}.json"
    )["properties"]
    assert properties["requiredSparkVersion"] == pool["sparkVersion"]
    assert int(job["conf"]["spark.dynamicAllocation.maxExecutors"]) < pool["autoScale"]["maxNodeCount"], (
        "the driver has a node too"
    )


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
    upkeep = read(DEPLOY / "synapse" / "pipeline" / "Upkeep.json")["properties"]["activities"]
    assert [one["typeProperties"]["args"][0] for one in upkeep] == UPKEEP
    conditions = {
        one["name"]: [c for d in one["dependsOn"] for c in d["dependencyConditions"]] for one in activities
    }
    assert conditions["promote"] == ["Completed"], (
        "too many failures do not keep the others from being promoted"
    )
    assert conditions["report"] == ["Completed"], "a report is wanted above all where something failed"


def test_settings_of_a_synapse_job_become_variables_and_secrets_come_from_the_vault() -> None:
    asked: list[tuple[str, str, str]] = []

    def secret(vault: str, name: str, service: str) -> str:
        asked.append((vault, name, service))
        return "from the vault"

    conf = {
        "spark.manymodels.A": "1",
        "spark.manymodels.secret.B": "vault/name",
        "spark.manymodels.secret.C": "vault/other/Service",
        "spark.sql.x": "2",
        "spark.manymodels.report": "abfss://lake@account.dfs.core.windows.net/reports",
    }
    assert module(DEPLOY / "synapse" / "stage.py").environment(conf, secret) == {
        "A": "1",
        "B": "from the vault",
        "C": "from the vault",
    }
    assert asked == [("vault", "name", "KeyVault"), ("vault", "other", "Service")]


def test_a_secret_of_a_synapse_job_that_cannot_be_read_is_named_and_never_told() -> None:
    def refuse(vault: str, name: str, service: str) -> str:
        raise PermissionError("403 Forbidden: eyJhbGciOi")

    with pytest.raises(SystemExit) as end:
        module(DEPLOY / "synapse" / "stage.py").environment(
            {"spark.manymodels.secret.DB": "kv/sales-db"}, refuse
        )
    assert (
        "secret 'sales-db' of vault 'kv' cannot be read by linked service 'KeyVault' (PermissionError)"
        in str(end.value.code)
    )
    assert "eyJ" not in str(end.value.code)


def test_the_synapse_report_is_written_here_and_copied_to_the_lake(monkeypatch: pytest.MonkeyPatch) -> None:
    script, calls = module(DEPLOY / "synapse" / "stage.py"), []
    monkeypatch.setattr(script, "run", lambda *given: calls.append(given))
    monkeypatch.setattr(script, "text_of", lambda spark, path: "name: s")
    monkeypatch.setattr(script, "copy_to_lake", lambda page, folder: calls.append((page, folder)))
    settings = {"spark.manymodels.report": "abfss://lake@a/reports"}
    listed = SimpleNamespace(
        collect=lambda: [{"key": key, "value": value} for key, value in settings.items()]
    )
    session = SimpleNamespace(conf=SimpleNamespace(get=settings.get), sql=lambda statement: listed)
    monkeypatch.setattr(script, "session", lambda: session)

    script.main(["report", "abfss://code@a/synapse.yaml"])
    (stage, spec, option, page), (copied, folder) = calls
    assert (stage, Path(spec).name, option, folder) == (
        "report",
        "synapse.yaml",
        "--out",
        "abfss://lake@a/reports",
    )
    assert str(copied) == page and copied.name.startswith("synapse-") and copied.suffix == ".html"
