"""What every benchmark shares: the line of JSON at its end, a clock, a scratch folder and the memory used."""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from manymodels_spark.spec import Spec

PACKAGES = (
    "pyspark",
    "delta-spark",
    "mlflow",
    "pandas",
    "numpy",
    "pyarrow",
    "duckdb",
    "prophet",
    "statsforecast",
)


def emit(name: str, *, workload: dict[str, Any] | None = None, **figures: Any) -> None:
    """Print a benchmark's result as one line of JSON, with the cores and the versions it was measured
    with.
    """
    result = {"benchmark": name, "cores": cores(), "versions": versions(), "workload": workload or {}}
    print(json.dumps({**result, **{key: _rounded(value) for key, value in figures.items()}}), flush=True)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that are installed among those that matter to a figure."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


class Clock:
    """The seconds that a `with clock(...)` block took."""

    seconds: float = 0.0


@contextmanager
def clock(say: str = "") -> Iterator[Clock]:
    """Time a block; with `say` a line is printed when it is done."""
    measured, begin = Clock(), time.perf_counter()
    yield measured
    measured.seconds = time.perf_counter() - begin
    if say:
        print(f"{say}  {measured.seconds:.2f} s", flush=True)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for the benchmark's files, removed afterwards; below `MANYMODELS_BENCH_DIR` where that is
    set.
    """
    folder = Path(tempfile.mkdtemp(prefix="manymodels-bench-", dir=os.environ.get("MANYMODELS_BENCH_DIR")))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def peak_memory() -> float:
    """The most memory that this process (not its children) held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def spec_in(folder: Path, **parts: Any) -> Spec:
    """A spec whose lake, warehouse and both MLflows lie in the folder; `parts` says the rest."""
    places = {
        "lake": str(folder / "lake"),
        "warehouse": {"duckdb": str(folder / "warehouse.duckdb")},
        "mlflow": {
            "development": {"tracking": f"sqlite:///{folder}/dev.db", "artifacts": str(folder / "dev")},
            "production": {"tracking": f"sqlite:///{folder}/prod.db", "artifacts": str(folder / "prod")},
        },
    }
    return Spec.model_validate({**places, **parts})


def bytes_of(*paths: Path) -> int:
    """The bytes of files and of all files in folders; what does not exist has none."""
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file())


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value
