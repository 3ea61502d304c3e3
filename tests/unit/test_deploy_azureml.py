"""`manymodels deploy azureml`: what it would do, and what it asks of azure-ai-ml. No cloud is asked in
tests.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from manymodels_spark.cli import main
from manymodels_spark.deploy import azureml, pins
from manymodels_spark.errors import ManyModelsError

FOLDER = Path(__file__).parents[2] / "deploy" / "azureml"
TARGET = "/subscriptions/s/resourceGroups/g/providers/x/blue"


class Recorded(azureml.Workspace):
    """Stands in for Azure: notes every call, with the name of what was sent."""

    calls: list[tuple[str, str]] = []
    sent: dict[str, Any] = {}
    traffic: dict[str, int] = {}
    refuses = False

    def ask(self, endpoint_name: str, deployment_name: str, request_file: str) -> None:
        self.calls.append(("asked", f"{deployment_name} {Path(request_file).stem}"))
        if self.refuses:
            raise RuntimeError("503")

    def client(self) -> Any:
        return SimpleNamespace(
            environments=SimpleNamespace(create_or_update=lambda entity: self.note("environment", entity)),
            online_endpoints=SimpleNamespace(
                begin_create_or_update=lambda entity: self.note("endpoint", entity),
                get=lambda name: SimpleNamespace(name=name, traffic=dict(self.traffic)),
                invoke=self.ask,
            ),
            online_deployments=SimpleNamespace(
                begin_create_or_update=lambda entity: self.note("deployment", entity),
                get=lambda name, of: SimpleNamespace(id=TARGET),
                begin_delete=lambda name, of: self.note("deleted", SimpleNamespace(name=name)),
            ),
            components=SimpleNamespace(create_or_update=lambda entity: self.note("component", entity)),
            schedules=SimpleNamespace(begin_create_or_update=lambda entity: self.note("schedule", entity)),
            jobs=SimpleNamespace(create_or_update=lambda entity: self.note("run", entity)),
            workspaces=SimpleNamespace(get=lambda name: SimpleNamespace(location="westeurope")),
        )

    def shared(self) -> Any:
        keep = SimpleNamespace(create_or_update=lambda entity: self.note("shared", entity))
        return SimpleNamespace(environments=keep, components=keep)

    def monitor(self) -> Any:
        def set_rules(group: str, name: str, rules: Any) -> None:
            self.calls.append(("autoscale", f"{group}/{name}"))
            self.sent["autoscale"] = rules

        return SimpleNamespace(autoscale_settings=SimpleNamespace(create_or_update=set_rules))

    def note(self, kind: str, entity: Any) -> Any:
        self.calls.append((kind, entity.name))
        self.sent[kind] = entity
        return SimpleNamespace(result=lambda: entity)


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    monkeypatch.setattr(Recorded, "calls", [])
    monkeypatch.setattr(Recorded, "sent", {})
    monkeypatch.setattr(Recorded, "traffic", {"green": 100})
    monkeypatch.setattr(Recorded, "refuses", False)
    return Recorded("s", "g", "w", None)


def test_a_dry_run_prints_every_step_and_needs_no_workspace() -> None:
    done = CliRunner().invoke(
        main, ["deploy", "azureml", "--folder", str(FOLDER), "--part", "endpoint", "--dry-run"]
    )

    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if not line.startswith("    ")]
    kinds = [line.split()[1] for line in lines[:-1]]
    assert kinds == ["endpoint", "deployment", "probe", "traffic", "autoscale"]
    assert "identity: user_assigned" in done.output and "instances: 2 to 10" in done.output
    assert lines[-1] == "5 steps, none was done"


def test_a_dry_run_names_variables_and_never_shows_their_values(tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "azureml")
    path = folder / "endpoint" / "deployment.yml"
    data = yaml.safe_load(path.read_text())
    data["environment_variables"]["MANYMODELS_SERVE_KEYS"] = "hunter2"
    path.write_text(yaml.safe_dump(data))

    text = "\n".join(map(str, azureml.plan(folder, ["endpoint"])))

    assert "MANYMODELS_SERVE_KEYS" in text and "hunter2" not in text


def test_the_steps_are_carried_out_in_order_and_traffic_goes_to_the_new_deployment(
    workspace: Recorded,
) -> None:
    azureml.carry_out(azureml.plan(FOLDER, ["environment", "endpoint"]), workspace, lambda line: None)

    assert workspace.calls == [
        ("environment", "manymodels-spark"),
        ("endpoint", "manymodels-wells"),
        ("deployment", "blue"),
        ("asked", "blue well"),
        ("endpoint", "manymodels-wells"),
        ("autoscale", "g/manymodels-wells-blue"),
    ]
    assert workspace.sent["endpoint"].traffic == {"blue": 100}
    assert workspace.sent["deployment"].liveness_probe.failure_threshold == 30


def test_the_autoscale_rules_are_those_that_azure_monitor_knows(workspace: Recorded) -> None:
    azureml.carry_out(azureml.plan(FOLDER, ["endpoint"]), workspace, lambda line: None)

    rules = workspace.sent["autoscale"]
    grow, shrink = rules.profiles[0].rules
    assert (rules.location, rules.target_resource_uri, rules.enabled) == ("westeurope", TARGET, True)
    said = [
        (one.metric_trigger.operator, one.metric_trigger.threshold, one.scale_action.direction)
        for one in (grow, shrink)
    ]
    assert said == [("GreaterThan", 70.0, "Increase"), ("LessThan", 30.0, "Decrease")]
    assert grow.metric_trigger.metric_resource_uri == TARGET


def test_what_azure_refuses_ends_the_plan_and_says_where(workspace: Recorded) -> None:
    def refuse(to: azureml.Workspace) -> None:
        raise RuntimeError("quota of 0 cores")

    steps = [
        azureml.Step("deployment", "blue", Path("deployment.yml"), refuse),
        azureml.plan(FOLDER, ["environment"])[0],
    ]

    with pytest.raises(ManyModelsError, match=r"deployment blue of deployment.yml.*quota of 0 cores"):
        azureml.carry_out(steps, workspace, lambda line: None)
    assert workspace.calls == []


def test_a_wrong_file_is_named_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "environment.yml").write_text("name: x\nimage: [1]\n")

    with pytest.raises(ManyModelsError, match=r"environment.yml is no environment to azure-ai-ml"):
        azureml.plan(tmp_path, ["environment"])
    with pytest.raises(ManyModelsError, match=r"endpoint.yml is not there"):
        azureml.plan(tmp_path, ["endpoint"])


def test_without_a_workspace_the_command_says_what_it_requires() -> None:
    command = ["deploy", "azureml", "--folder", str(FOLDER), "--part", "environment"]
    done = CliRunner(env={"AZURE_SUBSCRIPTION_ID": ""}).invoke(main, command)

    assert done.exit_code == 1
    assert "--dry-run" in done.output


def test_by_default_all_goes_that_development_requires_and_no_run_is_started() -> None:
    kinds = [step.kind for step in azureml.plan(FOLDER, azureml.DEFAULT)]
    assert kinds == [
        "environment",
        *["component"] * 10,
        "schedule",
        "endpoint",
        "deployment",
        "probe",
        "traffic",
        "autoscale",
    ]
    assert set(azureml.PARTS) - set(azureml.DEFAULT) == {"registry", "production", "pipeline"}


def test_components_and_the_nightly_schedule_are_sent_as_they_are_written(workspace: Recorded) -> None:
    azureml.carry_out(
        azureml.plan(FOLDER, ["components", "schedule", "production", "pipeline"]),
        workspace,
        lambda line: None,
    )

    stages = {"ingest", "prepare", "train", "promote", "score", "load", "monitor", "maintain", "retire"}
    made = {name for kind, name in workspace.calls if kind == "component"}
    assert made == {f"manymodels_{stage}" for stage in [*stages, "fit_parallel"]}
    assert [name for kind, name in workspace.calls if kind == "schedule"] == [
        "manymodels-daily",
        "manymodels-production-daily",
        "manymodels-upkeep-weekly",
    ]
    nightly = ["ingest", "prepare", "train", "promote", "score", "load", "monitor"]
    assert list(workspace.sent["run"].jobs) == nightly


def test_what_is_shared_names_the_environment_of_the_registry(workspace: Recorded) -> None:
    to = Recorded("s", "g", "w", None, "manymodels-registry")
    sent: dict[str, Any] = {}
    object.__setattr__(to, "note", lambda kind, entity: sent.setdefault(entity.name, entity))
    azureml.carry_out(azureml.plan(FOLDER, ["registry"]), to, lambda line: None)

    assert next(iter(sent)) == "manymodels-spark", "the environment goes first"
    version = pins.version_of(FOLDER)
    wanted = f"azureml://registries/manymodels-registry/environments/manymodels-spark/versions/{version}"
    assert sent["manymodels_train"].environment == sent["manymodels_fit_parallel"].task.environment == wanted


def test_sharing_without_a_registry_says_what_it_requires() -> None:
    with pytest.raises(ManyModelsError, match=r"shared environment .*--registry NAME"):
        azureml.carry_out(
            azureml.plan(FOLDER, ["registry"]), azureml.Workspace("s", "g", "w", None), lambda line: None
        )


def test_a_new_deployment_stands_beside_the_one_that_answers(workspace: Recorded) -> None:
    workspace.traffic.update({"blue": 100, "green": 0})
    azureml.carry_out(azureml.plan(FOLDER, ["endpoint"]), workspace, lambda line: None)
    assert ("deployment", "green") in workspace.calls and ("asked", "green well") in workspace.calls
    assert workspace.sent["endpoint"].traffic == {"green": 100}
    assert workspace.calls[-1] == ("autoscale", "g/manymodels-wells-green")


def test_a_new_deployment_that_does_not_answer_is_deleted_and_traffic_stays(workspace: Recorded) -> None:
    object.__setattr__(workspace, "refuses", True)
    with pytest.raises(ManyModelsError, match=r"blue does not answer .*well.json .*503.* keeps all traffic"):
        azureml.carry_out(azureml.plan(FOLDER, ["endpoint"]), workspace, lambda line: None)
    assert workspace.calls[-1] == ("deleted", "blue")
    assert not hasattr(workspace.sent["endpoint"], "traffic") or "blue" not in (
        workspace.sent["endpoint"].traffic or {}
    )


def test_a_new_wheel_or_lock_makes_a_new_environment_and_stale_files_are_not_deployed(tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "azureml")
    before = pins.version_of(folder)
    lock = folder / "requirements.txt"
    lock.write_text(lock.read_text().replace("mlflow==", "mlflow==9."))
    assert pins.version_of(folder) != before
    with pytest.raises(ManyModelsError, match="--pin"):
        azureml.plan(folder, ["environment"])

    done = CliRunner().invoke(main, ["deploy", "azureml", "--folder", str(folder), "--pin"])
    assert done.exit_code == 0 and pins.version_of(folder) in done.output
    assert azureml.plan(folder, ["environment"])[0].facts["version"] == pins.version_of(folder)
    assert "mlflow==9." in (folder / "conda.yml").read_text()
