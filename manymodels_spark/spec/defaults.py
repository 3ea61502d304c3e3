"""The candidates of a spec that names none: for forecasts a choice for each frequency, combined.

Each choice was made by backtests inside training parts only: of M1 and Tourism (yearly to monthly), of
hourly and daily series in the open, and of the M4 competition's weekly series; see docs/decisions for what
was compared. Weekly seasons are spelled out, since most families are better off without one of 52 steps.
"""

from __future__ import annotations

from typing import Any

from manymodels_spark.spec.frequency import canonical

Candidates = list[dict[str, dict[str, Any]]]

BY_TASK: dict[str, Candidates] = {
    "forecast": [{"auto_ets": {}}, {"theta": {}}, {"seasonal_naive": {}}],
    "regression": [{"gradient_boosting": {}}, {"linear": {}}],
    "classification": [{"gradient_boosting": {}}, {"linear": {}}],
}
# For series without demand at most steps, which are judged by RMSSE: `backtest.rule_out` sees to both.
INTERMITTENT: Candidates = [{"croston": {"variant": "sba"}}, {"tsb": {}}]
YEARLY: Candidates = [{"drift": {}}, {"auto_theta": {}}, {"auto_ces": {}}]
QUARTERLY: Candidates = [
    {"auto_theta": {}},
    {"auto_ets": {}},
    {"auto_ces": {}},
    {"mstl": {"log": True, "trend": "theta"}},
]
MONTHLY: Candidates = [
    {"dynamic_theta": {}},
    {"auto_ets": {}},
    {"auto_ets": {"model": "AAA", "damped": True}},
    {"auto_ces": {}},
    {"mstl": {"log": True, "trend": "theta"}},
    *INTERMITTENT,
]
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
HOURLY: Candidates = [
    {"seasonal_naive": {"season": 168}},
    {"mstl": {"seasons": [24, 168], "last": 672, "log": True}},
    {"linear": {"lags": [1, 2, 3, 24, 168], "calendar": False}},
    {"linear": {"lags": [*range(1, 25), 48, 168], "log": True}},
    *INTERMITTENT,
]
DAILY: Candidates = [
    {"mstl": {"seasons": [7], "last": 112, "log": True, "trend": "theta"}},
    {"linear": {"lags": [*range(1, 9), 14, 21, 28], "log": True}},
    {"prophet": {"seasonality_mode": "multiplicative"}},
    *INTERMITTENT,
]
# How the candidates of each frequency are combined; where there are more than members, the best by the folds.
FORECASTS: dict[str, tuple[str, Candidates]] = {
    **dict.fromkeys(("YS", "YE"), ("median_best_3", YEARLY)),
    **dict.fromkeys(("QS", "QE"), ("mean_best_4", QUARTERLY)),
    **dict.fromkeys(("MS", "ME"), ("median_best_5", MONTHLY)),
    "D": ("weighted_best_3", DAILY),
    "h": ("weighted_best_4", HOURLY),
    "W": ("weighted_best_6", WEEKLY),
}


def with_candidates(data: dict[str, Any]) -> dict[str, Any]:
    """A spec's raw data with the default candidates of its task, and those of a forecast combined as suits
    its frequency.
    """
    task, columns = data.get("task", "forecast"), data.get("columns")
    frequency = columns.get("frequency", "D") if isinstance(columns, dict) else None
    known = FORECASTS.get(canonical(str(frequency))) if task == "forecast" else None
    if known is None:
        return {**data, "candidates": BY_TASK.get(task, [])}
    combine, candidates = known
    found = {"combine": combine, **data, "candidates": candidates}
    backtest = data.get("backtest") or {}
    if INTERMITTENT[0] in candidates and isinstance(backtest, dict):
        found["backtest"] = {"rule_out": True, **backtest}
    return found
