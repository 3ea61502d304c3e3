"""The stages in their order, and what a whole run adds up to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from manymodels_spark.display import html_table
from manymodels_spark.errors import TooManyFailures
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.load.stage import load
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.promote.stage import promote
from manymodels_spark.stages.runs.job import Job, StageReport
from manymodels_spark.stages.score.stage import score
from manymodels_spark.stages.train.stage import train
from manymodels_spark.tracking.opening import reach_production

STAGES: dict[str, Callable[[Job], StageReport]] = {
    "ingest": ingest,
    "prepare": prepare,
    "train": train,
    "promote": promote,
    "score": score,
    "load": load,
}


@dataclass(frozen=True)
class RunReport:
    """The reports of a run's stages, in order, and what ends it with exit code 3: too many partitions without
    a model, or too many that lost their forecast.
    """

    stages: tuple[StageReport, ...]
    too_many_failures: TooManyFailures | None = None

    def __getitem__(self, stage: str) -> StageReport:
        return next(report for report in self.stages if report.stage == stage)

    def _repr_html_(self) -> str:
        rows = [(report.stage, f"{report.seconds:.1f}", report.calls, report.note) for report in self.stages]
        return html_table("run", rows, ("stage", "seconds", "MLflow calls", "what happened"))

    @property
    def seconds(self) -> float:
        """Wall seconds of all stages."""
        return sum(report.seconds for report in self.stages)

    @property
    def calls(self) -> int:
        """MLflow calls of all stages."""
        return sum(report.calls for report in self.stages)


def run(job: Job, stages: Sequence[str] = tuple(STAGES)) -> RunReport:
    """Run stages one after another; by default all, from the source to the warehouse.

    Too many failed partitions, or too many that lost their forecast, do not keep the others from being
    promoted, scored and loaded: the run goes on, and the report carries the error for the end.
    Raises TrackingError before the first stage where models are to be promoted to an MLflow that does not
    answer.
    """
    if "promote" in stages:
        reach_production(job.spec)
    reports: list[StageReport] = []
    failures: TooManyFailures | None = None
    for name in stages:
        try:
            reports.append(STAGES[name](job))
        except TooManyFailures as error:
            failures = error if failures is None else TooManyFailures(f"{failures}\n{error}", error.report)
            reports.append(error.report)
    return RunReport(tuple(reports), failures)
