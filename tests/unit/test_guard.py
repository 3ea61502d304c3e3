"""The regression guard's part without Spark: payloads' bytes and Python calls within
benchmarks/bounds.json.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import guard

ROOT = Path(__file__).parents[2]


def test_no_payload_has_grown_beyond_its_bound() -> None:
    assert guard.crossed(guard.of_payloads()) == []


def test_a_fit_and_a_prediction_take_no_more_python_calls_than_their_bounds() -> None:
    assert guard.crossed(guard.of_python()) == []


def test_hostile_requests_cost_no_more_than_their_bounds_and_each_refusal_has_a_code() -> None:
    assert guard.crossed(guard.of_hostile()) == []


def test_a_figure_beyond_its_bound_is_named_with_the_bound_and_what_it_counts() -> None:
    (more,) = guard.crossed({"python_calls_open": 1e6})
    assert more.startswith(
        "python_calls_open is 1e+06, at most 75 is allowed: Python calls to open a payload"
    )
    (less,) = guard.crossed({"share_of_fit_inside_families": 0.1})
    assert less.startswith("share_of_fit_inside_families is 0.1, at least 0.9 is expected: seconds inside")


def test_a_figure_without_a_bound_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no bound for new_figure"):
        guard.crossed({"new_figure": 1.0})


def test_every_benchmark_is_found_with_all_that_it_imports() -> None:
    names = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")
    code = (
        f"import importlib\nfor name in {names}: importlib.import_module('benchmarks.' + name)\nprint('all')"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert len(names) > 25
    assert found.stdout.splitlines()[-1:] == ["all"], found.stderr
