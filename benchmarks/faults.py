"""Twenty random kills of what a job leans on, and what they cost: nothing lost, nothing twice, at most one
wave a kill.

    make bench-faults                                                  1,000 partitions, 20 kills
    make bench-faults ARGS="--partitions 60 --kills 5 --wave 12"       the same, sooner
    make bench-faults ARGS="--everywhere"                              the other stages, step by step

Training runs as the command line in a process of its own, with `mlflow server` beside it. At random points of
its work a Python worker, the driver, its JVM or the MLflow server gets SIGKILL; the server comes back after a
moment, and the same command is run again where it ended. Then the load into the warehouse is killed a few
times. `lost` and `duplicated` count partitions in table `fits`, models in MLflow and rows in the warehouse
together; `waves_redone_per_kill` is the partitions that were fitted again, in waves, over the kills.
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from benchmarks import faults_everywhere
from benchmarks.common import clock, cores, emit, scratch
from benchmarks.efficiency import spec_of, write_series
from manymodels_spark.lake.tables import FITS, PREDICTIONS
from manymodels_spark.spark.session import get_session
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.tracking.opening import open_repository
from tests.e2e import chaos
from tests.integration import mlflow_server

DAYS, FITS_EACH, FIT_SECONDS = 60, 2, 0.04
KINDS = ("worker", "driver", "mlflow", "jvm")
TRIES = 5


def main() -> None:
    """Prepare, train and load under fire, count, and print the line of JSON."""
    arguments = _arguments()
    if arguments.everywhere:
        faults_everywhere.main(min(arguments.partitions, 12), arguments.kills, arguments.only)
        return
    with scratch() as folder:
        server = mlflow_server.start(folder / "server", workers=2)
        try:
            run = _Run(folder, server, arguments.wave, random.Random(arguments.seed))
            run.prepare(arguments.partitions)
            in_loads = arguments.kills // 5
            with clock("trained under fire"):
                run.train(arguments.partitions, arguments.kills - in_loads)
            with clock("promoted, scored, loaded under fire"):
                run.load(in_loads)
            figures = run.count(arguments.partitions)
        finally:
            server.stop()
    emit(
        "faults",
        workload={"partitions": arguments.partitions, "wave": arguments.wave, "kinds": dict(run.kills)},
        kills=run.kills.total(),
        **figures,
    )


@dataclass
class _Run:
    """One job under fire."""

    folder: Path
    server: Any
    wave: int
    moments: random.Random
    kills: Counter[str] = field(default_factory=Counter)

    @property
    def log(self) -> Path:
        return self.folder / "fits.log"

    @property
    def spec(self) -> Spec:
        return spec_of(
            self.folder,
            [chaos.candidate(FIT_SECONDS, self.log)],
            horizon=7,
            limits={"partitions_per_wave": self.wave},
            mlflow={
                "development": {"tracking": self.server.url},
                "production": {
                    "tracking": f"sqlite:///{self.folder}/prod.db",
                    "artifacts": str(self.folder / "prod"),
                },
            },
            warehouse={"duckdb": str(self.folder / "warehouse.duckdb")},
        )

    def prepare(self, partitions: int) -> None:
        write_series(self.folder / "in", partitions, DAYS)
        spark = get_session("bench", f"local[{cores()}]")
        job = Job.of(self.spec, spark)
        ingest(job)
        prepare(job)
        spark.stop()
        chaos.write_spec(self.folder / "spec.yaml", self.spec)

    def train(self, partitions: int, kills: int) -> None:
        """Train to the end; kill number k falls somewhere in the k-th part of the partitions."""
        victim = self._start("train")
        for number, kind in zip(range(kills), itertools.cycle(KINDS), strict=False):
            wanted = int((number + self.moments.random()) * partitions / (kills + 1))
            while len(chaos.fits_of(self.log)) < wanted:
                victim = self._start("train") if victim.ended else victim
                time.sleep(0.02)
            if victim.ended:
                victim = self._start("train")
            self._kill(victim, kind)
        self._finish(victim)

    def load(self, kills: int) -> None:
        """Promote and score in peace, then load, with the load killed at random moments of what it takes."""
        for command in ("promote", "score"):
            self._finish(self._start(command))
        begin = time.perf_counter()
        self._finish(self._start("load"))
        took = time.perf_counter() - begin
        (self.folder / "warehouse.duckdb").unlink()
        for _ in range(3 * kills):
            victim = self._start("load")
            time.sleep(took * self.moments.uniform(0.5, 1.0))
            hit = victim.kill("driver")
            victim.wait()
            if not hit:  # it was done before: the next one is to have work again
                (self.folder / "warehouse.duckdb").unlink(missing_ok=True)
            self.kills["load"] += hit
            if self.kills["load"] == kills:
                break
        self._finish(self._start("load"))

    def count(self, partitions: int) -> dict[str, float]:
        """What is missing and what is there twice, in all three places, and what was done again."""
        job = Job.of(self.spec, get_session("bench", f"local[{cores()}]"))
        fits = [
            row[0] for row in job.lake.read(FITS).filter("status = 'fitted'").select("partition_id").collect()
        ]
        models = open_repository(self.spec.mlflow.development, self.spec)
        logged = [
            model.partition_id for model in models.search("tags.`manymodels.spec` = 'bench'") if model.ready
        ]
        predicted = [
            tuple(row)
            for row in job.lake.read(PREDICTIONS).selectExpr("partition_id", "cast(date AS string)").collect()
        ]
        with duckdb.connect(str(self.folder / "warehouse.duckdb"), read_only=True) as warehouse:
            loaded = warehouse.execute(
                "SELECT partition_id, strftime(date, '%Y-%m-%d %H:%M:%S') FROM bench_predictions"
            ).fetchall()
        places = [(fits, partitions), (logged, partitions), (loaded, len(set(predicted)))]
        again = sum(chaos.fits_of(self.log).values()) / FITS_EACH - partitions
        return {
            "lost": sum(expected - len(set(found)) for found, expected in places),
            "duplicated": sum(_surplus(found) for found, _ in places),
            "partitions_fitted_again": again,
            "waves_redone_per_kill": max(again, 0.0) / self.wave / max(self.kills.total(), 1),
        }

    def _start(self, command: str) -> chaos.Victim:
        return chaos.Victim(self.folder / "spec.yaml", command)

    def _kill(self, victim: chaos.Victim, kind: str) -> None:
        if kind == "mlflow":
            self.server.stop()
            time.sleep(self.moments.uniform(0.2, 2.0))
            self.server.start()
            self.kills[kind] += 1
            return
        while (
            not (hit := victim.kill(kind)) and not victim.ended
        ):  # a driver that just began has no worker yet
            time.sleep(0.02)
        self.kills[kind] += hit
        if kind != "worker":
            victim.wait()

    def _finish(self, victim: chaos.Victim) -> None:
        """Let it end, and run the same command again where it ended badly, as a person would."""
        for _ in range(TRIES):
            if victim.wait() == 0:
                return
            text, victim = victim.text(), self._start(victim.command)
        victim.stop()
        raise SystemExit(f"{victim.command} fails {TRIES} times in peace:\n{text[-3000:]}")


def _surplus(found: Iterable[object]) -> int:
    return sum(times - 1 for times in Counter(found).values())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=sorted(faults_everywhere.NIGHT), default=[])
    parser.add_argument("--everywhere", action="store_true", help="kill the other stages, at each step")
    parser.add_argument("--partitions", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--wave", type=int, default=50)
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    main()
