"""The published workload on this machine: 10,000 partitions of 4,000 days by Prophet, from raw rows to the
warehouse.

    make bench-headline                                  all of it
    make bench-headline ARGS="--partitions 500"          the same ratios, sooner

`train_ratio` is the train stage's wall time (fits, backtest, logging) over what stock Prophet takes for the
same partitions in bare processes, one per core; `score_ratio` the score stage's over plain load-and-predict
of the same models by Prophet's own functions, without intervals. `core_hours_ratio_*` are the published
core-hours over ours. `vs_batch` is our training and scoring over prophet-batch's process pool, which fits and
forecasts as often in plain files.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from benchmarks.common import clock, cores, emit, scratch
from benchmarks.prophet import peer_python
from benchmarks.score import stock_predict
from manymodels_spark import ManyModels, Spec
from manymodels_spark.simulate import sales_of, write_parquet

SEED, HORIZON, SAMPLE, BATCH_SAMPLE = 7, 28, 20, 400
# Core-hours of the published reference: 30 minutes of training and 20 of scoring on 192 cores.
PUBLISHED_TRAIN, PUBLISHED_SCORE = 96, 64


def main() -> None:
    """Write the rows, run the job, measure the bare loops, print the line of JSON."""
    arguments = _arguments()
    with scratch() as folder:
        rows = write_parquet(
            folder / "in", partitions=arguments.partitions, days=arguments.days, files=4 * cores()
        )
        bare_train = bare(stock_fit, list(range(SAMPLE)), arguments.days) * arguments.partitions / SAMPLE
        batch = by_batch(folder, arguments.days) * arguments.partitions / BATCH_SAMPLE
        peak = _Peak()
        mm = ManyModels(_spec(folder))
        minutes = run_stages(mm)
        memory = peak.stop()
        payloads = _payloads(mm, 200)
        share = arguments.partitions / max(len(payloads), 1)
        bare_score = bare(stock_predict, [[payload] for payload in payloads]) * share
        training = mm.last_training()
    emit(
        "headline",
        workload={"rows": rows, "days": arguments.days, "family": "prophet", "folds": 1, "horizon": HORIZON},
        partitions=arguments.partitions,
        **{f"{stage}_minutes": value for stage, value in minutes.items()},
        core_hours_ratio_train=PUBLISHED_TRAIN / (minutes["train"] / 60 * cores()),
        core_hours_ratio_score=PUBLISHED_SCORE / (minutes["score"] / 60 * cores()),
        train_ratio=minutes["train"] / (bare_train / 60),
        score_ratio=minutes["score"] / (bare_score / 60),
        vs_batch=(minutes["train"] + minutes["score"]) / (batch / 60),
        peak_rss_gib=memory,
        calls_per_model_train=training.report.calls / arguments.partitions,
        bare_train_minutes=bare_train / 60,
        batch_minutes=batch / 60,
    )


def run_stages(mm: ManyModels) -> dict[str, float]:
    """All stages in order; the minutes of each."""
    minutes: dict[str, float] = {}
    for stage in (mm.ingest, mm.prepare, mm.train, mm.promote, mm.score, mm.load):
        with clock(f"{stage.__name__}") as took:
            report = stage()
        minutes[stage.__name__] = took.seconds / 60
        print(f"    {getattr(report, 'note', None) or report.report.note}", flush=True)  # type: ignore[union-attr]
    return minutes


def by_batch(folder: Path, days: int) -> float:
    """Wall seconds of prophet-batch's process pool for a sample of such partitions."""
    write_parquet(folder / "sample" / "rows", partitions=BATCH_SAMPLE, days=days, files=cores())
    script = Path(__file__).with_name("peer_batch.py")
    command = [peer_python(folder), script, folder / "sample" / "rows", HORIZON, cores()]
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    alone = {"PYTHONPATH": "", "PYTHONSAFEPATH": "1"}  # beside the script lies another module `prophet`
    done = subprocess.run(
        [str(part) for part in command],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **threads, **alone},
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def _payloads(mm: ManyModels, count: int) -> list[bytes]:
    rows = mm.job.lake.read("fits").filter("payload IS NOT NULL").select("payload").limit(count)
    return [bytes(row[0]) for row in rows.collect()]


def bare(work: Any, items: list[Any], *more: Any) -> float:
    """Wall seconds of `work` over the items in bare processes, one per core, after a warm-up of each."""
    with ProcessPoolExecutor(cores(), mp_context=get_context("spawn")) as pool:
        list(pool.map(work, items[: cores()], *[[value] * cores() for value in more]))
        begin = time.perf_counter()
        list(pool.map(work, items, *[[value] * len(items) for value in more]))
        return time.perf_counter() - begin


def stock_fit(number: int, days: int) -> float:
    """Stock Prophet on one partition as the job does it: a fit without the last fold, its predictions, a fit
    on all rows.
    """
    import logging

    from prophet import Prophet

    logging.getLogger("cmdstanpy").setLevel(logging.ERROR)
    rows = sales_of(SEED, number % 100 + 1, number // 100 + 1, days)
    frame = pd.DataFrame({"ds": rows["date"], "y": rows["units"]})
    judged = Prophet(weekly_seasonality=True, yearly_seasonality=True, daily_seasonality=False).fit(
        frame[:-HORIZON]
    )
    predicted = judged.predict(frame[-HORIZON:][["ds"]])
    Prophet(weekly_seasonality=True, yearly_seasonality=True, daily_seasonality=False).fit(frame)
    return float(predicted["yhat"].iloc[-1])


class _Peak:
    """The most resident memory that this process and its children held together, in GiB, looked at every
    second.
    """

    def __init__(self) -> None:
        self._most, self._stop = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        self._stop.set()
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(1.0):
            total = 0.0
            for process in [me, *me.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue
            self._most = max(self._most, total / 2**30)


def _spec(folder: Path) -> Spec:
    return Spec.model_validate(
        {
            "name": "headline",
            "partition_by": ["store", "item"],
            "source": {"parquet": str(folder / "in")},
            "columns": {"time": "date", "target": "units"},
            "horizon": HORIZON,
            "candidates": [{"prophet": {"weekly": True, "yearly": True, "daily": False}}],
            "backtest": {"folds": 1, "metric": "wape", "intervals": [80, 95]},
            "mlflow": {
                "development": {"tracking": f"sqlite:///{folder}/dev.db", "artifacts": str(folder / "dev")},
                "production": {"tracking": f"sqlite:///{folder}/prod.db", "artifacts": str(folder / "prod")},
            },
            "lake": str(folder / "lake"),
            "warehouse": {"duckdb": str(folder / "warehouse.duckdb")},
        }
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--partitions", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=4_000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
