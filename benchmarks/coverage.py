"""Whether the 90 % intervals of every forecast family hold: the share of actuals inside, on series whose
noise is known.

    make bench-coverage                                                every family, 120 series each
    make bench-coverage ARGS="--series 20 --families mean,theta"       some of it, sooner

Each series is a level, a week and normal noise; a family alone is fitted on it as the product does (three
folds, a fit on all rows), and the 14 days that come are counted in or out. `coverage_90` is the mean over the
families, `worst` the one furthest from 0.90. Families that make no sense of such series (croston and tsb are
for rare demand) get series of their own kind.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.common import clock, cores, emit
from benchmarks.efficiency import spec_of
from manymodels_spark.families import registry
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.predict import predict_partition

LENGTH, HORIZON = 150, 14
WEEK = np.array([0.0, 3, 9, 4, -2, -8, -6])
INTERMITTENT = ("croston", "tsb")


def main() -> None:
    """Every family in turn; print the line of JSON."""
    arguments = _arguments()
    names = arguments.families.split(",") if arguments.families else forecasting()
    found: dict[str, float] = {}
    with ProcessPoolExecutor(cores()) as pool:
        for name in names:
            with clock(f"{name:<20}"):
                inside = list(
                    pool.map(share_inside, [name] * arguments.series, range(arguments.series), chunksize=5)
                )
            found[name] = float(np.mean(inside))
            print(f"{name:<20}  {found[name]:.3f}", flush=True)
    emit(
        "coverage",
        workload={"series": arguments.series, "length": LENGTH, "horizon": HORIZON, "families": len(found)},
        coverage_90=float(np.mean(list(found.values()))),
        worst=max(found.values(), key=lambda share: abs(share - 0.9)),
        families={name: round(share, 4) for name, share in found.items()},
        outside_87_to_93=sorted(name for name, share in found.items() if not 0.87 <= share <= 0.93),
    )


def forecasting() -> list[str]:
    """The names of all families that forecast."""
    return [name for name in sorted(registry.addresses()) if "forecast" in registry.family(name).tasks]


def share_inside(name: str, number: int) -> float:
    """The share of a new series' next days that the 90 % interval holds."""
    noise = np.random.default_rng([number, 20])
    units = noise.normal(100, 5, LENGTH + HORIZON) + np.resize(WEEK, LENGTH + HORIZON)
    if name in INTERMITTENT:
        units = noise.poisson(0.5, LENGTH + HORIZON) * noise.integers(1, 6, LENGTH + HORIZON).astype(float)
    rows = pd.DataFrame({"date": pd.date_range("2025-01-01", periods=LENGTH), "units": units[:LENGTH]})
    spec = spec_of(Path("unused"), [name], horizon=HORIZON, backtest={"folds": 3, "intervals": [90]})
    result = fit_partition(rows, spec, PartitionKey.of({"number": number}))
    if result.payload is None:
        raise SystemExit(f"{name}: {result.failure}")
    found, actual = predict_partition(result.payload, levels=[90]), units[LENGTH:]
    return float(((actual >= found["lower_90"]) & (actual <= found["upper_90"])).mean())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=120)
    parser.add_argument("--families", default="", help="names, with commas between them; all by default")
    return parser.parse_args()


if __name__ == "__main__":
    main()
