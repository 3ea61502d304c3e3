"""Builders of a report's records: many partitions with plausible numbers, the same on every call."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from manymodels_spark.reporting import records as r


def partitions_of(count: int) -> pd.DataFrame:
    """`count` fitted partitions p0, p1, ... by store and item with a wape around 0.4."""
    draw = np.random.default_rng(7)
    metric = draw.gamma(4, 0.1, count)
    return pd.DataFrame(
        {
            "partition_id": [f"p{n}" for n in range(count)],
            "status": r.FITTED,
            "family": [["prophet", "theta", "seasonal_naive"][n % 3] for n in range(count)],
            "metric": metric,
            "naive": metric * draw.uniform(1, 2, count),
            "previous": math.nan,
            "rows": 1000,
            "seconds": draw.uniform(0.1, 0.3, count),
            "decision": "promoted",
            "fresh": True,
            r.column("store"): [str(n // 100) for n in range(count)],
            r.column("item"): [str(n % 100) for n in range(count)],
        }
    )


def report_of(partitions: pd.DataFrame, **changes: Any) -> r.ReportData:
    """A report about these partitions; `changes` replace parts."""
    parts: dict[str, Any] = {
        "spec": "sales",
        "task": "forecast",
        "metric": "wape",
        "higher_is_better": False,
        "partition_by": ["store", "item"],
        "target": "units",
        "horizon": 7,
        "made_at": "2026-11-24 03:10 UTC",
        "cores": 2,
        "partitions": partitions,
    }
    return r.ReportData(**{**parts, **changes})
