"""Plan: what a training run would cost, before it is spent.

A few partitions are fitted in executors on the path that a run takes, so that sandboxes, imports, the shuffle
and the commit are in the figures; their outcomes go to table `plan_fits` and nowhere else. Nothing is logged
to MLflow.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from manymodels_spark.errors import FitError
from manymodels_spark.lake.queries import in_scope
from manymodels_spark.lake.tables import RUNS
from manymodels_spark.modeling.fingerprint import spec_hash
from manymodels_spark.modeling.folds import folds_of
from manymodels_spark.spark.session import cores as cores_of
from manymodels_spark.spec.metric_names import TASK_METRICS
from manymodels_spark.spec.model import Spec
from manymodels_spark.spec.source import resolve
from manymodels_spark.stages.packaging.requirements import template_of
from manymodels_spark.stages.runs.job import Job, new_run_id
from manymodels_spark.stages.train import estimate as e
from manymodels_spark.stages.train.due import Choice, Selection, select
from manymodels_spark.stages.train.fit_task import FITS_SCHEMA
from manymodels_spark.stages.train.fit_wave import fit_wave, warm
from manymodels_spark.stages.train.packing import Wave, expected, pack
from manymodels_spark.stages.train.wave_flow import FITTING
from manymodels_spark.stages.train.waves import Waves
from manymodels_spark.tracking.client import Client
from manymodels_spark.tracking.limits import limits_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PLAN_FITS = "plan_fits"
SAMPLE = 20
CALLS_PER_MODEL = 2
CALLS_OF_A_RUN = 5
METRICS_PER_CALL = 1000
# Small table operations of a training run apart from its waves (the record of runs, broken partitions,
# quarantine, counts), and those of each wave (reading back what was committed, writing what was logged).
STEPS, STEPS_OF_A_WAVE = 8, 2
# In-process stores take no request; making, describing and finalizing a model and writing its files take this
# long.
EMBEDDED_SECONDS = 0.03


@dataclass(frozen=True)
class Skew:
    """How the rows lie over the partitions; `bins` are (from, to, partitions)."""

    rows: int
    smallest: int
    median: int
    largest: int
    bins: list[tuple[float, float, int]]


@dataclass(frozen=True)
class Calls:
    """MLflow calls of the training run by class of endpoint, and the least seconds that the server allows
    them.
    """

    train: int
    promote_most: int
    least_seconds: float
    server: str


@dataclass(frozen=True)
class Plan:
    """What `manymodels plan` prints. Bytes are of the models only; predictions are rows."""

    partitions: int
    new: int
    changed: int
    unchanged: int
    quarantined: int
    broken: int
    too_short: int
    skew: Skew
    sampled: int
    fit_median: float
    fit_slowest: float
    failed_in_sample: int
    estimate: e.Estimate
    calls: Calls
    lake_bytes: int
    mlflow_bytes: int
    prediction_rows: int
    others: dict[str, float] = field(default_factory=dict)
    inactive: int = 0

    @property
    def todo(self) -> int:
        """Partitions that the run would fit."""
        return self.new + self.changed

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {**asdict(self), "todo": self.todo, "core_hours": self.estimate.core_hours}


def plan(job: Job, choice: Choice | None = None, *, cores: int | None = None, sample: int = SAMPLE) -> Plan:
    """Count, fit a sample, and work out a training run on `cores` (by default the session's).

    Raises ManyModelsError where the spec was never prepared, and TrackingError where MLflow cannot be
    reached.
    """
    lake, spec = job.lake, job.spec
    # As a run does: executors import the families while the driver is at its own work.
    warm(job.spark, spec, cores_of(job.spark))
    selection = select(lake, choice or Choice(), spec_hash(spec), new_run_id())
    rows = np.array(
        [row["rows"] for row in in_scope(lake, choice.only if choice else None).select("rows").collect()],
        float,
    )
    todo = selection.todo.assign(
        known=selection.todo["cost"].notna(), cost=expected(selection.todo["rows"], spec)
    )
    fits, timed = _sampled(job, todo, sample)
    on = cores or cores_of(job.spark)
    planned = list(Waves(todo, spec.limits.partitions_per_wave, on))
    client = Client.connect(spec.mlflow.development.tracking, spec.mlflow.development.registry)
    log_one = _seconds_to_log(client)
    costs = [wave.members["cost"].to_numpy(float) for wave in planned]
    found = e.estimate(
        costs, timed, on, log_one=log_one, steps=STEPS, steps_of_a_wave=STEPS_OF_A_WAVE, together=FITTING
    )
    return _plan(job, selection, todo, _skew(rows), fits, timed, found, _calls(client, spec, len(todo)))


def _plan(
    job: Job,
    selection: Selection,
    todo: pd.DataFrame,
    skew: Skew,
    fits: pd.DataFrame,
    timed: e.Timed,
    found: e.Estimate,
    calls: Calls,
) -> Plan:
    spec, known = job.spec, int(todo["known"].sum())
    payload = float(fits["bytes"].mean()) if fits["bytes"].notna().any() else 0.0
    files = sum(len(content) for content in template_of(spec).files("m" * 32, b"").values())
    models = round(len(todo) * (1 - _failing(fits)))
    return Plan(
        partitions=selection.total,
        new=len(todo) - known,
        changed=known,
        unchanged=selection.unchanged,
        inactive=selection.inactive,
        quarantined=selection.quarantined,
        broken=len(selection.broken),
        too_short=too_short(todo["rows"].tolist(), spec),
        skew=skew,
        sampled=len(timed.seconds),
        fit_median=timed.median,
        fit_slowest=max(timed.seconds, default=0.0),
        failed_in_sample=int((fits["status"] == "failed").sum()),
        estimate=found,
        calls=calls,
        lake_bytes=int(models * payload),
        mlflow_bytes=int(models * (payload + files)),
        prediction_rows=(selection.total - selection.quarantined - len(selection.broken)) * spec.horizon
        if spec.task == "forecast"
        else 0,
        others=_last_seconds(job),
    )


def _skew(rows: np.ndarray) -> Skew:
    if not len(rows):
        return Skew(0, 0, 0, 0, [])
    return Skew(int(rows.sum()), int(rows.min()), int(np.median(rows)), int(rows.max()), e.bins(rows))


def too_short(rows: Sequence[int], spec: Spec) -> int:
    """Partitions with too few rows for a single fold: they go to the fallback, or to the quarantine."""
    lengths, counts = np.unique(np.asarray(rows, int), return_counts=True)
    return sum(
        int(count)
        for length, count in zip(lengths, counts, strict=True)
        if not _long_enough(int(length), spec)
    )


def _long_enough(rows: int, spec: Spec) -> bool:
    labels = ["a", "b"] * (rows // 2 + 1) if spec.task == "classification" else range(rows)
    try:
        return bool(folds_of(pd.DataFrame({spec.columns.target: labels[:rows]}), spec, 0))
    except FitError:
        return False


def _sampled(job: Job, todo: pd.DataFrame, count: int) -> tuple[pd.DataFrame, e.Timed]:
    """Outcomes of a sample spread evenly over the expected costs, and its times: once cold, once warm."""
    lake, at_once = job.lake, cores_of(job.spark)
    step = _timed(lambda: lake.overwrite(PLAN_FITS, lake.spark.createDataFrame([], FITS_SCHEMA)))
    if todo.empty:
        return pd.DataFrame({"status": [], "bytes": [], "seconds": []}), e.Timed((), (), step=step)
    ranked = todo.sort_values(["cost", "rows"], kind="stable").reset_index(drop=True)
    places = np.unique(np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int))
    chosen = ranked.iloc[places]
    run_id = new_run_id()
    cold, warm = _wave(0, chosen.tail(at_once), at_once), _wave(1, chosen, at_once)
    walls = [
        _timed(partial(fit_wave, lake, job.spec, run_id, wave, table=PLAN_FITS)) for wave in (cold, warm)
    ]
    fits = (
        lake.read(PLAN_FITS)
        .selectExpr("wave", "partition_id", "status", "seconds", "octet_length(payload) AS bytes")
        .toPandas()
    )
    return fits[fits["wave"] == 1], _times(fits, chosen, walls, step, at_once)


def _wave(number: int, members: pd.DataFrame, cores: int) -> Wave:
    tasks = min(cores, len(members))
    return Wave(number, members.assign(task=pack(members["cost"].to_numpy(float), tasks)), tasks)


def _times(fits: pd.DataFrame, chosen: pd.DataFrame, walls: list[float], step: float, cores: int) -> e.Timed:
    """The times of the two waves. Failed fits take time, too, and count."""
    warm = fits[fits["wave"] == 1].merge(chosen[["partition_id", "cost"]], on="partition_id")
    seconds = warm["seconds"].to_numpy(float)
    inside = e.spread(seconds, cores)
    overhead = max(walls[1] - inside, 0.0)
    first = fits.loc[fits["wave"] == 0, "partition_id"]
    again = warm.loc[warm["partition_id"].isin(first), "seconds"].to_numpy(float)
    cold = max(walls[0] - overhead - e.spread(again, cores), 0.0)
    return e.Timed(warm["cost"].tolist(), seconds.tolist(), cold=cold, overhead=overhead, step=step)


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _seconds_to_log(client: Client) -> float:
    """Seconds of logging one model: by the round trip of a call where there is a server, else as measured
    in-process.
    """
    if client.limits.threads == 1:
        return EMBEDDED_SECONDS
    call = lambda: client.call(client.mlflow.search_experiments, max_results=1, kind="search")  # noqa: E731
    trips = sorted(_timed(call) for _ in range(5))
    limit = 1 / client.limits.default if client.limits.default else 0.0
    return CALLS_PER_MODEL * max(trips[2] / client.limits.threads, limit)


def _calls(client: Client, spec: Spec, models: int) -> Calls:
    metrics = len(TASK_METRICS[spec.task]) * (1 + spec.backtest.folds) + len(spec.backtest.intervals) + 3
    batches = -(-models * metrics // METRICS_PER_CALL)
    limits = limits_of(client.uri)
    calls = {"default": CALLS_PER_MODEL * models + CALLS_OF_A_RUN, "batch": batches}
    least = e.quickest(calls, {"default": limits.default, "batch": limits.batch})
    where = resolve(spec.mlflow.development.tracking).partition(":")[0]
    return Calls(sum(calls.values()) if models else 0, 5 * models, least, where)


def _failing(fits: pd.DataFrame) -> float:
    return float((fits["status"] == "failed").mean()) if len(fits) else 0.0


def _last_seconds(job: Job) -> dict[str, float]:
    """What the other stages took the last time they ran."""
    if not job.lake.exists(RUNS):
        return {}
    done = job.lake.read(RUNS).filter("status = 'done' AND stage <> 'train'")
    rows = (
        done.groupBy("stage")
        .agg({"started_at": "max"})
        .join(done, "stage")
        .filter("started_at = `max(started_at)`")
        .collect()
    )
    return {row["stage"]: float(row["seconds"]) for row in sorted(rows, key=lambda row: row["started_at"])}
