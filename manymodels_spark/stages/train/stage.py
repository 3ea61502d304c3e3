"""Train: fit every partition that needs it, wave by wave, log each model, and account for every partition.

While one wave is being logged the next one fits. Each wave is committed before it is logged, and a run that
was interrupted is continued by the next call: it logs what was only fitted and fits what is missing.
"""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Event, Lock
from typing import TYPE_CHECKING

import pandas as pd
from pyspark.sql import functions as F

from manymodels_spark._version import __version__
from manymodels_spark.errors import ConcurrentWrite, ManyModelsError, TooManyFailures
from manymodels_spark.lake.tables import FITS, MODELS, SILVER
from manymodels_spark.modeling.fingerprint import spec_hash
from manymodels_spark.modeling.results import Status
from manymodels_spark.spark.session import cores
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.packaging.input_example import input_example
from manymodels_spark.stages.packaging.requirements import template_of
from manymodels_spark.stages.runs import lock
from manymodels_spark.stages.runs.job import Job, StageReport
from manymodels_spark.stages.runs.progress_table import Watch
from manymodels_spark.stages.train.due import Choice, Selection, select
from manymodels_spark.stages.train.fit_task import FITS_SCHEMA
from manymodels_spark.stages.train.fit_wave import fit_wave, warm
from manymodels_spark.stages.train.in_flight import InFlight, files_of, looking
from manymodels_spark.stages.train.log_models import MODELS_SCHEMA, Recorder
from manymodels_spark.stages.train.packing import Wave, expected
from manymodels_spark.stages.train.quarantine import commit_broken, quarantined, refresh
from manymodels_spark.stages.train.wave_flow import run_waves
from manymodels_spark.stages.train.waves import Waves
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.opening import open_repository
from manymodels_spark.tracking.repository import ModelRepository

if TYPE_CHECKING:
    pass


def train(job: Job, choice: Choice | None = None) -> StageReport:
    """Fit, log and account for the partitions that `choice` selects.

    Counts: partitions, fitted, fallback (of the fitted), unchanged, inactive, quarantined; they add up, or
    ManyModelsError is raised.
    Raises TrackingError before any fit where MLflow cannot be reached, ConcurrentWrite where another process
    trains or prepares meanwhile, and TooManyFailures at the end where more partitions failed than
    `limits.failures` allows (everything is committed and logged then, too).
    """
    choice, shape = choice or Choice(), spec_hash(job.spec)
    with ThreadPoolExecutor(1, "mlflow") as pool:
        opened = pool.submit(open_repository, job.spec.mlflow.development, job.spec)
        if not job.lake.exists(
            FITS
        ):  # a first run: nothing can be unchanged, so that the imports need not wait
            warm(job.spark, job.spec)
        data_version, repository = job.lake.version(SILVER), opened.result()
    run_id, resumed = lock.open_run(job, "train", f"{shape} silver={data_version} {choice}")
    with job.stage("train", run_id=run_id) as report, lock.heartbeat(job, "train", run_id) as lost:
        training = _Training(job, repository, shape, data_version, run_id, report, lost)
        training.go(choice, resumed)
    _check_failures(job.spec, report)
    return report


class _StartUp(ThreadPoolExecutor):
    """What a run makes while its first fits begin: one thread, so that it is made in the order of submission.

    The table of fits, then the row of progress, then the recorder (MLflow's run, the files' template, the
    table of models).
    """

    def __init__(self) -> None:
        super().__init__(1, "start-up")


