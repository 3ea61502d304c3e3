"""Bring a folder such as `deploy/azureml` into an Azure ML workspace, through azure-ai-ml.

A plan is a list of steps, made and checked by azure-ai-ml's own loaders without any workspace; printing it is
the dry run, carrying it out is the deployment. A further part is one function in `PARTS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from manymodels_spark.deploy import azureml_jobs as jobs
from manymodels_spark.deploy.pins import require_pinned
from manymodels_spark.deploy.steps import Step, Workspace, carry_out, done, load
from manymodels_spark.errors import ManyModelsError

COLOURS = ("blue", "green")
__all__ = ["DEFAULT", "PARTS", "Step", "Workspace", "carry_out", "plan"]


def environment(folder: Path) -> list[Step]:
    """The environment that jobs and endpoint run in."""
    path = folder / "environment.yml"
    entity = load("environment", path)
    facts = {"image": str(entity.image), "version": str(entity.version)}
    return [
        Step(
            "environment",
            entity.name,
            path,
            lambda to: to.client().environments.create_or_update(entity),
            facts,
        )
    ]


def endpoint(folder: Path) -> list[Step]:
    """The online endpoint, its deployment, the traffic and the rules by which it grows."""
    return [*_endpoint(folder / "endpoint" / "endpoint.yml"), *_deployment(folder / "endpoint")]


PARTS: dict[str, Callable[[Path], list[Step]]] = {
    "environment": environment,
    "components": jobs.components,
    "schedule": jobs.schedule,
    "endpoint": endpoint,
    "registry": jobs.registry,
    "production": jobs.production,
    "pipeline": jobs.pipeline,
}
# What a development workspace needs. The others are named by hand: they share, run in production, or start a
# run.
DEFAULT = ("environment", "components", "schedule", "endpoint")


def plan(folder: Path, parts: Iterable[str]) -> list[Step]:
    """The steps of these parts, in order. Raises ManyModelsError naming the file that is missing or wrong."""
    require_pinned(folder)
    return [step for part in parts for step in PARTS[part](folder)]


def _endpoint(path: Path) -> list[Step]:
    entity = load("online_endpoint", path)
    identity = entity.identity.type if entity.identity else "none"
    facts = {"auth": str(entity.auth_mode), "identity": str(identity)}
    return [
        Step(
            "endpoint",
            entity.name,
            path,
            lambda to: done(to.client().online_endpoints.begin_create_or_update(entity)),
            facts,
        )
    ]


def _deployment(folder: Path) -> list[Step]:
    path = folder / "deployment.yml"
    entity = load("online_deployment", path)
    facts = {
        "instances": f"{entity.instance_count} x {entity.instance_type}",
        "environment": str(entity.environment),
    }
    # Their names only: somebody may have put a secret among the values.
    facts["variables"] = ", ".join(sorted(entity.environment_variables or {}))
    requests = sorted((folder / "requests").glob("*.json"))
    asked = {"requests": ", ".join(one.stem for one in requests)}
    steps = [
        Step("deployment", entity.name, path, lambda to: _beside(to, entity), facts),
        Step("probe", entity.endpoint_name, path, lambda to: _probe(to, entity, requests), asked),
        Step("traffic", entity.endpoint_name, path, lambda to: _route(to, entity), {"new": "100 %"}),
    ]
    rules = folder / "autoscale.yml"
    return [*steps, _autoscale(rules, entity)] if rules.exists() else steps


def _beside(to: Workspace, deployment: Any) -> None:
    """Make the deployment under the colour that has no traffic: the one that answers stays as it is."""
    traffic = to.client().online_endpoints.get(deployment.endpoint_name).traffic or {}
    deployment.name = next((colour for colour in COLOURS if not traffic.get(colour)), COLOURS[0])
    done(to.client().online_deployments.begin_create_or_update(deployment))


def _probe(to: Workspace, deployment: Any, requests: list[Path]) -> None:
    """Ask the new deployment each request; where it does not answer it is deleted, and traffic stays.

    Raises ManyModelsError with the request that it did not answer.
    """
    for request in requests:
        try:
            to.client().online_endpoints.invoke(
                endpoint_name=deployment.endpoint_name,
                deployment_name=deployment.name,
                request_file=str(request),
            )
        except Exception as error:
            done(to.client().online_deployments.begin_delete(deployment.name, deployment.endpoint_name))
            raise ManyModelsError(
                f"the new deployment {deployment.name} does not answer {request} ({error}); it was deleted, "
                "and the deployment before it keeps all traffic"
            ) from error


def _route(to: Workspace, deployment: Any) -> None:
    """All traffic to the new deployment, once it is up; the old one stays, to go back to."""
    endpoints = to.client().online_endpoints
    entity = endpoints.get(deployment.endpoint_name)
    entity.traffic = {deployment.name: 100}
    done(endpoints.begin_create_or_update(entity))


def _autoscale(path: Path, deployment: Any) -> Step:
    """Rules of Azure Monitor on the deployment, which has no field for them."""
    import yaml

    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    profile = data["properties"]["profiles"][0]
    capacity = profile["capacity"]
    facts = {
        "instances": f"{capacity['minimum']} to {capacity['maximum']}",
        "rules": str(len(profile["rules"])),
    }
    return Step(
        "autoscale", deployment.endpoint_name, path, lambda to: _set_rules(to, data, deployment), facts
    )


def _set_rules(to: Workspace, data: Any, deployment: Any) -> None:
    name = f"{deployment.endpoint_name}-{deployment.name}"
    target = to.client().online_deployments.get(deployment.name, deployment.endpoint_name).id
    workspace = to.client().workspaces.get(to.name)
    to.monitor().autoscale_settings.create_or_update(
        to.resource_group, name, rules_of(data, target, workspace.location)
    )


def rules_of(data: Any, target: str, location: str) -> Any:
    """The AutoscaleSettingResource of a file for one deployment: `TARGET` stands for its resource id."""
    from azure.mgmt.monitor.models import AutoscaleSettingResource

    filled = json.loads(json.dumps(data).replace("TARGET", target))
    return AutoscaleSettingResource.deserialize({**filled, "location": location})
