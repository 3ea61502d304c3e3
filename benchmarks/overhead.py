"""What the train stage costs beside the fits: 20,000 partitions of 100 days by the cheapest family, each
logged to MLflow.

    make bench-overhead  20,000 partitions, and 5,000 to compare memory with
    make bench-overhead ARGS="--partitions 2000 --few 500 --bare 200"  the same, sooner

`ms_per_partition` is the wall time of the train stage over its partitions. `ratio_to_bare_logging` holds it
against creating and finalizing logged models with the same tags and parameters in a plain loop, in the same
run, on the same kind of store. `driver_rss_ratio` is the driver's peak memory (Python and its JVM, which here
is the executor, too) at 20,000 partitions over that at 5,000, each in a process of its own, and both with a
heap of 1 GiB for Java. `skip_seconds` is a second run, in which nothing has changed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from benchmarks.common import clock, emit, scratch
from benchmarks.efficiency import train_once, write_series
from manymodels_spark.stages.train.stage import train

DAYS = 100


def main() -> None:
    """Both sizes, each in a process of its own, and the bare loop; print the line of JSON."""
    arguments = _arguments()
    if arguments.one:
        print(json.dumps(one(arguments.one, arguments.bare)), flush=True)
        return
    few, many = (_in_own_process(size, arguments.bare) for size in (arguments.few, arguments.partitions))
    emit(
        "overhead",
        workload={
            "partitions": arguments.partitions,
            "few": arguments.few,
            "days": DAYS,
            "family": "seasonal_naive",
        },
        ms_per_partition=many["ms"],
        ratio_to_bare_logging=many["ms"] / many["bare_ms"],
        bare_ms=many["bare_ms"],
        untagged_ms=many["untagged_ms"],
        driver_rss_ratio=many["rss"] / few["rss"],
        driver_rss_mib=many["rss"],
        skip_seconds=many["skip_seconds"],
        driver_python_ratio=many["python"] / few["python"],
        ms_per_partition_few=few["ms"],
        fit_ms=many["fit_ms"],
        quarantined=many["quarantined"],
    )


def one(partitions: int, bare: int) -> dict[str, float]:
    """Train `partitions` partitions here, then log `bare` models in a plain loop."""
    with scratch() as folder:
        write_series(folder / "in", partitions, DAYS)
        trained = train_once(folder, ["seasonal_naive"])
        memory = _peaks()
        with clock("    train again, nothing changed") as again:
            train(trained.job)
        bare_ms, untagged_ms = (bare_logging(folder, bare, tagged) for tagged in (True, False))
    return {
        "ms": 1000 * trained.seconds / partitions,
        "fit_ms": 1000 * trained.fit_seconds / partitions,
        **memory,
        "skip_seconds": again.seconds,
        "bare_ms": bare_ms,
        "untagged_ms": untagged_ms,
        "quarantined": trained.quarantined,
    }


def bare_logging(folder: Path, count: int, tagged: bool) -> float:
    """Milliseconds to create and finalize a logged model in a plain loop, with or without what our models are
    told by.
    """
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/bare-{tagged}.db")
    experiment = client.create_experiment("bare", artifact_location=str(folder / "bare"))
    logged = MlflowClient(tracking_uri=f"sqlite:///{folder}/dev.db").search_logged_models(
        [_experiment(folder)], max_results=1
    )
    like: dict[str, Any] = {"tags": logged[0].tags, "params": logged[0].params} if tagged else {}
    client.finalize_logged_model(
        client.create_logged_model(experiment, name="warm-up", **like).model_id, "READY"
    )
    with clock(f"    {count} models in a bare loop, tagged: {tagged}") as took:
        for number in range(count):
            model = client.create_logged_model(experiment, name=f"model-{number}", **like)
            client.finalize_logged_model(model.model_id, "READY")
    return 1000 * took.seconds / count


def _experiment(folder: Path) -> str:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/dev.db")
    return str(client.search_experiments(filter_string="name != 'Default'")[0].experiment_id)


def _peaks() -> dict[str, float]:
    """Peak resident MiB so far of this process, and of it with its JVM."""
    me = psutil.Process()
    java = [child for child in me.children(recursive=True) if child.name() == "java"]
    python = _peak(me.pid)
    return {"python": python, "rss": python + sum(_peak(child.pid) for child in java)}


def _peak(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _in_own_process(partitions: int, bare: int) -> dict[str, float]:
    print(f"{partitions} partitions", flush=True)
    command = [sys.executable, "-m", "benchmarks.overhead", "--one", str(partitions), "--bare", str(bare)]
    environment = {"MANYMODELS_DRIVER_MEMORY": "1g", **os.environ}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        last = ""
        for last in process.stdout:
            if last.startswith("    "):
                print(last, end="", flush=True)
    if process.returncode != 0:
        raise SystemExit(f"{partitions} partitions: the run ended with {process.returncode}")
    found: dict[str, float] = json.loads(last)
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--partitions", type=int, default=20_000)
    parser.add_argument("--few", type=int, default=5_000)
    parser.add_argument("--bare", type=int, default=2_000, help="models of the bare loop")
    parser.add_argument("--one", type=int, default=0, help="one size only, in this process")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("MANYMODELS_LOG", "error")
    main()
