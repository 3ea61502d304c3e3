"""The candidates of a spec that names none: three families, or for weekly series a broad choice, combined.

The weekly choice was made by backtests inside the training part of the M4 competition's weekly series; see
docs/decisions for what was compared. Seasons are spelled out, since most families are better off without one
of 52 steps.
"""

from __future__ import annotations

from typing import Any

Candidates = list[dict[str, dict[str, Any]]]

BY_TASK: dict[str, Candidates] = {
    "forecast": [{"auto_ets": {}}, {"theta": {}}, {"seasonal_naive": {}}],
    "regression": [{"gradient_boosting": {}}, {"linear": {}}],
    "classification": [{"gradient_boosting": {}}, {"linear": {}}],
}
# Ten years at most for what gets slow with more: what lies before says little.
WEEKLY: Candidates = [
    {"drift": {}},
    {"holt": {"season": 1, "last": 520}},
    {"auto_ets": {"season": 1, "last": 520}},
    {"mfles": {"season": 52, "last": 520}},
    {"mstl": {"seasons": [52], "last": 520}},
    {"mstl": {"seasons": [52], "last": 520, "trend": "theta"}},
    {"mstl": {"seasons": [52], "last": 520, "trend": "holt", "log": True}},
    {"linear": {"lags": [1, 2, 3, 4, 5, 6, 8, 13]}},
    {"linear": {"lags": [1, 2, 3, 4, 8, 13, 26, 52, 53, 104]}},
    {"linear": {"lags": [13, 14, 15, 26, 39, 51, 52, 53, 65]}},
    {"linear": {"lags": [*range(1, 14), 26, 50, 51, 52, 53, 54, 104], "log": True}},
    {"linear": {"lags": [1, 2, 3, 51, 52, 53], "log": True, "calendar": False}},
]
WEEKLY_COMBINE = "weighted_best_6"


def with_candidates(data: dict[str, Any]) -> dict[str, Any]:
    """A spec's raw data with the default candidates of its task, and for weekly forecasts of their
    combination.
    """
    task, columns = data.get("task", "forecast"), data.get("columns")
    frequency = columns.get("frequency") if isinstance(columns, dict) else None
    if task == "forecast" and str(frequency).startswith(("W", "week")):
        return {"combine": WEEKLY_COMBINE, **data, "candidates": WEEKLY}
    return {**data, "candidates": BY_TASK.get(task, [])}
