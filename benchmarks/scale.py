"""The same small job for more and more partitions: what a partition costs must not depend on how many there
are.

    make bench-scale  1,000, 4,000, 16,000 and 64,000 partitions of 200 rows
    make bench-scale ARGS="--partitions 200,1600"                other sizes
    make bench-scale ARGS="--partitions 1000 --profile out.txt"  where the driver's time goes (cProfile)

Each size runs in a process and with tables and an MLflow of its own, through all stages, with the family
`seasonal_naive`, so that what is measured is everything but the fits. Before it, a job of 50 partitions is
run twice in the same session: the first is the start-up, the second, warm, is what a job costs however small.
`growth` is the time per partition beyond that at the largest size over the one at the smallest;
`growth_whole` is the same without taking it off. Some stores of the simulation open after its end: a size is
what was asked for, and everything is divided by the `partitions` that came of it.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import pstats
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil

from benchmarks.common import bytes_of, clock, cores, emit, peak_memory, scratch, spec_in
from manymodels_spark import ManyModels
from manymodels_spark.simulate import write_parquet
from manymodels_spark.stages.runs.job import StageReport

ROWS, HORIZON, WARM = 200, 14, 50
STAGES = ("ingest", "prepare", "train", "promote", "score", "load")


def main() -> None:
    """Every size in its own process, then the growth between the smallest and the largest."""
    arguments = _arguments()
    sizes = sorted(int(size) for size in arguments.partitions.split(","))
    if arguments.one:
        print(json.dumps(one_size(sizes[0], arguments.profile)), flush=True)
        return
    found = [_apart(size, arguments.profile) for size in sizes]
    emit(
        "scale",
        workload={
            "partitions": sizes,
            "rows": ROWS,
            "family": "seasonal_naive",
            "folds": 1,
            "horizon": HORIZON,
        },
        growth=found[-1]["ms_beyond_start"] / found[0]["ms_beyond_start"],
        growth_whole=found[-1]["ms_per_partition"] / found[0]["ms_per_partition"],
        sizes=found,
    )


def one_size(partitions: int, profile: str | None = None) -> dict[str, Any]:
    """All stages for so many partitions in this process: seconds a stage, calls, memory and bytes per
    partition.
    """
    with scratch() as folder:
        with clock("start-up") as start_up:
            _job(folder / "first", WARM)
        few = _job(folder / "warm", WARM)
        found = _job(folder / "measured", partitions, profile)
    total, warm = (sum(job["seconds"].values()) for job in (found, few))
    count = found["partitions"]
    return {
        "total_seconds": total,
        "ms_per_partition": 1000 * total / count,
        "ms_beyond_start": 1000 * (total - warm) / (count - few["partitions"]),
        "start_up_seconds": start_up.seconds,
        "warm_seconds": warm,
        **found,
        "driver_python_mib": peak_memory(),
        "driver_jvm_mib": _jvm_memory(),
    }


def _job(folder: Path, partitions: int, profile: str | None = None) -> dict[str, Any]:
    folder.mkdir()
    rows = write_parquet(folder / "in", partitions=partitions, days=ROWS, files=4 * cores())
    spec = spec_in(
        folder,
        name="scale",
        partition_by=["store", "item"],
        source={"parquet": str(folder / "in")},
        columns={"time": "date", "target": "units"},
        horizon=HORIZON,
        candidates=["seasonal_naive"],
        backtest={"folds": 1},
    )
    mm = ManyModels(spec)
    reports = {}
    watched = cProfile.Profile() if profile else None
    with watched or nullcontext():
        for name in STAGES:
            report = getattr(mm, name)()
            reports[name] = getattr(report, "report", report)
            print(
                f"{name:<8} {reports[name].note:<64} {reports[name].seconds:7.1f} s",
                file=sys.stderr,
                flush=True,
            )
    if profile and watched:
        _write_profile(watched, Path(profile))
    return {"rows": rows, **_figures(folder, reports)}


def _figures(folder: Path, reports: dict[str, StageReport]) -> dict[str, Any]:
    """Seconds of each stage, and calls and bytes a partition."""
    each = reports["prepare"].counts["partitions"]
    mlflow = bytes_of(*(folder / name for name in ("dev.db", "prod.db", "dev", "prod")))
    calls = {name: report.calls for name, report in reports.items() if report.calls}
    return {
        "partitions": each,
        "seconds": {name: round(report.seconds, 2) for name, report in reports.items()},
        "calls_per_partition": {name: count / each for name, count in calls.items()},
        "lake_bytes_per_partition": bytes_of(folder / "lake") // each,
        "mlflow_bytes_per_partition": mlflow // each,
        "warehouse_bytes_per_partition": bytes_of(folder / "warehouse.duckdb") // each,
    }


def _apart(size: int, profile: str | None) -> dict[str, Any]:
    """One size in a fresh process, whose stages show on this one's terminal."""
    command = [sys.executable, "-m", "benchmarks.scale", "--one", "--partitions", str(size)]
    command += ["--profile", f"{profile}.{size}"] if profile else []
    print(f"--- {size} partitions", flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"    {found['ms_beyond_start']:.2f} ms a partition beyond a warm start of "
        f"{found['warm_seconds']:.1f} s",
        flush=True,
    )
    return found


def _jvm_memory() -> float:
    """The most memory that the JVM below this process held, in MiB; with local[*] it is driver and executor
    in one.
    """
    most = 0
    for child in psutil.Process().children(recursive=True):
        status = Path(f"/proc/{child.pid}/status")
        if child.name() == "java" and status.exists():
            peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
            most = max(most, int(peak.split()[1]))
    return most / 1024


def _write_profile(watched: cProfile.Profile, path: Path) -> None:
    text = io.StringIO()
    pstats.Stats(watched, stream=text).sort_stats("cumulative").print_stats(70)
    path.write_text(text.getvalue())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--partitions", default="1000,4000,16000,64000", help="sizes, with commas between")
    parser.add_argument("--profile", help="write where the driver's time went into this file, one a size")
    parser.add_argument("--one", action="store_true", help="measure the first size only, in this process")
    return parser.parse_args()


if __name__ == "__main__":
    main()
