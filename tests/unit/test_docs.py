"""What the pages name is there: linked pages, files of this repository, commands and their options."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from manymodels_spark.cli import main as manymodels
from manymodels_spark.stages.train.fit_task import FITS_SCHEMA

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "deploy").rglob("README.md")),
]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@each_page
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), target


@each_page
def test_every_file_of_the_repository_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(
        r"`((?:deploy|conf|docs|jobs|notebooks|scripts|tests|manymodels_spark)/[\w./*-]+)`", page.read_text()
    )
    for name in named:
        if "*" in name:
            assert list(ROOT.glob(name)), name
        else:
            assert (ROOT / name).exists() or (page.parent / name).exists(), name


@each_page
def test_every_command_that_a_page_shows_exists_with_its_options(page: Path) -> None:
    for line in re.findall(r"(?:^|`|\$ |&& )manymodels ([a-z][^`\n#>|]*)", page.read_text(), re.MULTILINE):
        words = line.split()
        command: click.Command = manymodels
        while words and isinstance(command, click.Group) and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        assert command is not manymodels, f"manymodels {line}"
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= known, f"manymodels {line}"


def test_the_columns_by_which_costs_are_reckoned_are_in_the_table() -> None:
    sql = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "cost.md").read_text(), re.DOTALL)[0]
    columns = {column.split()[0] for column in FITS_SCHEMA.split(", ")}
    assert set(re.findall(r"sum\((\w+)\)|avg\((\w+)\)", sql)) == {("seconds", ""), ("", "seconds")}
    assert {"seconds", "run_id"} <= columns
