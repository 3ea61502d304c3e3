"""The command lines of `deploy/` are ones that the programs of this release take: names, options, arguments.

Ours are parsed by the command line itself, which stops before it runs; those of other tools are held against
their own `--help`. Programs that are not installed with the package are listed, so that none is overlooked.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import click
import pytest
from deploy_files import BUNDLE, DEPLOY, ROOT, read

from manymodels_spark.cli import main

VARIABLE = re.compile(r"\$\{\{.*?\}\}|\{\{.*?\}\}|\$\([^)]*\)|\$\{[^}]*\}|\$\w+")
LINE = re.compile(r"(?<![\w/.:@$'\"=-])(?:(manymodels(?:-job)?)|python -m (\w+)) ([^\n|`]*)")
SCRIPTS = sorted(
    path
    for folder in ("devops", "github", "aks", "azureml", "databricks", "synapse")
    for path in (DEPLOY / folder).rglob("*")
    if path.suffix in (".yml", ".yaml", ".sh") or path.name == "Dockerfile"
)
READMES = sorted(DEPLOY.rglob("README.md"))
NOT_INSTALLED = {"twine"}
# Held against their own help.
TOOLS = {"build", "pip", "pytest"}


def words_of(text: str) -> list[str]:
    """A command line's words up to the end of the command, each variable as a number."""
    plain = VARIABLE.sub("1", text)
    return shlex.split(re.split(r"\s(?:&&|\|\||;;?|>|#)", f"{plain} ")[0].rstrip(" ;)"), comments=True)


def lines_of(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Program and words of each command in a script's lines, or in the code of a page."""
    text = path.read_text().replace("\\\n", " ")
    if path.suffix == ".md":
        text = "\n".join(re.findall(r"```\w*\n(.*?)```", text, re.DOTALL))
    for line in text.splitlines():
        said = line.strip()
        if said.startswith(("#", "display", "description", "name:")):
            continue
        for ours, tool, rest in LINE.findall(said):
            yield ours or tool, words_of(rest)


def parse(words: Sequence[str]) -> click.Context:
    """Parse a command line of ours, and stop there. Raises click.UsageError where it would not run."""
    context = main.make_context("manymodels", list(words))
    command: click.Command = main
    while isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        if not rest:
            raise click.UsageError("a command is expected")
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        context, command = found.make_context(name, rest, parent=context), found
    return context


@lru_cache
def help_of(tool: str, *words: str) -> str:
    command = [sys.executable, "-m", tool, *words, "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def bundle_tasks() -> Iterator[tuple[str, list[str]]]:
    for path in sorted((BUNDLE / "resources").glob("*.job.yml")):
        for job in read(path)["resources"]["jobs"].values():
            for task in job["tasks"]:
                wheel = task.get("python_wheel_task")
                if wheel is not None:
                    yield (
                        f"{path.stem} {task['task_key']}",
                        [VARIABLE.sub("1", one) for one in wheel["parameters"]],
                    )


def spark_jobs() -> Iterator[tuple[str, list[str]]]:
    for path in sorted((DEPLOY / "synapse" / "sparkJobDefinition").glob("*.json")):
        yield f"synapse {path.stem}", read(path)["properties"]["jobProperties"]["args"]


def components() -> Iterator[tuple[str, list[str]]]:
    for path in sorted((DEPLOY / "azureml" / "components").glob("*.yml")):
        found = re.search(r"--stage (\S+)", str(read(path).get("args", "")))
        if found:
            yield f"azureml {path.stem}", ["--set", "A=1", found[1], "spec.yaml"]


TASKS = [*bundle_tasks(), *spark_jobs(), *components()]


@pytest.mark.parametrize(("name", "words"), TASKS, ids=[name for name, _ in TASKS])
def test_a_task_of_a_platform_is_a_command_line_that_runs(name: str, words: list[str]) -> None:
    assert parse(words).params["spec"] == words[words.index("spec.yaml") if "spec.yaml" in words else 1]


@pytest.mark.parametrize("path", [*SCRIPTS, *READMES], ids=lambda path: str(path.relative_to(DEPLOY)))
def test_a_command_of_a_script_or_page_is_one_that_its_program_takes(path: Path) -> None:
    for program, words in lines_of(path):
        if program.startswith("manymodels"):
            parse(words)
        elif program in TOOLS:
            _check_tool(program, words)
        else:
            assert program in NOT_INSTALLED | {"venv"}, f"{program}: neither checked nor listed"


def _check_tool(program: str, words: list[str]) -> None:
    command = ("install",) if program == "pip" and words[0] == "install" else ()
    told = help_of(program, *command).replace("-", "")
    for option in (word.partition("=")[0] for word in words if word.startswith("--")):
        assert re.search(rf"{option.replace('-', '')}\b", told), f"{program} has no option {option}"
    for before, value in pairwise(words):
        if before == "-c" and program == "pip":
            assert (ROOT / value).is_file()
    for extras in (word for word in words if word.startswith(".[")):
        known = (ROOT / "setup.py").read_text()
        assert all(f'"{extra}":' in known for extra in extras[2:-1].split(","))


def test_the_commands_that_matter_are_among_those_that_were_found() -> None:
    found = {
        (path.parent.name, words[0])
        for path in SCRIPTS
        for program, words in lines_of(path)
        if words
        if program.startswith("manymodels")
    }
    assert {("devops", "promote"), ("github", "promote"), ("devops", "deploy")} <= found
    assert len(TASKS) >= 30


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["promte", "spec.yaml"], "promte"),
        (["promote"], "spec"),
        (["promote", "spec.yaml", "--onyl", "x"], "--onyl"),
        (["promote", "spec.yaml", "more"], "unexpected"),
        ([], "COMMAND"),
    ],
)
def test_a_command_line_with_a_mistake_would_be_found(words: list[str], reason: str) -> None:
    with pytest.raises(click.UsageError, match=reason):
        parse(words)
