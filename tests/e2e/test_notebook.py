"""The quickstart notebook runs from its first cell to its last, and shows what it promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

pytestmark = pytest.mark.spark
ROOT = Path(__file__).parents[2]


def test_the_quickstart_notebook_runs_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANYMODELS_CONF", str(ROOT / "conf"))
    monkeypatch.setenv("MANYMODELS_JARS", str(ROOT / ".jars"))
    notebook: Any = nbformat.read(ROOT / "notebooks" / "01_quickstart.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "\n".join(str(output.get("data", {}).get("text/plain", "")) for output in shown)
    assert "'partitions': 9" in text
    assert "all_null" in text
    assert "predictions version 0 -> DuckDB" in text
    assert any("image/png" in output.get("data", {}) for output in shown), "the plot"
