"""The parts of a deployment that run stages: components, pipelines, schedules, and the registry that shares
them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manymodels_spark.deploy.steps import Step, Workspace, done, load


def components(folder: Path) -> list[Step]:
    """A Spark component for each stage, and the one that fits without Spark."""
    return [_component(path) for path in sorted((folder / "components").glob("*.yml"))]


def schedule(folder: Path) -> list[Step]:
    """The nightly pipeline of the development workspace."""
    return [_schedule(folder / "schedule.yml")]


def production(folder: Path) -> list[Step]:
    """The nightly and weekly pipelines of the production workspace, made of the registry's components."""
    return [_schedule(path) for path in sorted((folder / "production").glob("*schedule.yml"))]


def pipeline(folder: Path) -> list[Step]:
    """The development pipeline, started once now."""
    path = folder / "pipeline.yml"
    job = load("job", path)
    return [
        Step(
            "run",
            str(job.display_name),
            path,
            lambda to: to.client().jobs.create_or_update(job),
            {"steps": ", ".join(job.jobs)},
        )
    ]


def registry(folder: Path) -> list[Step]:
    """Environment and components into the registry, from which production takes them."""
    path = folder / "environment.yml"
    environment = load("environment", path)
    shared = Step(
        "shared environment",
        environment.name,
        path,
        lambda to: to.shared().environments.create_or_update(environment),
    )
    return [shared, *(_shared(one, environment) for one in sorted((folder / "components").glob("*.yml")))]


def _component(path: Path) -> Step:
    entity = load("component", path)
    facts = {"version": str(entity.version), "type": str(entity.type)}
    return Step(
        "component", entity.name, path, lambda to: to.client().components.create_or_update(entity), facts
    )


def _shared(path: Path, environment: Any) -> Step:
    entity = load("component", path)
    return Step(
        "shared component",
        entity.name,
        path,
        lambda to: _share(to, entity, environment),
        {"version": str(entity.version)},
    )


def _share(to: Workspace, entity: Any, environment: Any) -> Any:
    """A component of a registry must name an environment of that registry: it cannot see a workspace's."""
    owner = entity.task if entity.type == "parallel" else entity
    owner.environment = (
        f"azureml://registries/{to.registry}/environments/{environment.name}/versions/{environment.version}"
    )
    return to.shared().components.create_or_update(entity)


def _schedule(path: Path) -> Step:
    entity = load("schedule", path)
    facts = {"at": str(entity.trigger.expression), "steps": ", ".join(entity.create_job.jobs)}
    return Step(
        "schedule",
        entity.name,
        path,
        lambda to: done(to.client().schedules.begin_create_or_update(entity)),
        facts,
    )
