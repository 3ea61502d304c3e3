"""What `fit_partition` costs in CPU milliseconds: a backtest of one fold, a fit on all rows, a payload.

    make bench-fit                                       200 and 4,000 rows
    make bench-fit ARGS="--families prophet,linear"      these families alone

Partitions are daily and share their dates, as those of a table mostly do; the first one of a family and size
is not counted, the figure is the median of the others. Each is split into the time inside the family's own
methods, cleaning, metrics, conformal intervals, the payload, and the rest (folds, copies of rows, records).
Only this process's CPU counts, so that Stan's is not in it: families here do without.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd

from benchmarks.common import emit, scratch, spec_in
from manymodels_spark import Spec
from manymodels_spark.families import registry
from manymodels_spark.families.threads import hold_one_thread
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition

SIZES = (200, 4_000)
FAMILIES: dict[str, dict[str, Any]] = {
    "seasonal_naive": {},
    "linear": {},
    "prophet": {"weekly": True, "yearly": True, "daily": False},
    "theta": {},
    "auto_ets": {},
    "auto_theta": {},
    "gradient_boosting": {},
    "lightgbm": {},
}
# Slower families are measured on fewer partitions.
PARTITIONS, FEW, SLOW = 25, 3, 0.1
PARTS = {
    "metrics": ("backtest.Backtest.judge", "backtest.pooled", "fit.pooled", "fit.rank"),
    "conformal": ("held_out.HeldOut.intervals", "held_out.HeldOut.metrics"),
    "cleaning": ("fit.clean", "fit.grid_of"),
    "payload": ("fit.seal", "fit.sha256", "fit.document_of"),
}
METHODS = ("fit", "refit", "predict", "dump")


class Meter:
    """CPU seconds by part; what runs inside another part counts there."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inside = False

    def of(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with its time counted."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return function(*args, **kwargs)
            self._inside, began = True, time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._inside = False
                self.seconds[part] += time.process_time() - began

        return timed


def main() -> None:
    """Measure every family and size, and print the line of JSON."""
    arguments = _arguments()
    hold_one_thread()  # as the processes do in which executors fit
    wanted = arguments.families.split(",") if arguments.families else list(FAMILIES)
    found: dict[str, dict[str, dict[str, float]]] = {}
    with scratch() as folder:
        for name in wanted:
            spec = spec_of(folder, name)
            found[name] = {str(rows): measured(spec, name, rows) for rows in SIZES}
            print(
                f"    {name:20}",
                {rows: round(one["all"], 2) for rows, one in found[name].items()},
                flush=True,
            )
    headlines = {
        f"{name}_4000_ms": found[name]["4000"]["all"] for name in ("prophet", "linear") if name in found
    }
    emit("fit", workload={"rows": SIZES, "folds": 1}, cpu_ms=found, **headlines)


def measured(spec: Spec, name: str, rows: int) -> dict[str, float]:
    """The median CPU milliseconds of one partition by part."""
    frames = [partition(rows, seed) for seed in range(PARTITIONS)]
    key = PartitionKey.of({"store": 1})
    began = time.process_time()
    fit_partition(frames[0], spec, key)
    slow = time.process_time() - began > SLOW
    fit_partition(frames[0], spec, key)
    count = FEW if slow else PARTITIONS
    all_of_it = [seconds_of(frame, spec, key) for frame in frames[1:count]]
    parts = pd.DataFrame([split(frame, spec, key, name) for frame in frames[1:count]]).fillna(0.0)
    split_up = {part: float(values.median()) * 1000 for part, values in parts.items()}
    return {"all": float(np.median(all_of_it)) * 1000, **split_up}


def seconds_of(frame: pd.DataFrame, spec: Spec, key: PartitionKey) -> float:
    """The CPU seconds of one fit."""
    began = time.process_time()
    result = fit_partition(frame, spec, key)
    seconds = time.process_time() - began
    assert result.payload is not None, result.failure
    return seconds


def split(frame: pd.DataFrame, spec: Spec, key: PartitionKey, name: str) -> dict[str, float]:
    """The CPU seconds of one fit by part."""
    meter = Meter()
    with metered(meter, name):
        seconds = seconds_of(frame, spec, key)
    return {**meter.seconds, "rest": seconds - sum(meter.seconds.values())}


@contextmanager
def metered(meter: Meter, name: str) -> Iterator[None]:
    """The family's methods and the parts of a fit with their time counted."""
    cls = registry.family(name)
    with ExitStack() as stack:
        for part, names in PARTS.items():
            for path in names:
                module, *inner, attribute = path.split(".")
                place = importlib.import_module(f"manymodels_spark.modeling.{module}")
                for one in inner:
                    place = getattr(place, one)
                timed = meter.of(part, getattr(place, attribute))
                stack.enter_context(patch.object(place, attribute, timed))
        for method in METHODS:
            timed = meter.of("family", getattr(cls, method))
            stack.enter_context(patch.object(cls, method, timed))
        yield


def partition(rows: int, seed: int) -> pd.DataFrame:
    """Daily values with a week, a year, a level shift and noise."""
    rng, step = np.random.default_rng(seed), np.arange(rows)
    level = 80 + 0.01 * step + np.where(step > rng.integers(1, rows), 15, 0)
    values = level + 5 * np.sin(2 * np.pi * step / 7) + 8 * np.sin(2 * np.pi * step / 365.25)
    dates = pd.date_range("2014-01-01", periods=rows)
    return pd.DataFrame({"store": 1, "date": dates, "units": values + rng.normal(0, 3, rows)})


def spec_of(folder: Any, name: str) -> Spec:
    """One family, one fold of 28 days."""
    return spec_in(
        folder,
        name="bench",
        partition_by=["store"],
        source={"parquet": str(folder / "in")},
        columns={"time": "date", "target": "units"},
        horizon=28,
        candidates=[{name: FAMILIES.get(name, {})}],
        backtest={"folds": 1},
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--families", help="names with commas between them")
    return parser.parse_args()


if __name__ == "__main__":
    main()
