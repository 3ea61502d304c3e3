"""States of a job that many tests begin with: each is made once a process, and every test gets a copy.

`after("promote", folder, spark, rows, **changes)` is a job in the test's folder, as its promotion leaves it.
What earlier tests asked for is copied, which costs milliseconds; a stage costs seconds.

A copy has its lake and its MLflow in the test's folder. What lake and MLflow hold as absolute paths (the
source's files, the models' artifacts) is named through a link, which leads to the copy that was made last:
a fixture of a module must have rows or changes of its own, or lead the link back (`lead_to`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from builders import make_spec, write_csv

from manymodels_spark.spec import Spec
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.load.stage import load
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.promote.stage import promote
from manymodels_spark.stages.runs.job import Job, StageReport
from manymodels_spark.stages.score.stage import score
from manymodels_spark.stages.train.due import Choice
from manymodels_spark.stages.train.stage import train

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

T = TypeVar("T")
Rows = Iterable[Mapping[str, object]]
STAGES: dict[str, Callable[[Job], StageReport]] = {
    "ingest": ingest,
    "prepare": prepare,
    "train": train,
    "promote": promote,
    "score": score,
    "load": load,
}
AGAIN: dict[str, Callable[[Job], StageReport]] = {"retrain": lambda job: train(job, Choice(force=True))}
# The parts of a spec that rows are prepared by: states until then are shared by specs that differ in others.
PREPARED_BY = {"name", "task", "partition_by", "columns", "prepare"}


@dataclass
class Kept:
    """The states that this process has made, each a folder, with what its making gave back."""

    made: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def root(self) -> Path:
        """The folder that holds them."""
        return Path(tempfile.mkdtemp(prefix="manymodels-lakes-"))

    def copy(self, key: str, folder: Path, link: Path, make: Callable[[Path], T]) -> T:
        """Put the state into the folder, and let the link lead there; `make(folder)` makes it, the first
        time, in a folder of its own, and what it gives back is given back for every copy.
        """
        if key not in self.made:
            self._make(key, link, make)
        shutil.copytree(self.root / key, folder, dirs_exist_ok=True)
        lead(link, folder)
        result: T = self.made[key]
        return result

    def clear(self) -> None:
        """Remove all of them, when the session that made them ends."""
        if self.made:
            shutil.rmtree(self.root, ignore_errors=True)

    def _make(self, key: str, link: Path, make: Callable[[Path], Any]) -> None:
        place = self.root / key
        place.mkdir()
        lead(link, place)
        try:
            self.made[key] = make(place)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise


def lead(link: Path, folder: Path) -> None:
    """Let the link lead to the folder from now on."""
    link.unlink(missing_ok=True)
    link.symlink_to(folder, target_is_directory=True)


def lead_to(job: Job) -> None:
    """Let the link lead to this job's folder again, after tests that have copies of their own."""
    lead(Path(str(job.spec.source.path)).parent, Path(job.lake.root).parent)  # type: ignore[union-attr]


KEPT = Kept()


def after(stage: str, folder: Path, spark: SparkSession, rows: Rows, again: int = 0, **changes: Any) -> Job:
    """A job of `make_spec` with these rows and changes in the folder, as it is when this stage has ended, and
    trained and promoted anew `again` times.
    """
    return after_with_reports(stage, folder, spark, rows, again, **changes)[0]


def after_with_reports(
    stage: str, folder: Path, spark: SparkSession, rows: Rows, again: int = 0, **changes: Any
) -> tuple[Job, list[StageReport]]:
    """As `after`, with the reports of the stages that led there."""
    names = list(STAGES)
    path = [*names[: names.index(stage) + 1], *(again * ["retrain", "promote"])]
    state = State(spark, list(rows), changes)
    reports = state.copy(path, folder)
    return state.job(folder), reports


@dataclass(frozen=True)
class State:
    """What the states of one spec and its rows have in common."""

    spark: SparkSession
    rows: list[Mapping[str, object]]
    changes: dict[str, Any]

    def job(self, folder: Path) -> Job:
        """The job whose state lies in the folder."""
        return Job.of(spec_at(folder, self._link, **self.changes), self.spark)

    def copy(self, path: list[str], folder: Path) -> list[StageReport]:
        """Put the state after these stages into the folder; the stages' reports."""
        shared = path[-1] in ("ingest", "prepare")
        key = "-".join([self._prepared, *path, *([] if shared else [digest(self.changes)])])

        def make(place: Path) -> list[StageReport]:
            before = self.copy(path[:-1], place) if path[:-1] else []
            if not before:
                write_csv(place / "sales.csv", self.rows)
            return [*before, (STAGES | AGAIN)[path[-1]](self.job(place))]

        return KEPT.copy(key, folder, self._link, make)

    @property
    def _prepared(self) -> str:
        parts = {name: self.changes[name] for name in sorted(PREPARED_BY & self.changes.keys())}
        return digest(self.rows, parts, self.changes.get("limits", {}).get("partitions_per_wave"))

    @property
    def _link(self) -> Path:
        return KEPT.root / f"{self._prepared}-at-work"


def spec_at(folder: Path, link: Path, **changes: Any) -> Spec:
    """The spec of `make_spec` in the folder; source and models' artifacts are named through the link."""
    parts: dict[str, Any] = {
        "source": {"csv": str(link / "sales.csv")},
        "mlflow": {
            name: {
                "tracking": f"sqlite:///{folder}/{short}.db",
                "artifacts": str(link / f"{short}-artifacts"),
            }
            for name, short in (("development", "dev"), ("production", "prod"))
        },
    }
    return make_spec(folder, **{**parts, **changes})


def digest(*parts: object) -> str:
    """16 hexadecimal digits of what JSON or `str` makes of the parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
