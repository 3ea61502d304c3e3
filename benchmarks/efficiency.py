"""How much of the machine the train stage spends on what it is for: inside `fit` and `predict` of the
families.

    make bench-efficiency  500 partitions of 4,000 days, Prophet, one fold
    make bench-efficiency ARGS="--partitions 60 --days 400"  the same, sooner (start-up then weighs more)
    make bench-efficiency ARGS="--bare"  the same fits by a bare groupBy().applyInPandas()

`efficiency` is the seconds inside the families, summed over all fits, over (cores x wall seconds of the train
stage); the session, the ingest, the prepare and the making of MLflow's database come before and do not count;
the start of Python workers and what they import does. `--bare` trains nothing: it makes the same fits in the
same session by the one line of Spark that a user would write, with no claim, no choice, no process that a fit
may kill, nothing kept and nothing logged; its `efficiency` is what such a job has, with groups hashed into
tasks unevenly and nothing beside the fits.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common import clock, cores, emit, scratch
from manymodels_spark import Spec
from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.tables import FITS, SILVER
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.spark.session import get_session
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.train.stage import train
from manymodels_spark.tracking.opening import open_repository

HORIZON = 28


def main() -> None:
    """Simulate, prepare, train, and print the line of JSON."""
    arguments = _arguments()
    with scratch() as folder:
        rows = write_series(folder / "in", arguments.partitions, arguments.days)
        once = bare_once if arguments.bare else train_once
        trained = once(folder, [{"prophet": {"weekly": True, "yearly": True, "daily": False}}], refit=False)
    workload = {
        "partitions": arguments.partitions,
        "rows": rows,
        "family": "prophet",
        "folds": 1,
        "refit": False,
        "bare": arguments.bare,
    }
    emit(
        "efficiency",
        workload=workload,
        efficiency=trained.family_seconds / (cores() * trained.seconds),
        seconds=trained.seconds,
        family_seconds=trained.family_seconds,
        fit_seconds=trained.fit_seconds,
        quarantined=trained.quarantined,
        fits_per_second=arguments.partitions / trained.seconds,
    )


def write_series(folder: Path, partitions: int, days: int, seed: int = 7) -> int:
    """Parquet files of daily units by store and item, each of exactly `days` rows: trend, week, year, counts;
    the rows.
    """
    folder.mkdir(parents=True)
    day, rng, files = np.arange(days), np.random.default_rng(seed), 2 * cores()
    dates = pa.array(np.datetime64("2015-01-01", "us") + day.astype("timedelta64[D]"))
    for file in range(files):
        numbers = range(file, partitions, files)
        mean = [_mean(day, rng) for _ in numbers]
        columns = {
            "store": np.repeat([number // 50 for number in numbers], days),
            "item": np.repeat([number % 50 for number in numbers], days),
            "date": pa.concat_arrays([dates] * len(numbers)) if numbers else dates[:0],
            "units": rng.poisson(np.concatenate(mean) if mean else []).astype(np.float64),
        }
        pq.write_table(pa.table(columns), folder / f"part-{file}.parquet")
    return partitions * days


def _mean(day: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    year, week = np.sin(2 * np.pi * (day / 365.25 + rng.random())), rng.uniform(0.5, 1.5, 7)[day % 7]
    trend = rng.uniform(5, 50) * (1 + rng.uniform(-0.3, 0.3) * day / max(len(day), 365))
    return np.asarray(trend * (1 + 0.3 * year) * week)


@dataclass(frozen=True)
class Trained:
    """What a train stage took: its wall seconds, those in fits and in the families' own calls, summed over
    all fits.
    """

    job: Job
    seconds: float
    fit_seconds: float
    family_seconds: float
    quarantined: int


def train_once(folder: Path, candidates: list[Any], **changes: Any) -> Trained:
    """Ingest, prepare and train the Parquet files of `folder`/in on all cores, with SQLite for MLflow."""
    job = _prepared(folder, candidates, **changes)
    open_repository(job.spec.mlflow.development, job.spec)
    with clock("    train") as took:
        report = train(job)
    sums = job.lake.read(FITS).selectExpr("sum(seconds)", "sum(family_seconds)").first() or (0.0, 0.0)
    return Trained(job, took.seconds, float(sums[0]), float(sums[1]), report.counts["quarantined"])


def bare_once(folder: Path, candidates: list[Any], **changes: Any) -> Trained:
    """The same fits of the same rows by `groupBy().applyInPandas()` alone."""
    job = _prepared(folder, candidates, **changes)
    spec = job.spec

    def fit(rows: pd.DataFrame) -> pd.DataFrame:
        key = PartitionKey.of({name: rows[name].iloc[0].item() for name in spec.partition_by})
        result = fit_partition(rows, spec, key)
        return pd.DataFrame(
            {
                "seconds": [result.seconds],
                "family_seconds": [result.family_seconds],
                "failed": [result.payload is None],
            }
        )

    fits = (
        job.lake.read(SILVER)
        .groupBy(*spec.partition_by)
        .applyInPandas(fit, "seconds double, family_seconds double, failed boolean")
    )
    with clock("    bare fits") as took:
        sums = fits.selectExpr("sum(seconds)", "sum(family_seconds)", "count_if(failed)").first() or (
            0.0,
            0.0,
            0,
        )
    return Trained(job, took.seconds, float(sums[0]), float(sums[1]), int(sums[2]))


def _prepared(folder: Path, candidates: list[Any], **changes: Any) -> Job:
    job = Job.of(spec_of(folder, candidates, **changes), get_session("bench", f"local[{cores()}]"))
    for stage in (ingest, prepare):
        with clock(f"    {stage.__name__}"):
            stage(job)
    return job


def spec_of(folder: Path, candidates: list[Any], **changes: Any) -> Spec:
    """Daily sales by store and item, one fold, everything below `folder`."""
    return Spec.model_validate(
        {
            "name": "bench",
            "partition_by": ["store", "item"],
            "source": {"parquet": str(folder / "in")},
            "columns": {"time": "date", "target": "units"},
            "horizon": HORIZON,
            "candidates": candidates,
            "backtest": {"folds": 1},
            "lake": str(folder / "lake"),
            "mlflow": {
                "development": {"tracking": f"sqlite:///{folder}/dev.db", "artifacts": str(folder / "dev")}
            },
            **changes,
        }
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--partitions", type=int, default=500)
    parser.add_argument("--days", type=int, default=4_000)
    parser.add_argument("--bare", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("MANYMODELS_LOG", "error")
    main()
