"""What every deployment is made of: steps, the workspace that they go to, and files read by azure-ai-ml's own
loaders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from manymodels_spark.errors import ManyModelsError


@dataclass(frozen=True)
class Workspace:
    """Where to: ids of Azure, and the credential to go there with."""

    subscription: str
    resource_group: str
    name: str
    credential: Any
    registry: str | None = None

    @classmethod
    def signed_in(
        cls, subscription: str, resource_group: str, name: str, registry: str | None = None
    ) -> Workspace:
        """With the identity of the platform at hand (`spark.credentials`); on a laptop that of `az login`."""
        from manymodels_spark.spark.credentials import credential

        return cls(subscription, resource_group, name, credential(), registry)

    def client(self) -> Any:
        """The MLClient of the workspace."""
        from azure.ai.ml import MLClient

        return MLClient(self.credential, self.subscription, self.resource_group, self.name)

    def shared(self) -> Any:
        """The MLClient of the registry. Raises ManyModelsError where none was named."""
        from azure.ai.ml import MLClient

        if not self.registry:
            raise ManyModelsError("sharing components requires the registry's name: --registry NAME")
        return MLClient(self.credential, self.subscription, self.resource_group, registry_name=self.registry)

    def monitor(self) -> Any:
        """The client of Azure Monitor, which keeps autoscale rules."""
        from azure.mgmt.monitor import MonitorManagementClient

        return MonitorManagementClient(self.credential, self.subscription)


@dataclass(frozen=True)
class Step:
    """One thing to bring into being: its kind, its name, the file that describes it, what a reader should
    know of it, and how it is done.
    """

    kind: str
    name: str
    path: Path
    apply: Callable[[Workspace], Any]
    facts: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        facts = "".join(f"\n    {name}: {value}" for name, value in self.facts.items())
        return f"{self.kind} {self.name}   from {self.path}{facts}"


def carry_out(steps: Iterable[Step], workspace: Workspace, log: Callable[[str], None]) -> None:
    """Do the steps one after another; the first that fails ends it. Raises ManyModelsError. Repeating is
    safe.
    """
    for step in steps:
        log(f"{step.kind} {step.name}")
        try:
            step.apply(workspace)
        except Exception as error:
            raise ManyModelsError(
                f"{step.kind} {step.name} of {step.path}: Azure refused it ({type(error).__name__}: "
                f"{error}). "
                "What came before it is done; correct this and run the command again"
            ) from error


def load(kind: str, path: Path) -> Any:
    """A file by azure-ai-ml's loader of its kind. Raises ManyModelsError naming file and fields."""
    try:
        from azure.ai import ml
    except ImportError as error:
        raise ManyModelsError(
            "deploying needs more packages: pip install 'manymodels-spark[azure]'"
        ) from error
    if not path.is_file():
        raise ManyModelsError(f"{path} is not there. Give the folder that holds it with --folder")
    try:
        return _loader(ml, kind)(str(path))
    except Exception as error:
        raise ManyModelsError(f"{path} is no {kind} to azure-ai-ml: {error}") from error


def _loader(ml: Any, kind: str) -> Callable[[str], Any]:
    """azure-ai-ml's loader of a kind; that of schedules is not among its public names."""
    where = import_module("azure.ai.ml.entities._load_functions") if kind == "schedule" else ml
    found: Callable[[str], Any] = getattr(where, f"load_{kind}")
    return found


def done(poller: Any) -> Any:
    """What a long operation of Azure gives when it has ended."""
    return poller.result()
