"""The M4 competition's weekly series through the whole job: sMAPE, MASE and OWA beside the published table.

    python -m benchmarks.m4 --data DIR        DIR holds train.csv and test.csv of the 359 series

`--combine best` chooses one family a series; `--candidates a,b` tries only these; `--series 40` takes the first 40.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.common import clock, emit, scratch
from manymodels_spark import ManyModels, Spec
from manymodels_spark.check import load_spec

SPEC = Path(__file__).parents[1] / "conf" / "m4_weekly.yaml"
HORIZON = 13
# Published for these series: M4-methods, 'Evaluation and Ranks.xlsx', sheet 'Point Forecasts-Frequency'.
PUBLISHED = [
    ("Naive2", 9.161, 2.777, 1.000),
    ("SES", 9.012, 2.685, 0.975),
    ("Holt", 9.708, 2.420, 0.966),
    ("Damped", 8.866, 2.404, 0.917),
    ("Theta", 9.093, 2.637, 0.971),
    ("Comb (SES, Holt, Damped)", 8.944, 2.432, 0.926),
    ("winner overall (118)", 7.817, None, 0.851),
    ("second overall (245)", 7.625, None, 0.796),
    ("best of 61 on weekly series (235)", None, None, 0.739),
]
NAIVE2_SMAPE, NAIVE2_MASE = 9.161, 2.777


def main() -> None:
    """Run the job, judge its predictions, print the table and the line of JSON."""
    arguments = _arguments()
    train, test = _wide(arguments.data / "train.csv"), _wide(arguments.data / "test.csv")
    if arguments.series:
        train = dict(list(train.items())[: arguments.series])
    with scratch() as folder, clock() as took:
        predictions, counts = _run(_spec(arguments, folder, train))
    ours = scores(train, test, predictions)
    naive = scores(train, test, {name: np.repeat(values[-1], HORIZON) for name, values in train.items()})
    print(_table(ours, naive))
    emit("m4", workload={"series": len(train), "combine": arguments.combine or "as the spec"}, smape=ours[0], mase=ours[1],
         owa=ours[2], naive_owa=naive[2], seconds=took.seconds, **counts)


def scores(train: dict[str, np.ndarray], test: dict[str, np.ndarray], predicted: dict[str, np.ndarray]) -> tuple[float, float, float]:
    """SMAPE (percent), MASE with m = 1 and OWA against Naive2's published figures, means over the series."""
    smape, mase = [], []
    for name, values in train.items():
        actual, forecast = test[name], predicted[name]
        error = np.abs(actual - forecast)
        smape.append(200 * np.mean(error / (np.abs(actual) + np.abs(forecast))))
        mase.append(np.mean(error) / np.mean(np.abs(np.diff(values))))
    return float(np.mean(smape)), float(np.mean(mase)), float(np.mean(smape) / NAIVE2_SMAPE + np.mean(mase) / NAIVE2_MASE) / 2


def _run(spec: Spec) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    mm = ManyModels(spec)
    report = mm.run()
    rows = mm.predictions.select("series", "week", "prediction").orderBy("series", "week").toPandas()
    found = {str(name): group["prediction"].to_numpy(float) for name, group in rows.groupby("series")}
    print(mm.champions.groupBy("family").count().orderBy("count", ascending=False).toPandas().to_string(index=False))
    kept = ("partitions", "fitted", "unchanged", "quarantined")
    return found, {name: report["train"].counts[name] for name in kept}


def _spec(arguments: argparse.Namespace, folder: Path, train: dict[str, np.ndarray]) -> Spec:
    """The shipped spec with its tables in a scratch folder, and what the arguments change."""
    data = arguments.data
    if arguments.series:
        data = folder
        rows = (arguments.data / "train.csv").read_text().splitlines()
        (folder / "train.csv").write_text("\n".join(rows[: len(train) + 1]))
    os.environ["M4_DATA"] = str(data.absolute())
    parts: dict[str, Any] = load_spec(SPEC).model_dump(by_alias=True)
    parts |= {
        "lake": str(folder / "lake"),
        "warehouse": {"kind": "duckdb", "path": str(folder / "warehouse.duckdb")},
        "mlflow": {"development": {"tracking": f"sqlite:///{folder}/dev.db", "artifacts": str(folder / "dev")},
                   "production": {"tracking": f"sqlite:///{folder}/prod.db", "artifacts": str(folder / "prod")}},
    }  # fmt: skip
    if arguments.combine:
        parts["combine"] = arguments.combine
    if arguments.candidates:
        wanted = arguments.candidates.split(",")
        parts["candidates"] = [c for c in parts["candidates"] if c["family"] in wanted]
    return Spec.model_validate(parts)


def _wide(path: Path) -> dict[str, np.ndarray]:
    table = pd.read_csv(path, index_col=0)
    return {str(name): row.dropna().to_numpy(float) for name, row in table.iterrows()}


def _table(ours: tuple[float, float, float], naive: tuple[float, float, float]) -> str:
    rows = [*PUBLISHED, ("naive, by this harness", *naive), ("one champion per series (this run)", *ours)]
    lines = [f"{'method':<36} {'sMAPE':>7} {'MASE':>7} {'OWA':>7}"]
    for name, *figures in rows:
        lines.append(f"{name:<36} " + " ".join(f"{'':>7}" if figure is None else f"{figure:>7.3f}" for figure in figures))
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--combine")
    parser.add_argument("--candidates")
    parser.add_argument("--series", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    main()
