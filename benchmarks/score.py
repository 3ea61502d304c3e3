"""Score: Prophet champions from raw silver rows to committed Delta rows, against plain loads and predictions.

    make bench-score                                              2,000 champions of 1,000 days, horizon 28
    make bench-score ARGS="--partitions 200 --days 300"           smaller

The stage does it all: champions looked up, payloads joined and verified, opened, predicted with intervals,
shuffled, committed, counted and recorded. `ratio` is its wall time over what a script takes for the same
payloads in bare processes, one per core and warm, with Prophet's own functions:
`prophet.serialize.model_from_dict`, then `Prophet.predict` without uncertainty samples. `ratio_to_ours`
compares with our own `predict_partition` in such processes, which is faster than Prophet's. The stage is
measured in a session that has scored once (`cold_seconds`: one that has not, where workers start and import
Prophet). The champions are a few dozen distinct fits, dealt out to all.
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.common import clock, cores, emit, scratch
from manymodels_spark.keys import PartitionKey
from manymodels_spark.spec.model import Spec

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from manymodels_spark.stages.runs.job import Job

HORIZON, DISTINCT, REPEATS, START = 28, 24, 3, "2022-01-01"


def main() -> None:
    """Fit the distinct models, lay out the lake, score it `REPEATS` times, measure the bare loops, print the
    figures.
    """
    from manymodels_spark.spark.session import get_session
    from manymodels_spark.stages.score.stage import score

    arguments = _arguments()
    with scratch() as folder:
        with clock("models fitted"):
            payloads = _payloads(arguments.days, min(DISTINCT, arguments.partitions))
        dealt = [payloads[number % len(payloads)] for number in range(arguments.partitions)]
        plain, ours = [], []
        spark = get_session("bench-score", f"local[{cores()}]")
        jobs = [_job(spark, folder, f"turn{turn}") for turn in range(REPEATS + 1)]
        for job in jobs:
            _lay_out(job, dealt, arguments.days)
        seconds = []
        for job in jobs:
            with clock(f"scored {job.spec.name}") as measured:
                report = score(job)
            if report.counts["rows"] != arguments.partitions * HORIZON:
                raise SystemExit(f"{report.counts} were scored, {arguments.partitions} partitions expected")
            seconds.append(measured.seconds)
            plain.append(bare(stock_predict, dealt))
            ours.append(bare(own_predict, dealt))
        spark.stop()
    warm, base, own = (statistics.median(each) for each in (seconds[1:], plain, ours))
    emit(
        "score",
        workload={
            "partitions": arguments.partitions,
            "days": arguments.days,
            "horizon": HORIZON,
            "family": "prophet",
        },
        ms_per_partition=1000 * warm / arguments.partitions,
        ratio=warm / base,
        seconds=warm,
        cold_seconds=seconds[0],
        baseline_seconds=base,
        ratio_to_ours=warm / own,
        ours_seconds=own,
    )


def bare(work: Any, payloads: list[bytes]) -> float:
    """Wall seconds of `work` over the payloads in bare processes, one per core, after each has done a few."""
    count = cores()
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        list(pool.map(work, [payloads[:2]] * count))
        begin = time.perf_counter()
        list(pool.map(work, [payloads[part::count] for part in range(count)]))
        return time.perf_counter() - begin


def stock_predict(payloads: list[bytes]) -> float:
    """Each model read and asked with Prophet's own functions."""
    from prophet.serialize import model_from_dict

    from manymodels_spark.modeling.payload import open_payload

    last = 0.0
    for payload in payloads:
        document = open_payload(payload)
        model = model_from_dict(document["members"][0]["state"])
        model.uncertainty_samples = 0
        times = pd.date_range(document["cutoff"], periods=HORIZON + 1, freq="D")[1:]
        last = float(model.predict(pd.DataFrame({"ds": times}))["yhat"].iloc[-1])
    return last


def own_predict(payloads: list[bytes]) -> float:
    """Each payload by the package's own function, intervals included."""
    from manymodels_spark.modeling.predict import predict_partition

    return float(
        sum(predict_partition(payload, horizon=HORIZON)["prediction"].iloc[-1] for payload in payloads)
    )


