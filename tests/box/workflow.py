"""Runs a workflow's tasks as processes, in order, with exactly the environment that the platform states."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

KEPT = ("PATH", "HOME", "JAVA_HOME", "LANG", "MANYMODELS_JARS")


@dataclass(frozen=True)
class Task:
    """One task: what it runs, with which variables, after which others, and whether these must succeed."""

    name: str
    command: list[str]
    environment: dict[str, str]
    after: tuple[str, ...] = ()
    whatever_came_before: bool = False


@dataclass
class Night:
    """What became of the tasks of one run: `succeeded`, `failed` or `skipped`, with their output."""

    outcomes: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)

    def explain(self) -> str:
        """The end of what each failed task printed."""
        failed = [name for name, outcome in self.outcomes.items() if outcome == "failed"]
        return "\n".join(f"--- {name}\n{self.outputs[name][-3000:]}" for name in failed)


def run(tasks: list[Task], folder: Path, night: Night | None = None) -> Night:
    """Run the tasks, or of a former night those that did not succeed, in an empty working folder each."""
    night = night or Night()
    for task in tasks:
        if night.outcomes.get(task.name) == "succeeded":
            continue
        ready = task.whatever_came_before or all(
            night.outcomes[before] == "succeeded" for before in task.after
        )
        night.outcomes[task.name] = _start(task, folder, night) if ready else "skipped"
    return night


def _start(task: Task, folder: Path, night: Night) -> str:
    working = folder / "working" / task.name
    working.mkdir(parents=True, exist_ok=True)
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    done = subprocess.run(
        task.command,
        cwd=working,
        env={**kept, **task.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    night.outputs[task.name] = done.stdout + done.stderr
    return "failed" if done.returncode else "succeeded"