@dataclass
class _Training:
    """One training run on its way."""

    job: Job
    repository: ModelRepository
    shape: str
    data_version: int
    run_id: str
    report: StageReport
    lost: Event

    def go(self, choice: Choice, resumed: bool) -> None:
        """Select, fit, log and count; what the first fits need not wait for is made while they begin."""
        with _StartUp() as start_up:
            first = not self.job.lake.exists(FITS)
            table = start_up.submit(self.job.lake.ensure, FITS, FITS_SCHEMA)
            selection = select(self.job.lake, choice, self.shape, self.run_id)
            self._require_same_rows()
            table.result()
            work = resumed or len(selection.todo) or len(selection.broken)
            if work and not first:  # else it was done as the run began
                warm(self.job.spark, self.job.spec, len(selection.todo))
            elif not work and choice.only is None and quarantined(self.job.lake) > selection.quarantined:
                refresh(self.job.lake)  # some of them are no longer in the data
            self._count(selection, self._work(selection, resumed, start_up) if work else {})

    def _work(self, selection: Selection, resumed: bool, start_up: _StartUp) -> dict[str, int]:
        """Fit and log what was selected; the run's partitions by status."""
        lake, spec = self.job.lake, self.job.spec
        watch = Watch(self.job, "train", self.run_id, len(selection.todo), selection.skipped)
        begun, recorder = start_up.submit(watch.begin), start_up.submit(self._recorder)
        if resumed:
            self._log_unlogged(recorder.result())
        commit_broken(lake, self.run_id, selection.broken)
        first = self._next() if resumed else 1
        todo = _with_costs(selection.todo, spec)
        planned = Waves(todo, spec.limits.partitions_per_wave, cores(self.job.spark), first)
        outcomes = self._run(planned, recorder, watch)
        begun.result()
        self._close(recorder.result(), outcomes)
        return outcomes

    def _require_same_rows(self) -> None:
        """Fingerprints come with the newest rows, which fits must then have, too: `prepare` writes rows
        first.
        """
        if self.job.lake.version(SILVER) != self.data_version:
            raise ConcurrentWrite(
                "the rows were prepared anew while this training began, and nothing was fitted. Run it again"
            )

    def _recorder(self) -> Recorder:
        spec = self.job.spec
        origin = t.Origin(spec.name, self.shape, self.run_id, self.data_version, __version__, git_commit())
        mlflow_run = self.repository.start_run(f"{spec.name} {self.run_id}", origin.tags())
        write_lock = Lock() if self.repository.client.limits.threads == 1 else nullcontext()
        template = template_of(spec, input_example(self.job.lake, spec))
        self.job.lake.ensure(MODELS, MODELS_SCHEMA)
        return Recorder(self.job.lake, template, self.repository, origin, mlflow_run, write_lock)

    def _run(self, planned: Waves, recorder: Future[Recorder], watch: Watch) -> dict[str, int]:
        """All waves, and the run's partitions by status; an error stops what has not begun."""
        lake = self.job.lake
        files = (lambda: 0) if lake.is_catalog else (lambda: files_of(lake, FITS))
        in_flight = InFlight(files, cores(self.job.spark))

        def fit(wave: Wave) -> None:
            lock.require(self.lost, self.run_id)
            with in_flight.during(wave):
                fit_wave(lake, self.job.spec, self.run_id, wave, self.data_version)
            planned.fitted(wave)

        def log(wave: Wave) -> None:
            lock.require(self.lost, self.run_id)
            logged = recorder.result().record(wave.number)
            watch.add(len(wave.members), len(wave.members) - logged)

        def fitted() -> dict[str, int]:
            refresh(lake)
            return _outcomes(self.job, self.run_id)

        with looking(in_flight, watch.show_fitted):
            return run_waves(planned, fit, log, fitted)

    def _log_unlogged(self, recorder: Recorder) -> None:
        """Log the waves that an interrupted run committed to the lake but not wholly to MLflow."""
        mine = self.job.lake.read(FITS).filter(
            (F.col("run_id") == self.run_id) & F.col("payload").isNotNull()
        )
        pending = mine.select("wave", "partition_id").distinct()
        if self.job.lake.exists(MODELS):
            logged = self.job.lake.read(MODELS).filter(F.col("run_id") == self.run_id)
            pending = pending.join(logged, ["wave", "partition_id"], "left_anti")
        for row in pending.select("wave").distinct().orderBy("wave").collect():
            recorder.record(int(row["wave"]), resumed=True)

    def _next(self) -> int:
        """The number of the next wave; it counts on where an interrupted run stopped."""
        if not self.job.lake.exists(FITS):
            return 1
        mine = self.job.lake.read(FITS).filter(F.col("run_id") == self.run_id)
        last = mine.agg(F.max("wave").alias("wave")).first()
        return int(last["wave"] or 0) + 1 if last else 1

    def _close(self, recorder: Recorder, outcomes: dict[str, int]) -> None:
        self.repository.end_run(
            recorder.mlflow_run, {f"partitions_{name}": count for name, count in outcomes.items()}
        )

    def _count(self, selection: Selection, outcomes: dict[str, int]) -> None:
        """Fill the report's counts and hold them against each other: nothing may be lost."""
        counts = {
            "partitions": selection.total,
            "fitted": outcomes.get(Status.FITTED, 0) + outcomes.get(Status.FALLBACK, 0),
            "fallback": outcomes.get(Status.FALLBACK, 0),
            "unchanged": selection.unchanged,
            "inactive": selection.inactive,
            "quarantined": outcomes.get(Status.FAILED, 0) + selection.quarantined,
        }
        self.report.counts.update(counts)
        self.report.calls = self.repository.client.total
        inactive = f"{counts['inactive']} inactive, " if counts["inactive"] else ""
        self.report.note = (
            f"{counts['fitted']} fitted, {counts['unchanged']} unchanged, "
            f"{inactive}{counts['quarantined']} quarantined"
        )
        accounted = sum(counts[name] for name in ("fitted", "unchanged", "inactive", "quarantined"))
        if accounted != counts["partitions"]:
            raise ManyModelsError(
                f"{counts['partitions']} partitions came in, but {accounted} are accounted for "
                f"({self.report.note}). "
                f"This should not happen: see table fits, run {self.run_id}"
            )


def _outcomes(job: Job, run_id: str) -> dict[str, int]:
    """Partitions of a run by status."""
    mine = (
        job.lake.read(FITS).filter(F.col("run_id") == run_id).groupBy("status").agg(F.count("*").alias("n"))
    )
    return {str(row["status"]): int(row["n"]) for row in mine.collect()}


def _with_costs(todo: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """Expected seconds per partition: its last fit's, or what the candidates' families say of that many
    rows.
    """
    first = pd.Series(expected(todo["rows"], spec), index=todo.index)
    return todo.assign(cost=todo["cost"].astype(float).fillna(first))


def _check_failures(spec: Spec, report: StageReport) -> None:
    partitions, failed = report.counts["partitions"], report.counts["quarantined"]
    if partitions and failed > spec.limits.failures * partitions:
        raise TooManyFailures(
            f"{failed} of {partitions} partitions are in quarantine ({failed / partitions:.1%}), and "
            "limits.failures "
            f"allows {spec.limits.failures:.1%}. The others are trained and logged. See `manymodels "
            "quarantine SPEC`",
            report,
        )


def git_commit() -> str | None:
    """The commit that the work runs from, where there is one."""
    if commit := os.environ.get("MANYMODELS_COMMIT"):
        return commit
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
