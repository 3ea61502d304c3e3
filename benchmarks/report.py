"""The report's file for many partitions: its size, the time to make it, and the time that a browser needs to
open it.

    make bench-report                                 100,000 partitions
    make bench-report ARGS="--partitions 5000"        smaller

Records are generated: ids and keys as random as real ones, 300 partitions with history and forecast.
`open_seconds` is the wall time of headless Chromium until the list is filled, less that of an empty page;
None where there is no Chromium.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import statistics
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.common import clock, emit, scratch
from manymodels_spark.reporting import figures
from manymodels_spark.reporting import records as r
from manymodels_spark.reporting.page import render
from manymodels_spark.reporting.partition_details import HELD

REPEATS = 3


def main() -> None:
    """Make the page, weigh it, open it."""
    arguments = _arguments()
    data = _data(arguments.partitions)
    with scratch() as folder:
        page, empty = folder / "report.html", folder / "empty.html"
        with clock("render") as made:
            page.write_text(render(data), encoding="utf-8")
        empty.write_text("<!doctype html><title>empty</title>", encoding="utf-8")
        opened = _opened(page, empty, folder)
        size = page.stat().st_size
    emit(
        "report",
        workload={"partitions": arguments.partitions, "from_near": len(data.details)},
        bytes=size,
        render_seconds=made.seconds,
        open_seconds=opened,
        small_enough=size < 10_000_000,
        quick_enough=opened is not None and opened < 2,
    )


def _data(count: int) -> r.ReportData:
    draw = np.random.default_rng(7)
    metric = draw.gamma(4, 0.1, count)
    ids = [hashlib.sha256(str(number).encode()).hexdigest()[:20] for number in range(count)]
    stores = max(int(count**0.5), 1)
    frame = pd.DataFrame(
        {
            "partition_id": ids,
            "status": r.FITTED,
            "family": draw.choice(["prophet", "theta", "auto_ets", "seasonal_naive"], count),
            "metric": metric,
            "naive": metric * draw.uniform(1, 2, count),
            "previous": metric * draw.uniform(0.8, 1.2, count),
            "rows": draw.integers(300, 1500, count),
            "seconds": draw.uniform(0.1, 0.6, count),
            "decision": "promoted",
            "fresh": True,
            r.column("store"): [str(number // stores) for number in range(count)],
            r.column("item"): [f"article-{one[:8]}" for one in ids],
        }
    )
    chosen = list(
        dict.fromkeys([*figures.pick(frame, figures.PICKED, higher_is_better=False).ids, *ids[:HELD]])
    )[:HELD]
    return r.ReportData(
        spec="sales",
        task="forecast",
        metric="wape",
        higher_is_better=False,
        partition_by=["store", "item"],
        target="units",
        horizon=28,
        made_at="2026-11-24 03:10 UTC",
        cores=2,
        partitions=frame,
        details={one: _detail(draw) for one in chosen},
    )


def _detail(draw: np.random.Generator) -> r.Detail:
    days = [str(day.date()) for day in pd.date_range("2026-01-01", periods=118)]
    values = draw.uniform(50, 150, 118)
    rows = list(zip(days, map(float, values), strict=True))
    ahead = [
        (day, value, {80: (value * 0.8, value * 1.2), 95: (value * 0.7, value * 1.3)})
        for day, value in rows[90:]
    ]
    folds: list[object] = [{"wape": value} for value in draw.uniform(0.1, 0.5, 3)]
    score: dict[str, object] = {
        "candidate": "theta",
        "metrics": {"wape": 0.3},
        "folds": folds,
        "seconds": 0.4,
        "error": None,
    }
    return r.Detail(history=list(rows[:90]), forecast=ahead, scores=[score])


def _opened(page: Path, empty: Path, folder: Path) -> float | None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        return None

    def seconds(path: Path) -> float:
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--virtual-time-budget=8000",
        ]
        flags.append(f"--user-data-dir={folder / 'profile'}")
        with clock() as took:
            found = subprocess.run(
                [browser, *flags, "--dump-dom", path.as_uri()], capture_output=True, text=True, check=True
            )
        if path is page and "page 1 of" not in found.stdout:
            raise SystemExit("the browser ended before the list was filled")
        return took.seconds

    seconds(empty)
    return statistics.median(seconds(page) for _ in range(REPEATS)) - statistics.median(
        seconds(empty) for _ in range(REPEATS)
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--partitions", type=int, default=100_000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
