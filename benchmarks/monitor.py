"""Does monitoring raise alarms where nothing happened, and does it find what did?

    make bench-monitor                                     2,000 healthy partitions, 100 changed by 30 %
    make bench-monitor ARGS="--healthy 200 --changed 20"   the same, sooner

Every partition is three years of daily sales with a week, a year of up to 20 % to either side, promotions,
and noise that remembers. A regression on weekday, yearly waves and promotions is fitted once, and forecasts
28 days from a new cutoff every week; its backtest is that of three folds before. After six weeks sales rise
or fall by 30 % in the changed ones. Then every second day is monitored for two weeks, with all partitions
judged together as the stage does it. `false_alarms` is the share of healthy partitions with an alert in a
monitoring, on its worst day; `found` counts the changed ones with an alert within two weeks, `days` by days
since the change.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.common import clock, cores, emit
from manymodels_spark.modeling import drift, live_errors
from manymodels_spark.spec.model import Spec

Floats = NDArray[np.float64]
HORIZON, FOLDS, LEARNED, LIVE, CHANGED_AT, FORTNIGHT = 28, 3, 3 * 365, 56, 42, 14
CHANGE, EVERY = 0.3, 2


def main() -> None:
    """Simulate, monitor day by day, count, and print the line of JSON."""
    arguments = _arguments()
    spec, healthy, changed = spec_of(Path.cwd()), arguments.healthy, arguments.changed
    with clock("monitored"), ProcessPoolExecutor(cores()) as pool:
        watched = partial(watch_days, spec, healthy, arguments.seed)
        findings = pd.concat(pool.map(watched, range(healthy + changed), chunksize=8), ignore_index=True)
    alerts = judged(findings, spec.monitor.significance)
    alerts = alerts[alerts["alert"]]
    crying = alerts[alerts["partition"] < healthy].groupby("day")["partition"].nunique() / healthy
    late = alerts[(alerts["partition"] >= healthy) & (alerts["day"] >= CHANGED_AT)]
    days = (late.groupby("partition")["day"].min() - CHANGED_AT + 1).to_numpy()
    within = days[days <= FORTNIGHT]
    emit(
        "monitor",
        workload={"healthy": healthy, "changed": changed, "change": CHANGE, "live_days": LIVE},
        false_alarms=round(float(crying.max() if len(crying) else 0.0), 4),
        false_alarms_of_any_day=round(_share(alerts, healthy), 4),
        false_alarms_by_check=_by_check(alerts[alerts["partition"] < healthy]),
        found=len(within),
        days_median=float(np.median(within)) if len(within) else None,
        days_p90=float(np.quantile(within, 0.9)) if len(within) else None,
        days=np.bincount(within.astype(int), minlength=FORTNIGHT + 1)[1:].tolist(),
    )


@dataclass(frozen=True)
class Sales:
    """One simulated partition. `mean` is what a perfect model would say."""

    rows: pd.DataFrame
    mean: Floats


def simulate(seed: int, number: int, change: float = 0.0) -> Sales:
    """date, units and promotion of one partition; from live day `CHANGED_AT` on, all is changed."""
    draw, count = np.random.default_rng([seed, number]), LEARNED + LIVE
    day = np.arange(count)
    level, growth = draw.uniform(20, 200), draw.normal(0.0, 0.05)
    week = 1 + draw.uniform(0.1, 0.4) * np.sin(2 * np.pi * (day % 7 + draw.uniform(0, 7)) / 7)
    year = 1 + draw.uniform(0.05, 0.2) * np.sin(2 * np.pi * (day / 365.25 + draw.uniform()))
    promotion = (draw.random(count // 7 + 1) < 0.12)[day // 7].astype(float)
    mean = level * (1 + growth) ** (day / 365.25) * week * year * (1 + draw.uniform(0.2, 0.6) * promotion)
    memory, spread = draw.uniform(0.0, 0.5), draw.uniform(0.08, 0.15)
    noise = np.zeros(count)
    for step, shock in enumerate(draw.normal(0, spread, count)):
        noise[step] = memory * noise[step - 1] + shock if step else shock
    factor = np.where(day >= LEARNED + CHANGED_AT, 1 + change, 1.0)
    dates = pd.date_range("2023-01-01", periods=count)
    units = np.maximum(mean * (1 + noise) * factor, 0.0)
    return Sales(pd.DataFrame({"date": dates, "units": units, "promotion": promotion}), mean)


def forecast(rows: pd.DataFrame, known: int, steps: int) -> Floats:
    """Least squares on logarithms of the first `known` rows, and what it says of the next `steps`."""
    day = np.arange(known + steps)
    waves = [f(2 * np.pi * k * day / 365.25) for k in (1, 2) for f in (np.sin, np.cos)]
    weekday = [(day % 7 == place).astype(float) for place in range(1, 7)]
    promotion = rows["promotion"].to_numpy()[: known + steps]
    design = np.column_stack([np.ones(known + steps), day / 365.25, *waves, *weekday, promotion])
    target = np.log(np.maximum(rows["units"].to_numpy()[:known], 0.5))
    found = np.linalg.lstsq(design[:known], target, rcond=None)[0]
    return np.asarray(np.exp(design[known:] @ found), float)


def predictions_of(sales: Sales) -> pd.DataFrame:
    """Forecasts of the live weeks, a cutoff a week, with an interval from the backtest's errors."""
    units, errors, total = sales.rows["units"].to_numpy(), [], 0.0
    for fold in range(FOLDS, 0, -1):
        known = LEARNED - fold * HORIZON
        actual = units[known : known + HORIZON]
        errors.append((actual - forecast(sales.rows, known, HORIZON)) / actual.clip(1.0))
        total += float(actual.sum())
    sizes = np.concatenate(errors)
    judged = units[LEARNED - FOLDS * HORIZON : LEARNED]
    wape = float((np.abs(sizes) * judged).sum()) / total
    low, high = np.quantile(sizes, [0.1, 0.9])
    made = forecast(sales.rows, LEARNED, LIVE)
    dates = sales.rows["date"].to_numpy()
    parts = []
    for start in range(0, LIVE, 7):
        here = made[start : start + HORIZON]
        times = dates[LEARNED + start : LEARNED + start + len(here)]
        part = {"cutoff": dates[LEARNED + start - 1], "date": times, "prediction": here}
        parts.append(pd.DataFrame({**part, "lower_80": here * (1 + low), "upper_80": here * (1 + high)}))
    return pd.concat(parts, ignore_index=True).assign(backtest=wape)


