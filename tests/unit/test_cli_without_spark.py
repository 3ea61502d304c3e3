"""Commands that start nothing run where Spark is not installed, as `pipx run` has them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WITHOUT_SPARK = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pyspark", "delta"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from manymodels_spark.cli import main
main()
"""


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("--help", "One model per partition"),
        ("check conf/retail.yaml", "conf/retail.yaml is valid"),
        ("schema", '"$schema"'),
        ("train --help", "--only-degraded"),
    ],
)
def test_a_quick_command_runs_without_spark(command: str, printed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SPARK, *command.split()], cwd=ROOT, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert printed in done.stdout
