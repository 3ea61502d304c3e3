"""What a fit keeps of its folds, beside the rows that it was of."""

from __future__ import annotations

import json
import math

import pytest

from manymodels_spark.reporting import records as r
from manymodels_spark.reporting.folds import placed

ROWS = [
    ("2026-01-01", 1.0),
    ("2026-01-02", 2.0),
    ("2026-01-03", None),
    ("2026-01-04", math.inf),
    ("2026-01-05", 5.0),
    ("2026-01-06", 6.0),
]


def kept(*folds: tuple[str, list[float]]) -> str:
    return json.dumps([{"start": start, "predictions": values} for start, values in folds])


def test_predictions_stand_at_the_rows_that_a_fit_sees_and_so_not_at_those_without_a_target() -> None:
    latest, first = ("2026-01-05T00:00:00", [5.5, 6.5]), ("2026-01-02T00:00:00", [2.5, 3.5])
    assert placed(kept(latest, first), ROWS) == [
        [("2026-01-05", 5.5), ("2026-01-06", 6.5)],
        [("2026-01-02", 2.5), ("2026-01-05", 3.5)],
    ]


@pytest.mark.parametrize("folds", [None, "[]", kept(("2025-12-31T00:00:00", [1.0]))])
def test_folds_that_were_not_kept_or_lie_before_the_rows_are_left_out(folds: str | None) -> None:
    assert placed(folds, ROWS) == []


def test_rows_that_came_since_the_fit_have_no_prediction() -> None:
    assert placed(kept(("2026-01-02T00:00:00", [2.5])), ROWS) == [[("2026-01-02", 2.5)]]


def test_a_curve_is_told_by_the_place_where_it_begins_with_gaps_where_it_has_no_value() -> None:
    near = r.Detail(
        history=list(ROWS), folds=[[("2026-01-02", 2.123456), ("2026-01-05", 3.5)], [("1999-01-01", 1.0)]]
    )
    assert near.curves() == [(1, [2.123456, None, None, 3.5])]
