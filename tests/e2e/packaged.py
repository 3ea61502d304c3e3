"""The package as others install it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def wheel(folder: Path) -> Path:
    """The wheel of this tree, made in the folder."""
    source = folder / "source"
    shutil.copytree(
        ROOT / "manymodels_spark", source / "manymodels_spark", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("setup.py", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", folder, source],
        check=True,
        capture_output=True,
    )
    return next(folder.glob("*.whl"))
