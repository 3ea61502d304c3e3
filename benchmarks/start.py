"""What a run costs beside its work: the demonstration's whole job, the same again with nothing changed, a
small load, and the CPU of commands that start nothing.

    make bench-start                        200 partitions of 1,095 days, as `make demo` has them
    make bench-start ARGS="--stores 2"      the same with 40 partitions

`demo_seconds` is `manymodels run` in an empty folder, `again_seconds` both commands of `make demo` once more,
when nothing has changed. `load_seconds` is the stage `load` in a new session that has only written the 20,000
predictions. `help_cpu_seconds` and `check_cpu_seconds` are the median CPU (user and system) of five commands.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks import load
from benchmarks.common import clock, emit, scratch
from manymodels_spark.lake.tables import PREDICTIONS

ROOT = Path(__file__).parents[1]
SPEC = ROOT / "conf/retail.yaml"
ROWS, REPEATS = 20_000, 5


def main() -> None:
    """Measure and print the line of JSON."""
    arguments = _arguments()
    if arguments.load:
        print(json.dumps(load_seconds(arguments.load)), flush=True)
        return
    with scratch() as folder:
        data = ["demo-data", "--stores", str(arguments.stores)]
        command(folder, *data)
        demo = seconds_of(folder, ["run", str(SPEC)])
        again = seconds_of(folder, data, ["run", str(SPEC)])
    emit(
        "start",
        workload={"partitions": 20 * arguments.stores, "load_rows": ROWS},
        demo_seconds=demo,
        again_seconds=again,
        load_seconds=_in_own_process("--load", str(ROWS)),
        help_cpu_seconds=cpu_seconds("--help"),
        check_cpu_seconds=cpu_seconds("check", str(SPEC)),
    )


def seconds_of(folder: Path, *commands: list[str]) -> float:
    """Wall seconds of commands, one after another, in a folder."""
    with clock(f"    {' and '.join(one[0] for one in commands)}") as took:
        for one in commands:
            command(folder, *one)
    return took.seconds


def command(folder: Path, *arguments: str) -> None:
    """Run `manymodels` in a folder. Raises CalledProcessError where it fails."""
    run = [sys.executable, "-m", "manymodels_spark.cli", *arguments]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {"MANYMODELS_JARS": str(ROOT / ".jars"), **os.environ, "PYTHONPATH": paths}
    subprocess.run(run, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


def cpu_seconds(*arguments: str) -> float:
    """The median CPU seconds of a command, the first run of it left out."""
    found = []
    for _ in range(1 + REPEATS):
        before = _children()
        command(ROOT, *arguments)
        found.append(_children() - before)
    return statistics.median(found[1:])


def load_seconds(rows: int) -> float:
    """Seconds of the stage `load` in a new session."""
    with scratch() as folder:
        spark = load.get_session("bench-start", "local[2]")
        job = load.job_of(spark, folder)
        job.lake.append(PREDICTIONS, load.predictions(spark, rows))
        return load.load_once(job, rows)


def _in_own_process(*arguments: str) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.start", *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    return float(done.stdout.splitlines()[-1])


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stores", type=int, default=10, help="of 20 items each")
    parser.add_argument("--load", type=int, default=0, help="only the load of so many rows, in this process")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("MANYMODELS_LOG", "error")
    main()
