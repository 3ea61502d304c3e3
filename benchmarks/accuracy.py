"""Accuracy where it can be compared: the 3,003 series of the M3 competition, the weekly series of M4, and
simulated sales whose truth is known.

    make bench-accuracy                    M3 by frequency (`benchmarks.competitions`) and simulated sales
    make bench-accuracy ARGS="--data DIR"  M4 too: DIR (or M4_DATA) holds its train.csv and test.csv
    make bench-accuracy ARGS="--m3-every 20 --only-m3"                              a sample of M3 and no more
    make bench-accuracy ARGS="--data DIR --series 40 --partitions 20"                sooner
    make bench-accuracy ARGS="--data DIR --combine best --candidates auto_ets,naive" another choice

M4's series go through the product's own stages with the shipped conf/m4_weekly.yaml; its folds lie inside the
training part, and the test values are read when the predictions are there. Beside it every single family of
the spec, fitted once on each series, so that the value of choosing per series shows. `coverage_90` is the
share of test values inside the 90 % interval.

`regret` is of the simulated part: the error of the chosen champions over that of the best family of each
series, less one, both against the expected sales that the simulator knows and no forecaster can.
`regret_one_family` is the same for the one family that is best over all series: what a team without a choice
per partition gives away.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.common import clock, cores, emit, scratch, spec_in
from benchmarks.competitions import m3
from manymodels_spark import ManyModels, Spec
from manymodels_spark.families import registry
from manymodels_spark.families.base import Problem
from manymodels_spark.families.checked_spec import load_spec
from manymodels_spark.modeling.candidates import label
from manymodels_spark.simulate import expected_units, sales_of
from manymodels_spark.simulate.sales import plan
from manymodels_spark.spec.model import Candidate

SPEC = Path(__file__).parents[1] / "conf" / "m4_weekly.yaml"
HORIZON, AHEAD, DAYS, SEED = 13, 28, 730, 7
# Published for these series: M4-methods, 'Evaluation and Ranks.xlsx', sheet 'Point Forecasts-Frequency'.
NAIVE2_SMAPE, NAIVE2_MASE = 9.161, 2.777
PUBLISHED: list[tuple[str, Any]] = [
    ("published: Naive2", (NAIVE2_SMAPE, NAIVE2_MASE, 1.000)),
    ("published: Theta", (9.093, 2.637, 0.971)),
    ("published: Comb (SES, Holt, Damped)", (8.944, 2.432, 0.926)),
    ("published: winner overall (118)", (7.817, None, 0.851)),
    ("published: second overall (245)", (7.625, None, 0.796)),
    ("published: best of 61 on weekly series (235)", (None, None, 0.739)),
]
SIMULATED: list[dict[str, Any]] = [
    {"linear": {"lags": [1, 7, 14, 28]}},
    {"prophet": {"weekly": True, "yearly": True, "daily": False}},
    {"theta": {}},
    {"auto_ets": {}},
    {"seasonal_naive": {}},
]
Series = dict[str, np.ndarray]


def main() -> None:
    """All parts, their tables and the line of JSON."""
    arguments = _arguments()
    figures = m3(arguments.m3_every, arguments.peers, arguments.workers)
    workload = {"m3_series": figures.pop("m3_series")}
    if arguments.data and not arguments.only_m3:
        figures |= m4(arguments)
        workload |= {name: figures.pop(name) for name in ("series", "combine")}
    if not arguments.only_m3:
        figures |= simulation(arguments.partitions)
        workload["simulated_partitions"] = arguments.partitions
    emit("accuracy", workload=workload, **figures)


def m4(arguments: argparse.Namespace) -> dict[str, Any]:
    """The weekly series through ingest, prepare, train, promote and score, then judged on their test
    values.
    """
    train, test = _wide(arguments.data / "train.csv"), _wide(arguments.data / "test.csv")
    if arguments.series:
        train = dict(list(train.items())[: arguments.series])
    with scratch() as folder, clock() as took:
        spec = _spec(arguments, folder, train)
        mm = ManyModels(spec)
        counts = mm.run()["train"].counts
        rows = mm.predictions.orderBy("series", "week").toPandas()
        chosen = mm.champions.groupBy("family").count().orderBy("count", ascending=False).toPandas()
    predicted = {str(name): group["prediction"].to_numpy(float) for name, group in rows.groupby("series")}
    figures = {name: scores(train, test, found) for name, found in _families(spec, train).items()}
    ours, best = scores(train, test, predicted), min(figures.values(), key=lambda found: found[2])
    print(chosen.to_string(index=False))
    print(_table([*PUBLISHED, *figures.items(), ("chosen per series (this run)", ours)]), flush=True)
    return {
        "series": len(train),
        "combine": spec.combine,
        "owa": ours[2],
        "smape": ours[0],
        "mase": ours[1],
        "owa_best_single_family": best[2],
        "minutes": took.seconds / 60,
        **{f"coverage_{level}": _coverage(rows, test, level) for level in spec.backtest.intervals},
        "fitted": counts["fitted"],
        "quarantined": counts["quarantined"],
    }


def scores(train: Series, test: Series, predicted: Series) -> tuple[float, float, float]:
    """SMAPE (percent), MASE with m = 1 and OWA against Naive2's published figures, means over the series."""
    smape, mase = [], []
    for name, values in train.items():
        actual, forecast = test[name], predicted[name]
        error = np.abs(actual - forecast)
        smape.append(200 * np.mean(error / (np.abs(actual) + np.abs(forecast))))
        mase.append(np.mean(error) / np.mean(np.abs(np.diff(values))))
    return (
        float(np.mean(smape)),
        float(np.mean(mase)),
        float(np.mean(smape) / NAIVE2_SMAPE + np.mean(mase) / NAIVE2_MASE) / 2,
    )


