"""The published workload on this machine: 10,000 partitions of 4,000 days by Prophet, from raw rows to the
warehouse.

    make bench-headline                                  all of it
    make bench-headline ARGS="--partitions 500"          the same ratios, sooner

`train_ratio` is the train stage's wall time (fits, backtest, logging) over what stock Prophet takes for the
same partitions in bare processes, one per core; `score_ratio` the score stage's over plain load-and-predict
of the same models by Prophet's own functions, without intervals.
"""

from __future__ import annotations

import argparse
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from benchmarks.common import clock, cores, emit, scratch
from benchmarks.score import stock_predict
from manymodels_spark import ManyModels, Spec
from manymodels_spark.simulate import sales_of, write_parquet

SEED, HORIZON, SAMPLE = 7, 28, 20


def main() -> None:
    """Write the rows, run the job, measure the bare loops, print the line of JSON."""
    arguments = _arguments()
    with scratch() as folder:
        rows = write_parquet(
            folder / "in", partitions=arguments.partitions, days=arguments.days, files=4 * cores()
        )
        bare_train = bare(stock_fit, list(range(SAMPLE)), arguments.days) * arguments.partitions / SAMPLE
        peak = _Peak()
        mm = ManyModels(_spec(folder))
        seconds: dict[str, float] = {}
        for stage in (mm.ingest, mm.prepare, mm.train, mm.promote, mm.score, mm.load):
            with clock(f"{stage.__name__}") as took:
                report = stage()
            seconds[stage.__name__] = took.seconds
            print(f"    {getattr(report, 'note', None) or report.report.note}", flush=True)  # type: ignore[union-attr]
        memory = peak.stop()
        payloads = [
            bytes(row[0])
            for row in mm.job.lake.read("fits")
            .filter("payload IS NOT NULL")
            .select("payload")
            .limit(200)
            .collect()
        ]
        bare_score = (
            bare(stock_predict, [[payload] for payload in payloads])
            * arguments.partitions
            / max(len(payloads), 1)
        )
        calls = mm.last_training().report.calls
    emit(
        "headline",
        workload={"rows": rows, "days": arguments.days, "family": "prophet", "folds": 1, "horizon": HORIZON},
        partitions=arguments.partitions,
        train_minutes=seconds["train"] / 60,
        train_ratio=seconds["train"] / bare_train,
        score_minutes=seconds["score"] / 60,
        score_ratio=seconds["score"] / bare_score,
        load_minutes=seconds["load"] / 60,
        promote_minutes=seconds["promote"] / 60,
        ingest_minutes=seconds["ingest"] / 60,
        prepare_minutes=seconds["prepare"] / 60,
        peak_rss_gib=memory,
        calls_per_model_train=calls / arguments.partitions,
        bare_train_minutes=bare_train / 60,
    )


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
