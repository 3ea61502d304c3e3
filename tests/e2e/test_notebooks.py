"""The notebooks run from their first cells to their last, and show what they promise.

They share one kernel and so one Spark session, each with a clean namespace; any of them also runs alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from jupyter_client import KernelManager

pytestmark = pytest.mark.spark
ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Those that run whole jobs are `slow`: the first one runs the spec and the data of `test_main_job`, and what
# the others call has tests in tests/unit and tests/spark.
FORGET = nbformat.v4.new_code_cell("%reset -f")


@dataclass(frozen=True)
class Shown:
    """What a notebook showed: the text of all its outputs, and the number of its pictures."""

    text: str
    pictures: int


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KernelManager]:
    folder = tmp_path_factory.mktemp("notebooks")
    shutil.copy(ROOT / "notebooks" / "sales.yaml", folder)
    settings = {"MANYMODELS_CONF": str(ROOT / "conf"), "MANYMODELS_MASTER": "local[2]"}
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(
        cwd=str(folder), env={"MANYMODELS_JARS": str(ROOT / ".jars"), **os.environ, **settings}
    )
    yield manager
    manager.shutdown_kernel(now=True)


def shown_by(name: str, kernel: KernelManager) -> Shown:
    """Run a notebook from a clean namespace; an exception in a cell is raised here."""
    notebook: Any = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    notebook.cells.insert(0, FORGET)
    try:
        nbclient.NotebookClient(notebook, km=kernel, timeout=600).execute()
    except Exception as error:  # its own trace is hundreds of frames of event loops
        pytest.fail(str(error), pytrace=False)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "\n".join(str(output.get("data", {}).get("text/plain", "")) for output in outputs)
    return Shown(text, sum("image/png" in output.get("data", {}) for output in outputs))


@pytest.mark.slow
def test_the_quickstart_goes_from_rows_to_the_warehouse(kernel: KernelManager) -> None:
    shown = shown_by("01_quickstart", kernel)
    assert "'partitions': 9" in shown.text
    assert "all_null" in shown.text
    assert "predictions version 0 -> DuckDB" in shown.text
    assert shown.pictures == 1


@pytest.mark.slow
def test_a_family_of_ones_own_competes_with_the_others(kernel: KernelManager) -> None:
    shown = shown_by("02_custom_family", kernel)
    assert "FITTED" in shown.text, "one partition, fitted in the notebook"
    assert "last_weeks:LastWeeks(weeks=12)" in shown.text
    assert shown.pictures == 1


@pytest.mark.slow
def test_a_classifier_per_well_is_judged_promoted_and_asked(kernel: KernelManager) -> None:
    shown = shown_by("03_predictive_maintenance", kernel)
    assert "20 partitions" in shown.text
    assert "5 new champions, 0 kept, 0 refused" in shown.text
    assert "2,000 predictions for 5 partitions" in shown.text
    total = next(line for line in shown.text.splitlines() if line.startswith("All"))
    assert total.split()[-1] == "240", "three folds of a fifth of the well's 400 readings each"


@pytest.mark.slow
def test_a_backtest_can_be_read_fold_by_fold(kernel: KernelManager) -> None:
    shown = shown_by("04_backtest_analysis", kernel)
    assert "'quarantined': 4" in shown.text
    assert re.search(r"fold +1 +2 +3", shown.text)
    assert "coverage_80" in shown.text
    assert shown.pictures == 3, "the scatter, one partition's folds, the error by step"


@pytest.mark.slow
def test_champions_are_replaced_and_rolled_back_and_do_not_come_again(kernel: KernelManager) -> None:
    shown = shown_by("05_champion_and_rollback", kernel)
    assert "would be new champions" in shown.text
    assert re.search(r"[1-4] of [34] champions would go back to previous", shown.text)
    assert re.search(r"[1-4] of [34] champions go back to previous", shown.text)
    assert "it was a champion" in shown.text


@pytest.mark.slow
def test_predictions_are_queried_in_the_lake_and_in_the_warehouse(kernel: KernelManager) -> None:
    shown = shown_by("06_score_and_query", kernel)
    assert "-> DuckDB" in shown.text
    assert "already loaded in DuckDB" in shown.text
    assert "no_champion" in shown.text or "quarantined" in shown.text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_notebooks_are_kept_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    assert [cell["outputs"] for cell in cells if cell["cell_type"] == "code" and cell["outputs"]] == []
    assert cells[0]["source"][0].startswith("# "), "a title"
