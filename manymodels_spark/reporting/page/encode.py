"""The partitions and the details as compressed text for the page's script:
columns instead of rows, repeats once.
"""

from __future__ import annotations

import base64
import gzip
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson
import pandas as pd

from manymodels_spark.reporting.records import Detail, ReportData, column

LONGEST = 300
_TEXTS = ("status", "family", "decision")
_NUMBERS = {"value": "metric", "naive": "naive", "previous": "previous", "rows": "rows", "seconds": "seconds"}


def encode(data: ReportData, largest: int) -> tuple[str, int]:
    """Base 64 of compressed JSON of at most `largest` characters, and how many partitions it lists.

    Where not all fit, those with a detail stay, then those without a model,
    then those with the highest error.
    """
    ordered = _most_telling_first(data)
    details = data.details
    listed = len(ordered)
    while True:
        text = _pack(data, ordered.head(listed), details)
        if len(text) <= largest or (not listed and not details):
            return text, listed
        listed, details = (
            int(listed * min(0.9, largest / len(text))),
            _half(details) if listed < 1000 else details,
        )


def _pack(data: ReportData, partitions: pd.DataFrame, details: dict[str, Detail]) -> str:
    shown = partitions.sort_index()
    content = {
        "metric": data.metric,
        "higher": data.higher_is_better,
        "target": data.target,
        "keys": list(data.partition_by),
        "ids": shown["partition_id"].tolist(),
        "key": [_once(shown[column(name)]) for name in data.partition_by],
        "fresh": [int(bool(value)) for value in shown["fresh"]],
        **{name: _once(shown[name]) for name in _TEXTS},
        **{name: [rounded(value) for value in shown[source]] for name, source in _NUMBERS.items()},
        "details": {partition: _detail(detail) for partition, detail in details.items()},
    }
    return base64.b64encode(gzip.compress(orjson.dumps(content), 6, mtime=0)).decode()


def _most_telling_first(data: ReportData) -> pd.DataFrame:
    """The partitions, numbered by their place in the list,
    in the order in which they may be left out at the end.
    """
    frame = data.partitions.reset_index(drop=True)
    error = frame["metric"].astype(float) * (-1 if data.higher_is_better else 1)
    marked = frame.assign(
        _detail=~frame["partition_id"].isin(data.details.keys()),
        _model=error.notna(),
        _error=-error.fillna(math.inf),
    )
    return marked.sort_values(["_detail", "_model", "_error"], kind="stable").drop(
        columns=["_detail", "_model", "_error"]
    )


def _once(values: pd.Series) -> dict[str, Any]:
    """Each different text once, and for every row its number; -1 where there is none."""
    codes, texts = pd.factorize(values)
    return {"texts": [clipped(str(text)) for text in texts], "rows": codes.tolist()}


def _detail(detail: Detail) -> dict[str, Any]:
    levels = sorted({level for _, _, bands in detail.forecast for level in bands})
    bands = {
        str(level): [
            [rounded(bound) for bound in one.get(level, (None, None))] for _, _, one in detail.forecast
        ]
        for level in levels
    }
    return {
        "history": [[time, rounded(value)] for time, value in detail.history],
        "folds": [[start, *map(rounded, values)] for start, values in detail.curves()],
        "forecast": [[time, rounded(value)] for time, value, _ in detail.forecast],
        "bands": bands,
        "scores": [_finite(score) for score in detail.scores],
        **{name: clipped(text, 2000) for name, text in _said(detail) if text},
    }


def _said(detail: Detail) -> Iterable[tuple[str, str | None]]:
    names = ("champion", "decision", "message", "advice", "unscored", "caution")
    return ((name, getattr(detail, name)) for name in names)


def _finite(value: Any) -> Any:
    """The same with every number rounded and every NaN as null, whatever it is nested in."""
    if isinstance(value, dict):
        return {str(name): _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return (
        rounded(value)
        if isinstance(value, float)
        else clipped(value, 500)
        if isinstance(value, str)
        else value
    )


def rounded(value: Any) -> float | int | None:
    """Five significant digits of a float, whole numbers as they are, None for what is no finite number."""
    if isinstance(value, (int, np.integer)):
        return int(value)
    if value is None or value is pd.NA or not math.isfinite(value):
        return None
    short = float(f"{value:.5g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def clipped(text: str, longest: int = LONGEST) -> str:
    """The text, or its start and an ellipsis."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _half(details: dict[str, Detail]) -> dict[str, Detail]:
    return dict(list(details.items())[: len(details) // 2])