def simulation(partitions: int) -> dict[str, float]:
    """Simulated sales, the last days kept back: errors against the truth of champions, of the best family and
    of one family.
    """
    keys = [(number % 10 + 1, number // 10 + 1) for number in range(partitions)]
    with scratch() as folder:
        _write_sales(folder / "in", keys)
        spec = spec_in(
            folder,
            name="simulated",
            partition_by=["store", "item"],
            source={"parquet": str(folder / "in")},
            columns={"time": "date", "target": "units"},
            prepare={"gaps": "forward"},
            horizon=AHEAD,
            candidates=SIMULATED,
            backtest={"folds": 3},
        )
        mm = ManyModels(spec)
        mm.run()
        rows = mm.predictions.select("store", "item", "date", "prediction").orderBy("date").toPandas()
        silver = (
            mm.job.lake.read("silver").select("store", "item", "date", "units").orderBy("date").toPandas()
        )
    truth = {key: _truth(group) for key, group in rows.groupby(["store", "item"])}
    chosen = {key: group["prediction"].to_numpy() for key, group in rows.groupby(["store", "item"])}
    history = {key: group for key, group in silver.groupby(["store", "item"]) if key in truth}
    errors = np.array(
        [[_error(truth[key], found[key]) for key in history] for found in _fit_all(spec, history).values()]
    )
    ours = float(np.mean([_error(truth[key], chosen[key]) for key in history]))
    oracle = float(errors.min(axis=0).mean())
    return {
        "regret": ours / oracle - 1,
        "regret_one_family": float(errors.mean(axis=1).min()) / oracle - 1,
        "wape_truth": ours,
    }


def _error(truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.abs(truth - predicted).sum() / truth.sum())


def _truth(rows: pd.DataFrame) -> np.ndarray:
    """The expected units of the predicted days."""
    store, item = int(rows["store"].iloc[0]), int(rows["item"].iloc[0])
    known = plan(SEED, store, item, DAYS + AHEAD)
    return expected_units(SEED, store, item, known[known["date"].isin(rows["date"])])


def _write_sales(folder: Path, keys: list[tuple[int, int]]) -> None:
    folder.mkdir()
    frames = [sales_of(SEED, store, item, DAYS).assign(store=store, item=item) for store, item in keys]
    pd.concat(frames, ignore_index=True).to_parquet(
        folder / "sales.parquet", index=False, coerce_timestamps="us"
    )


def _families(spec: Spec, train: Series) -> dict[str, Series]:
    """Each candidate of the spec alone, by its label, fitted once on every series."""
    return _fit_all(
        spec,
        {
            name: pd.DataFrame(
                {"week": pd.date_range("1970-01-04", periods=len(values), freq="7D"), "value": values}
            )
            for name, values in train.items()
        },
    )


def _fit_all(spec: Spec, history: dict[Any, pd.DataFrame]) -> dict[str, dict[Any, np.ndarray]]:
    """Forecasts by candidate and series, from a process per core."""
    problem, found = Problem.of(spec), {}
    with ProcessPoolExecutor(cores(), mp_context=get_context("spawn")) as pool:
        for candidate in spec.candidates:
            one = partial(_fit_one, candidate, problem)
            found[label(candidate)] = dict(
                zip(history, pool.map(one, history.values(), chunksize=8), strict=True)
            )
    return found


def _fit_one(candidate: Candidate, problem: Problem, rows: pd.DataFrame) -> np.ndarray:
    """One family's forecast of one series; the last value where the family cannot be fitted or has too few
    rows.
    """
    family = registry.build(candidate)
    times = pd.date_range(
        rows[problem.time].iloc[-1],
        periods=problem.horizon + 1,
        freq="7D" if problem.frequency == "W" else "D",
    )
    last = np.repeat(rows[problem.target].iloc[-1], problem.horizon)
    if len(rows) < family.min_rows(problem):
        return last
    try:
        with np.errstate(all="ignore"):
            return family.predict(family.fit(rows, problem), pd.DataFrame({problem.time: times[1:]}), problem)
    except Exception:
        return last


def _coverage(rows: pd.DataFrame, test: Series, level: int) -> float:
    """The share of test values inside the interval."""
    actual = np.concatenate([test[str(name)] for name in rows["series"].unique()])
    return float(((actual >= rows[f"lower_{level}"]) & (actual <= rows[f"upper_{level}"])).mean())


def _spec(arguments: argparse.Namespace, folder: Path, train: Series) -> Spec:
    """The shipped spec with its tables in a scratch folder, and what the arguments change."""
    data = arguments.data
    if arguments.series:
        data = folder
        rows = (arguments.data / "train.csv").read_text().splitlines()
        (folder / "train.csv").write_text("\n".join(rows[: len(train) + 1]))
    os.environ["M4_DATA"] = str(data.absolute())
    shipped: dict[str, Any] = load_spec(SPEC).model_dump(
        by_alias=True, exclude={"lake", "warehouse", "mlflow"}
    )
    if arguments.combine:
        shipped["combine"] = arguments.combine
    if arguments.candidates:
        wanted = arguments.candidates.split(",")
        shipped["candidates"] = [c for c in shipped["candidates"] if c["family"] in wanted]
    return spec_in(folder, **shipped)


def _wide(path: Path) -> Series:
    table = pd.read_csv(path, index_col=0)
    return {str(name): row.dropna().to_numpy(float) for name, row in table.iterrows()}


def _table(rows: list[tuple[str, Any]]) -> str:
    lines = [f"{'method':<90} {'sMAPE':>7} {'MASE':>7} {'OWA':>7}"]
    for name, figures in rows:
        lines.append(
            f"{name:<90} "
            + " ".join(f"{'':>7}" if figure is None else f"{figure:>7.3f}" for figure in figures)
        )
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get("M4_DATA")
    parser.add_argument("--data", type=Path, default=Path(default) if default else None)
    parser.add_argument("--m3-every", type=int, default=1, help="take each so-many-th series of M3")
    parser.add_argument("--peers", type=int, default=20, help="statsforecast's mean for so-many-th of these")
    parser.add_argument("--only-m3", action="store_true", help="neither M4 nor simulated sales")
    parser.add_argument("--workers", type=int, default=cores(), help="processes for M3")
    parser.add_argument("--combine")
    parser.add_argument("--candidates")
    parser.add_argument("--series", type=int)
    parser.add_argument("--partitions", type=int, default=100, help="simulated partitions")
    return parser.parse_args()


if __name__ == "__main__":
    main()
