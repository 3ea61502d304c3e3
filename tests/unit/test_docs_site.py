"""The site's generated pages hold what the code has; links to the repository become links of the site."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from manymodels_spark.cli import main as manymodels
from manymodels_spark.spec.model import Spec

SCRIPTS = Path(__file__).parents[2] / "scripts"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_the_reference_of_the_spec_has_every_key_with_its_type_and_default() -> None:
    page = script("docs_reference").spec_reference()

    top = page[page.index("## The spec") : page.index("## Jdbc")]
    assert re.findall(r"^\| `(\w+)` \|", top, re.MULTILINE) == list(Spec.model_fields)
    assert "| `horizon` | integer, at least 1, at most 100000 | `1` |" in top
    assert "| `task` | `forecast`, `regression`, `classification` | `forecast` |" in top
    assert "| `name` | string, of the form `^[a-z][a-z0-9_]{0,62}$` | required |" in top
    named = set(re.findall(r"\]\(#(\w+)\)", page))
    assert named == {title.lower() for title in re.findall(r"^## (\w+)$", page, re.MULTILINE)}


def test_the_reference_of_the_command_line_has_every_command_with_its_options() -> None:
    page = script("docs_reference").cli_reference()

    titles = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert [title for title in titles if " " not in title] == list(manymodels.commands)
    assert "| `--full` | Read everything again, not only what is new. |" in page


@pytest.mark.parametrize(
    ("target", "page"),
    [
        ("README.md", "index.md"),
        ("docs/spec.md", "spec.md"),
        ("notebooks/01_quickstart.ipynb", "notebooks/01_quickstart.md"),
        ("conf/retail.yaml", "conf/retail.md"),
        ("deploy/aks", "deploy/aks.md"),
        ("deploy/powerbi/README.md", "deploy/powerbi.md"),
        ("docs/decisions", "decisions/0001-ids-in-python.md"),
    ],
)
def test_a_link_to_the_repository_leads_to_the_page_of_what_it_names(target: str, page: str) -> None:
    sys.path.insert(0, str(SCRIPTS))
    try:
        assert script("docs_hooks")._page_of(target) == page
    finally:
        sys.path.remove(str(SCRIPTS))
