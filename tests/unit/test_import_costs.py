"""What the commands that start nothing import: the libraries that cost seconds stay out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from manymodels_spark.families import registry
from manymodels_spark.families.built_in import BUILT_IN

ROOT = Path(__file__).parents[2]
HEAVY = {"pandas", "numpy", "pyarrow", "scipy", "sklearn", "prophet", "pyspark", "mlflow", "duckdb"}
COMMAND = """
import sys
from manymodels_spark.cli import main
try:
    main(sys.argv[1:])
finally:
    print("imported", *(name for name in sys.modules if "." not in name))
"""


def imported_by(*arguments: str) -> set[str]:
    """The packages that a process has imported at the end of one command."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True, cwd=ROOT, check=True
    )
    last = done.stdout.splitlines()[-1].split()
    assert last[0] == "imported", done.stdout
    return set(last[1:])


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["deploy", "--help"], ["doctor", "--help"]]
)
def test_help_imports_no_library_of_models_or_platforms(arguments: list[str]) -> None:
    found = imported_by(*arguments)
    assert found & HEAVY == set()
    assert "click" in found


@pytest.mark.parametrize("name", ["retail", "supply_chain", "m4_weekly", "predictive_maintenance"])
def test_check_knows_the_options_of_built_in_families_without_their_libraries(name: str) -> None:
    assert imported_by("check", f"conf/{name}.yaml") & HEAVY == set()


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_what_a_check_knows_of_a_built_in_family_is_what_its_class_says(name: str) -> None:
    cls = registry.family(name)
    assert registry.rules_of(name) == (cls.Options, cls.tasks)
    assert registry.name_of(cls) == name
