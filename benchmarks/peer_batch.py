"""The headline's workload by prophet-batch's process pool: the same fits and forecasts, in plain files.

Run by `benchmarks.headline` in an environment of its own; this package is not imported here. Every series is
fitted without its last fold, forecast over it, fitted on all rows, and forecast ahead, without intervals
(which prophet-batch would sample). Nothing is shuffled, kept or tracked.

    python peer_batch.py FOLDER HORIZON CORES
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pandas as pd


def main() -> None:
    """Print the seconds that all series of the folder's Parquet files took."""
    from prophet_batch import Pool  # type: ignore[import-not-found, unused-ignore]

    folder, horizon, cores = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    options = {"weekly_seasonality": True, "yearly_seasonality": True, "daily_seasonality": False}
    options |= {"uncertainty_samples": 0, "include_history": False, "columns": ["ds", "yhat"]}
    rows = pd.read_parquet(folder)
    rows["unique_id"] = rows["store"].astype(str) + "/" + rows["item"].astype(str)
    frame = rows.rename(columns={"date": "ds", "units": "y"})[["unique_id", "ds", "y"]].dropna()
    frame = frame.sort_values(["unique_id", "ds"], ignore_index=True)
    judged = frame[frame.groupby("unique_id").cumcount(ascending=False) >= horizon]
    with Pool(cores) as pool:
        few = frame[frame["unique_id"].isin(frame["unique_id"].unique()[: 2 * cores])]
        pool.forecast_many(few, horizon, **options)
        began = time.perf_counter()
        for part, name in ((judged, "folds"), (frame, "ahead")):
            pool.forecast_many(part, horizon, **options).to_parquet(folder.parent / f"{name}.parquet")
        print(json.dumps(time.perf_counter() - began))


if __name__ == "__main__":
    main()
