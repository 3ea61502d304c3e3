"""Small helpers around pandas frames that several layers share."""

from __future__ import annotations

from typing import Any

import pandas as pd


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dicts from column name to value, in order."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
