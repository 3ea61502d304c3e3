"""The metrics that a spec may name, by task; the first of a task is its default.

Their formulas are in `modeling.metrics`.
"""

from __future__ import annotations

from typing import Literal

Metric = Literal[
    "wape", "smape", "mase", "mae", "rmse", "rmsse", "bias", "pinball",
    "accuracy", "f1", "auc", "logloss", "r2"
]  # fmt: skip
HIGHER_IS_BETTER = frozenset({"accuracy", "f1", "auc", "r2"})
TASK_METRICS: dict[str, tuple[Metric, ...]] = {
    "forecast": ("wape", "smape", "mase", "mae", "rmse", "rmsse", "bias", "pinball"),
    "regression": ("rmse", "mae", "wape", "smape", "bias", "r2"),
    "classification": ("logloss", "accuracy", "f1", "auc"),
}
