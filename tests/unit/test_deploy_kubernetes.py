"""The manifests of `deploy/aks`: validated strictly, held against each other, the server and the image."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from deploy_files import DEPLOY, ROOT, read, wanted

from manymodels_spark.cli import main
from manymodels_spark.cli.serving import serve
from manymodels_spark.serving.settings import PREFIX, ServingSettings

AKS = DEPLOY / "aks"
MANIFESTS = {path.name: read(path) for path in sorted(AKS.glob("*.yaml")) if path.name != "spec.yaml"}


@pytest.mark.parametrize("name", [name for name in MANIFESTS if name != "kustomization.yaml"])
def test_a_manifest_is_valid_strictly(name: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], "1.37", strict=True)


def test_a_misspelt_field_of_a_manifest_would_be_found() -> None:
    with pytest.raises(kubernetes_validate.ValidationError, match="selektor"):
        kubernetes_validate.validate(
            {**MANIFESTS["service.yaml"], "spec": {"selektor": {}}}, "1.37", strict=True
        )


def test_the_manifests_refer_to_each_other() -> None:
    kustomization, deployment = MANIFESTS["kustomization.yaml"], MANIFESTS["deployment.yaml"]
    assert set(kustomization["resources"]) == set(MANIFESTS) - {"kustomization.yaml"}
    namespace = MANIFESTS["namespace.yaml"]["metadata"]["name"]
    assert kustomization["namespace"] == namespace
    labels, pod = deployment["spec"]["template"]["metadata"]["labels"], deployment["spec"]["template"]["spec"]
    ports = {port["name"] for port in pod["containers"][0]["ports"]}
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        MANIFESTS["service.yaml"]["spec"]["selector"],
        MANIFESTS["disruption.yaml"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["network.yaml"]["spec"]["podSelector"]["matchLabels"],
        pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()
    target = MANIFESTS["autoscaler.yaml"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (deployment["kind"], deployment["metadata"]["name"])
    assert pod["serviceAccountName"] == MANIFESTS["serviceaccount.yaml"]["metadata"]["name"]
    assert {port["targetPort"] for port in MANIFESTS["service.yaml"]["spec"]["ports"]} <= ports
    assert {
        port["port"] for rule in MANIFESTS["network.yaml"]["spec"]["ingress"] for port in rule["ports"]
    } <= ports
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
    app = (ROOT / "manymodels_spark" / "serving" / "http" / "app.py").read_text()
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert f'"{container[probe]["httpGet"]["path"]}"' in app
    settings = {f"{PREFIX}{name.upper()}" for name in ServingSettings.model_fields}
    assert {one["name"] for one in container["env"] if one["name"].startswith(PREFIX)} <= settings


def test_the_image_has_what_it_copies_the_extras_that_exist_and_the_pod_s_user() -> None:
    from importlib.metadata import metadata

    image = (AKS / "Dockerfile").read_text()
    (extras,) = re.findall(r"whl\)\[([\w,]+)]", image)
    assert (
        {"serve", "azure", "lightgbm"}
        == set(extras.split(","))
        <= set(metadata("manymodels-spark").get_all("Provides-Extra") or [])
    )
    kept = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
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
    assert (
        set(container["resources"]["limits"]) >= {"cpu", "memory"} <= set(container["resources"]["requests"])
    )
    assert (
        MANIFESTS["disruption.yaml"]["spec"]["minAvailable"]
        < MANIFESTS["autoscaler.yaml"]["spec"]["minReplicas"]
    )
    bound = next(one["value"] for one in container["env"] if one["name"] == "MANYMODELS_SERVE_RSS_MB")
    assert container["resources"]["limits"]["memory"] == "2Gi" and float(bound) < 2048, (
        "models go before the pod is killed"
    )


# --- all stages on one machine ---

JOBS = {path.name: read(path) for path in sorted((AKS / "jobs").glob("*.yaml")) if path.name != "spec.yaml"}


def test_the_jobs_are_valid_and_run_commands_that_exist_in_their_order() -> None:
    steps: dict[str, list[str]] = {}
    for name in ("nightly", "upkeep"):
        kubernetes_validate.validate(JOBS[f"{name}.yaml"], "1.37", strict=True)
        pod = JOBS[f"{name}.yaml"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        steps[name] = [one["args"][0] for one in [*pod["initContainers"], *pod["containers"]]]
        assert pod["serviceAccountName"] == JOBS["serviceaccount.yaml"]["metadata"]["name"]
    assert steps == {"nightly": ["run", "monitor"], "upkeep": ["maintain", "retire"]}
    assert {step for each in steps.values() for step in each} <= set(main.commands)


def test_the_jobs_are_given_what_their_spec_asks_for() -> None:
    secret = {"SALES_DB_URL", "WAREHOUSE_URL"}
    assert wanted(AKS / "jobs" / "spec.yaml") == secret | set(settings_of(AKS / "jobs" / "settings.env"))


# --- the MLflow server ---

MLFLOW = {path.name: read(path) for path in sorted((AKS / "mlflow").glob("*.yaml"))}
IMAGE = AKS / "mlflow" / "Dockerfile"


@pytest.mark.parametrize("name", [name for name in MLFLOW if name != "kustomization.yaml"])
def test_a_manifest_of_mlflow_is_valid_strictly(name: str) -> None:
    kubernetes_validate.validate(MLFLOW[name], "1.37", strict=True)


def settings_of(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_mlflow_s_manifests_refer_to_each_other_and_to_its_image() -> None:
    assert set(MLFLOW["kustomization.yaml"]["resources"]) == set(MLFLOW) - {"kustomization.yaml"}
    deployment, service = MLFLOW["deployment.yaml"], MLFLOW["service.yaml"]
    pod = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    backup = MLFLOW["backup.yaml"]["spec"]["jobTemplate"]["spec"]["template"]
    assert not service["spec"]["selector"].items() <= backup["metadata"]["labels"].items(), (
        "it answers nobody"
    )
    image, entry = IMAGE.read_text(), (IMAGE.parent / "entry.py").read_text()
    for one in (pod["spec"], backup["spec"]):
        assert one["serviceAccountName"] == MLFLOW["serviceaccount.yaml"]["metadata"]["name"]
        assert f"USER {one['securityContext']['runAsUser']}\n" in image
        volumes = {volume["name"] for volume in one["volumes"]}
        for container in [*one["initContainers"], *one["containers"]]:
            assert f'"{container["args"][0]}": ' in entry
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
    (port,) = pod["spec"]["containers"][0]["ports"]
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert f"EXPOSE {port['containerPort']}\n" in image
    mounted = {mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
    assert str(Path(settings_of(IMAGE.parent / "settings.env")["PGPASSFILE"]).parent) in mounted


def test_mlflow_s_pods_are_given_what_the_entry_point_asks_of_its_environment() -> None:
    asked = set(re.findall(r'environ\["(\w+)"\]', (IMAGE.parent / "entry.py").read_text()))
    given = set(settings_of(IMAGE.parent / "settings.env"))
    server = MLFLOW["deployment.yaml"]["spec"]["template"]["spec"]["containers"][0]
    assert asked - {"MLFLOW_AUTH_CONFIG_PATH"} <= given
    secrets = {one["name"] for one in server["env"] if "valueFrom" in one}
    assert secrets == {"MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"}


def test_mlflow_s_image_has_the_tested_version() -> None:
    (pinned,) = re.findall(r"^mlflow==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    images = set(re.findall(r"image: (\S+)", (AKS / "mlflow" / "deployment.yaml").read_text()))
    images |= set(re.findall(r"image: (\S+)", (AKS / "mlflow" / "backup.yaml").read_text()))
    assert {image.split(":")[1] for image in images} == {pinned}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl renders what is tested here")
def test_development_s_server_answers_none_of_production_s_requests() -> None:
    def rendered(folder: str) -> dict[str, Any]:
        done = subprocess.run(
            ["kubectl", "kustomize", str(AKS / folder)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return {one["kind"]: one for one in yaml.safe_load_all(done.stdout)}

    production, development = rendered("mlflow"), rendered("mlflow-development")
    labels = development["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert development["Service"]["metadata"]["name"] == "mlflow-dev"
    assert development["Service"]["spec"]["selector"].items() <= labels.items()
    assert not production["Service"]["spec"]["selector"].items() <= labels.items()
    assert development["ConfigMap"]["data"]["MLFLOW_DATABASE"] == "mlflow_dev"
    for one in (*production.values(), *development.values()):
        if one["kind"] != "Kustomization":
            kubernetes_validate.validate(one, "1.37", strict=True)
