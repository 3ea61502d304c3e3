"""What a notebook shows, and how a person names a partition in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import make_spec
from hypothesis import given
from hypothesis import strategies as st

from manymodels_spark.display import html_table
from manymodels_spark.errors import ManyModelsError
from manymodels_spark.lake.find_partition import named_values
from manymodels_spark.stages.pipeline import RunReport
from manymodels_spark.stages.runs.job import StageReport


def test_a_table_escapes_what_it_is_given_and_writes_numbers_for_people() -> None:
    page = html_table(
        "<b>", [("<script>", 12345), ("share", 0.12345), ("none", None), ("yes", True)], ("a", "&")
    )
    assert "<script>" not in page and "&lt;script&gt;" in page and "&lt;b&gt;" in page and "&amp;" in page
    assert "12,345" in page and "0.123" in page and "–" in page and "True" in page


def test_a_spec_and_runs_show_themselves(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, candidates=["theta", "seasonal_naive"])
    shown = spec._repr_html_()
    assert (
        "forecast of units, 7 ahead" in shown and "theta, seasonal_naive" in shown and "store, item" in shown
    )
    stage = StageReport("train", "r1", {"fitted": 1200}, calls=2400, seconds=61.25, note="1200 fitted <b>")
    assert "1,200" in stage._repr_html_() and "61.2" in stage._repr_html_()
    assert "1200 fitted &lt;b&gt;" in RunReport((stage,))._repr_html_()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("store=3, item=7", {"store": "3", "item": "7"}),
        ("item = 7;store= 3", {"store": "3", "item": "7"}),
        ("store=a, b, item=c=d", {"store": "a, b", "item": "c=d"}),
        ("store=New York item=é", {"store": "New York", "item": "é"}),
    ],
)
def test_a_partition_is_named_by_its_columns_in_any_order(text: str, values: dict[str, str]) -> None:
    assert named_values(text, ["store", "item"]) == values


@pytest.mark.parametrize("text", ["", "store=3", "3, 7", "store=3, store=4, item=7", "shop=3, item=7"])
def test_what_names_no_single_partition_says_what_is_expected(text: str) -> None:
    with pytest.raises(ManyModelsError, match=r"Give a value for each column: 'store=..., item=...'"):
        named_values(text, ["store", "item"])


@given(st.integers(), st.integers())
def test_a_name_survives_being_written_and_read(store: int, item: int) -> None:
    assert named_values(f"store={store}, item={item}", ["store", "item"]) == {
        "store": str(store),
        "item": str(item),
    }
