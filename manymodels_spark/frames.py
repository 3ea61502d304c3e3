"""Small helpers around pandas frames that several layers share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandas as pd


def instant(value: Any) -> Any:
    """A time that Spark returned, in UTC: it gives instants on the clock of this process,
    where an hour may come twice.

    What is no time stays as it is.
    """
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dicts from column name to value, in order."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