def _payloads(days: int, count: int) -> list[bytes]:
    with ProcessPoolExecutor(cores(), mp_context=get_context("spawn")) as pool:
        return list(pool.map(_fitted, range(count), [days] * count))


def _fitted(seed: int, days: int) -> bytes:
    from manymodels_spark.modeling.fit import fit_partition

    result = fit_partition(_rows(seed, days), _spec(Path(), "fit"), PartitionKey.of({"series": seed}))
    if result.payload is None:
        raise SystemExit(f"the fit of series {seed} failed: {result.failure}")
    return result.payload


def _rows(seed: int, days: int) -> pd.DataFrame:
    noise, step = np.random.default_rng(seed), np.arange(days)
    units = (
        60
        + 0.02 * step
        + 9 * np.sin(2 * np.pi * step / 7)
        + 15 * np.sin(2 * np.pi * step / 365.25)
        + noise.normal(0, 4, days)
    )
    return pd.DataFrame({"series": seed, "date": pd.date_range(START, periods=days), "units": units})


def _spec(folder: Path, name: str) -> Spec:
    return Spec.model_validate(
        {
            "name": name,
            "partition_by": ["series"],
            "source": {"csv": "none.csv"},
            "horizon": HORIZON,
            "columns": {"time": "date", "target": "units"},
            "candidates": [{"prophet": {"daily": False}}],
            "backtest": {"folds": 1, "intervals": [80, 95]},
            "lake": str(folder / "lake"),
        }
    )


def _job(spark: SparkSession, folder: Path, name: str) -> Job:
    from manymodels_spark.stages.runs.job import Job

    return Job.of(_spec(folder, name), spark)


def _lay_out(job: Job, payloads: list[bytes], days: int) -> None:
    """The tables that `score` reads, as the stages before it leave them."""
    from manymodels_spark.lake.tables import CHAMPIONS, FITS, PARTITIONS, SILVER
    from manymodels_spark.modeling.payload import sha256
    from manymodels_spark.stages.promote.champions_index import INDEX_SCHEMA
    from manymodels_spark.stages.train.fit_task import FITS_SCHEMA

    lake, spark, end = job.lake, job.spark, pd.Timestamp(START) + pd.Timedelta(days=days - 1)
    keys = [PartitionKey.of({"series": number}) for number in range(len(payloads))]
    named = spark.createDataFrame(
        [
            (key.id, number // 1000, key.canonical, number, end.to_pydatetime(), None, None)
            for number, key in enumerate(keys)
        ],
        "partition_id string, bucket int, key string, series int, end timestamp, problem string, "
        "problem_detail string",
    )
    lake.overwrite(PARTITIONS, named)
    steps = spark.range(days).selectExpr(
        f"cast(date_add('{START}', cast(id as int)) as timestamp) AS date", "rand(1) * 100 AS units"
    )
    silver = named.select("partition_id", "bucket", "series").crossJoin(steps)
    lake.overwrite(SILVER, silver.repartition("bucket"), by=["bucket"], note="origin")
    fits = [name.split()[0] for name in FITS_SCHEMA.split(", ")]
    facts = [
        {"partition_id": key.id, "status": "fitted", "sha256": sha256(payload), "payload": payload}
        for key, payload in zip(keys, payloads, strict=True)
    ]
    lake.append(
        FITS, spark.createDataFrame([tuple(fact.get(name) for name in fits) for fact in facts], FITS_SCHEMA)
    )
    index = [name.split()[0] for name in INDEX_SCHEMA.split(", ")]
    champions = [
        {
            **fact,
            "key": key.canonical,
            "model_id": f"m-{key.id}",
            "family": "prophet",
            "promoted_at": datetime(2026, 1, 1),
        }
        for fact, key in zip(facts, keys, strict=True)
    ]
    rows = [tuple(champion.get(name) for name in index) for champion in champions]
    lake.overwrite(CHAMPIONS, spark.createDataFrame(rows, INDEX_SCHEMA), note="champions")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--partitions", type=int, default=2_000)
    parser.add_argument("--days", type=int, default=1_000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