def watch_days(spec: Spec, healthy: int, seed: int, number: int) -> pd.DataFrame:
    """The findings of one partition on every day of the live weeks; those from `healthy` on change."""
    change = 0.0 if number < healthy else (CHANGE if number % 2 else -CHANGE)
    sales = simulate(seed, number, change)
    made = predictions_of(sales)
    return pd.DataFrame(_findings(spec, sales, made, number))


def _findings(spec: Spec, sales: Sales, made: pd.DataFrame, number: int) -> Iterator[dict[str, object]]:
    for day in range(CHANGED_AT + EVERY - 1, LIVE, EVERY):
        actuals = sales.rows.iloc[: LEARNED + day + 1]
        known = made[made["cutoff"] < actuals["date"].iloc[-1]]
        for one in live_errors.watch(actuals, known, spec):
            if one.p == one.p:  # a test, and no figure by age
                family = f"{one.check} {one.subject} {one.age}"
                yield {"partition": number, "day": day, "family": family, "p": one.p, "large": one.large}


def judged(findings: pd.DataFrame, significance: float) -> pd.DataFrame:
    """Which findings are alerts, all partitions of a day and a check together."""
    rate = findings.groupby(["day", "family"])["p"].transform(
        lambda p: pd.Series(drift.false_discovery(p.to_numpy()), p.index)
    )
    return findings.assign(alert=findings["large"] & (rate <= significance))


def spec_of(folder: Path) -> Spec:
    """The spec that the simulated partitions are monitored by."""
    parts = {
        "name": "monitored",
        "partition_by": ["item"],
        "source": {"csv": str(folder / "none.csv")},
        "columns": {"time": "date", "target": "units", "frequency": "D", "known_future": ["promotion"]},
        "horizon": HORIZON,
        "backtest": {"folds": FOLDS, "intervals": [80]},
    }
    return Spec.model_validate(parts)


def _share(alerts: pd.DataFrame, healthy: int) -> float:
    return float(alerts[alerts["partition"] < healthy]["partition"].nunique()) / healthy


def _by_check(alerts: pd.DataFrame) -> dict[str, int]:
    return {str(name): int(n) for name, n in alerts.groupby("family")["partition"].nunique().items()}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--healthy", type=int, default=2000)
    parser.add_argument("--changed", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    main()
