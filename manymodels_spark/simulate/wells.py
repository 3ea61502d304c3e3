"""Sensors of wells, and whether a well failed within the week after: rows for classification and
regression.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

PUMPS = ("rod", "esp", "jet")
READINGS_OF_A_WORKOVER = 40


def wells(fields: int, per_field: int, rows: int, seed: int) -> pd.DataFrame:
    """field, well, reading, pressure, temperature, vibration, flow, pump_type, failure_within_7d, workover.

    Failures depend on vibration and pressure by a threshold of each well's own; one reading in fifty of
    temperature is missing. `workover` counts the repairs so far: one in some ten days.
    """
    frames = [
        _well(f"F{field:02d}", well, rows, seed)
        for field in range(1, fields + 1)
        for well in range(1, per_field + 1)
    ]
    return pd.concat(frames, ignore_index=True)


def _well(field: str, well: int, rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng([seed, int(field[1:]), well])
    pressure = rng.normal(rng.uniform(180, 220), 12, rows)
    vibration = rng.gamma(3.0, rng.uniform(0.6, 0.9), rows)
    temperature = 60 + 0.1 * pressure + rng.normal(0, 2, rows)
    risk = 1.8 * (vibration - 3.2) + 0.05 * (pressure - 205) - 1.0
    failed = rng.random(rows) < 1 / (1 + np.exp(-3 * risk))
    temperature[rng.random(rows) < 0.02] = np.nan
    return pd.DataFrame(
        {
            "field": field,
            "well": well,
            "reading": pd.date_range("2024-01-01", periods=rows, freq="6h"),
            "pressure": pressure.round(2),
            "temperature": temperature.round(2),
            "vibration": vibration.round(3),
            "flow": (0.4 * pressure - 3 * vibration + rng.normal(0, 3, rows)).round(2),
            "pump_type": rng.choice(PUMPS, rows),
            "failure_within_7d": np.where(failed, "yes", "no"),
            "workover": np.cumsum(rng.random(rows) < 1 / READINGS_OF_A_WORKOVER),
        }
    )
