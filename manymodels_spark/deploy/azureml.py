"""Bring a folder such as `deploy/azureml` into an Azure ML workspace, through azure-ai-ml.

A plan is a list of steps, made and checked by azure-ai-ml's own loaders without any workspace; printing it is
the dry run, carrying it out is the deployment. A further part is one function in `PARTS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from manymodels_spark.deploy import azureml_jobs as jobs
from manymodels_spark.deploy.steps import Step, Workspace, carry_out, done, load

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
# What a development workspace wants. The others are asked for by name: they share, run in production, or
# start a run.
DEFAULT = ("environment", "components", "schedule", "endpoint")


def plan(folder: Path, parts: Iterable[str]) -> list[Step]:
    """The steps of these parts, in order. Raises ManyModelsError naming the file that is missing or wrong."""
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
    steps = [
        Step(
            "deployment",
            entity.name,
            path,
            lambda to: done(to.client().online_deployments.begin_create_or_update(entity)),
            facts,
        ),
        Step("traffic", entity.endpoint_name, path, lambda to: _route(to, entity), {entity.name: "100 %"}),
    ]
    rules = folder / "autoscale.yml"
    return [*steps, _autoscale(rules, entity)] if rules.exists() else steps


def _route(to: Workspace, deployment: Any) -> None:
    """All traffic to the new deployment, once it is up; the old one stays, to go back to."""
    endpoints = to.client().online_endpoints
    entity = endpoints.get(deployment.endpoint_name)
    entity.traffic = {deployment.name: 100}
    done(endpoints.begin_create_or_update(entity))


def _autoscale(path: Path, deployment: Any) -> Step:
    """Rules of Azure Monitor on the deployment, which has no field for them."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    profile = data["properties"]["profiles"][0]
    capacity = profile["capacity"]
    facts = {
        "instances": f"{capacity['minimum']} to {capacity['maximum']}",
        "rules": str(len(profile["rules"])),
    }
    name = f"{deployment.endpoint_name}-{deployment.name}"
    return Step("autoscale", name, path, lambda to: _set_rules(to, data, name, deployment), facts)


def _set_rules(to: Workspace, data: Any, name: str, deployment: Any) -> None:
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
