"""How near a plan comes to the run that follows it, on the demonstration's data.

    make bench-plan  200 partitions of 3 years, the shipped retail spec
    make bench-plan ARGS="--stores 4 --items 10 --days 400"  smaller

Plan and training run in processes of their own, as on a command line: both pay for starting
workers and imports.
`error` is |planned - taken| / taken of the train stage's wall seconds, with the share of calls beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.common import clock, cores, emit, scratch

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = 0.30


def main() -> None:
    """Make the data, prepare it, plan, train, and compare."""
    arguments = _arguments()
    with scratch() as folder:
        spec = folder / "retail.yaml"
        spec.write_text((ROOT / "conf" / "retail.yaml").read_text(encoding="utf-8"), encoding="utf-8")
        shape = ("--stores", arguments.stores, "--items", arguments.items, "--days", arguments.days)
        _run(folder, "demo-data", *map(str, shape))
        for stage in ("ingest", "prepare"):
            _run(folder, stage, str(spec))
        with clock("plan") as planning:
            planned = json.loads(_run(folder, "plan", str(spec), "--json").splitlines()[-1])
        with clock("train"):
            _run(folder, "train", str(spec))
        taken = _taken(folder)
    seconds = planned["estimate"]["seconds"]
    error = abs(seconds - taken["seconds"]) / taken["seconds"]
    emit(
        "plan",
        workload={"partitions": planned["partitions"], "days": arguments.days, "sampled": planned["sampled"]},
        error=error,
        within_30_percent=error <= ALLOWED,
        planned_seconds=seconds,
        taken_seconds=taken["seconds"],
        planned_fit_seconds=planned["estimate"]["fit_seconds"],
        taken_fit_seconds=taken["fit_seconds"],
        planned_calls=planned["calls"]["train"],
        taken_calls=taken["calls"],
        plan_seconds=planning.seconds,
    )


def _run(folder: Path, *arguments: str) -> str:
    """What the command printed. Its errors go where ours go."""
    environ = {**os.environ, "MANYMODELS_MASTER": os.environ.get("MANYMODELS_MASTER", f"local[{cores()}]")}
    command = [sys.executable, "-m", "manymodels_spark.cli", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def _taken(folder: Path) -> dict[str, Any]:
    """The newest training run's wall seconds, core-seconds inside fits and MLflow calls, read without
    Spark.
    """
    import duckdb

    lake = folder / ".manymodels" / "lake" / "retail_sales"
    runs, fits = (
        f"read_parquet('{lake / table}/**/*.parquet', union_by_name = true)" for table in ("runs", "fits")
    )
    row = duckdb.execute(
        f"SELECT seconds, calls FROM {runs} WHERE stage = 'train' AND status = 'done'"
    ).fetchone()
    fit = duckdb.execute(f"SELECT sum(seconds) FROM {fits}").fetchone()
    if row is None or fit is None:
        raise SystemExit("the training run left no record")
    return {"seconds": float(row[0]), "calls": int(row[1]), "fit_seconds": float(fit[0])}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stores", type=int, default=10)
    parser.add_argument("--items", type=int, default=20)
    parser.add_argument("--days", type=int, default=1095)
    return parser.parse_args()


if __name__ == "__main__":
    main()
