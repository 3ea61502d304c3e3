"""Many partitions of clean sales as Parquet files, for benchmarks: written file by file, so that memory stays
small.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from manymodels_spark.simulate.sales import sales_of

STORES = 100


def write_parquet(folder: Path, *, partitions: int, days: int, seed: int = 7, files: int = 16) -> int:
    """Write `partitions` series of about `days` rows into `files` Parquet files; the number of rows written.

    Columns: store, item, date, units, promotion, price. Each file holds whole partitions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    keys = [(number % STORES + 1, number // STORES + 1) for number in range(partitions)]
    rows = 0
    for number in range(files):
        frames = [
            sales_of(seed, store, item, days).assign(store=store, item=item)
            for store, item in keys[number::files]
        ]
        if frames:
            table = pd.concat(frames, ignore_index=True)
            # Spark reads no nanoseconds.
            table.to_parquet(folder / f"part-{number:04d}.parquet", index=False, coerce_timestamps="us")
            rows += len(table)
    return rows
