"""The report's page from plain records: it tells the truth, whatever the records are, and lets no markup
through.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
from report_builders import partitions_of, report_of

from manymodels_spark.reporting import figures, svg
from manymodels_spark.reporting import records as r
from manymodels_spark.reporting.page import render

SCRIPT = "<script>alert(1)</script>"


class Tags(HTMLParser):
    """Counts tags and keeps addresses that would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.count: dict[str, int] = {}
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.fetched += [
            value or ""
            for name, value in attrs
            if name in ("src", "href") and not (value or "").startswith("#")
        ]


def read(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="text/plain">([^<]*)</script>', page)
    assert found
    parsed: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(found.group(1))))
    return parsed


def test_a_script_in_a_key_a_message_or_a_family_stays_text() -> None:
    frame = partitions_of(4).assign(**{r.column("item"): SCRIPT, "family": SCRIPT})
    frame["status"] = [r.FITTED, r.FITTED, r.FITTED, r.FAILED]
    score = {"candidate": SCRIPT, "metrics": {}, "folds": [], "seconds": 0, "error": SCRIPT}
    data = report_of(
        frame,
        spec=SCRIPT,
        stages=[r.StageRow("train", "r1", "done", "2026-11-24", 3.0, 9, SCRIPT)],
        quarantine=[r.QuarantineRow("fit_failed", 1, SCRIPT, ((SCRIPT, SCRIPT),))],
        champions=[r.ShareRow(SCRIPT, 3)],
        decisions=[r.ShareRow("refused", 1, SCRIPT)],
        details={"p0": r.Detail(decision=SCRIPT, scores=[score])},
    )
    page = render(data)
    tags = read(page)
    assert tags.count["script"] == 2
    assert tags.fetched == []
    assert "alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert data_of(page)["key"][1]["texts"] == [SCRIPT]


def test_a_sum_that_does_not_add_up_is_said() -> None:
    run = r.TrainRow(
        "r1", "done", "2026-11-24", 3.0, {"partitions": 10, "fitted": 6, "unchanged": 1, "quarantined": 1}
    )
    page = render(report_of(partitions_of(10), training=[run]))
    assert "10 in = 6 fitted + 1 unchanged + 1 in quarantine" in page
    assert "does not add up: 2 missing" in page


def test_a_run_without_one_success_says_so_and_shows_the_reasons() -> None:
    frame = partitions_of(3).assign(
        status=r.FAILED, family=None, metric=math.nan, naive=math.nan, decision=None
    )
    run = r.TrainRow(
        "r1", "done", "2026-11-24", 3.0, {"partitions": 3, "fitted": 0, "unchanged": 0, "quarantined": 3}
    )
    reasons = [r.QuarantineRow("too_short", 3, "Shorten the horizon", (("item=1", "3 rows"),))]
    page = render(report_of(frame, training=[run], quarantine=reasons))
    assert "Not one partition has a model" in page
    assert "No partition has a value of it." in page
    assert "too_short" in page and "Shorten the horizon" in page
    assert data_of(page)["value"] == [None, None, None]


def test_an_interrupted_run_is_not_called_final() -> None:
    page = render(report_of(partitions_of(3), training=[r.TrainRow("r1", "running", "2026-11-24", 0.0, {})]))
    assert "r1) is running: its counts are not final" in page


def test_metrics_that_are_no_numbers_are_counted_and_left_out_of_every_picture() -> None:
    frame = partitions_of(6)
    frame["metric"] = [0.1, math.nan, 0.2, math.inf, 0.3, None]
    page = render(report_of(frame))
    assert "Without a value of it: 3 partitions with a model" in page
    assert "wape of 3 partitions" in page
    assert data_of(page)["value"] == [0.1, None, 0.2, None, 0.3, None]
    assert "NaN" not in re.sub(r"<script.*?</script>|'sha256-[^']*'", "", page, flags=re.DOTALL)


def test_one_partition_and_none_at_all_still_make_a_page() -> None:
    assert "wape of 1 partition<" in render(report_of(partitions_of(1)))
    assert data_of(render(report_of(partitions_of(0))))["ids"] == []


def test_fifty_thousand_partitions_stay_under_ten_megabytes_and_are_all_listed() -> None:
    frame = partitions_of(50_000)
    # Ids as long and as random as real ones, and keys that repeat little: what compresses worst.
    frame["partition_id"] = [
        hashlib.sha256(partition.encode()).hexdigest()[:20] for partition in frame["partition_id"]
    ]
    frame[r.column("item")] = [f"article-{partition[:10]}" for partition in frame["partition_id"]]
    page = render(report_of(frame))
    assert len(page.encode()) < 10_000_000
    assert len(data_of(page)["ids"]) == 50_000


def test_what_does_not_fit_is_left_out_from_the_low_errors_and_the_page_says_how_much() -> None:
    frame = partitions_of(5_000)
    page = render(report_of(frame, details={"p17": r.Detail()}), largest=20_000)
    content = data_of(page)
    left_out = 5_000 - len(content["ids"])
    assert left_out > 0
    assert f"Not listed: {left_out:,} partitions with a low error" in page
    assert "p17" in content["ids"]
    others = [
        value for partition, value in zip(content["ids"], content["value"], strict=True) if partition != "p17"
    ]
    assert min(others) >= float(np.sort(frame["metric"])[left_out - 2]) - 1e-4


def test_best_worst_and_most_changed_are_picked_by_the_direction_of_the_metric() -> None:
    frame = partitions_of(4)
    frame["metric"], frame["previous"] = [0.4, 0.1, 0.3, 0.2], [0.4, 0.9, math.nan, 0.3]
    lower = figures.pick(frame, 2, higher_is_better=False)
    assert (lower.best, lower.worst, lower.changed) == (["p1", "p3"], ["p0", "p2"], ["p1", "p3"])
    few = figures.pick(frame.head(3), 15, higher_is_better=False)
    assert (few.best, few.worst) == (["p1"], ["p0", "p2"]), "of few, none is both"
    higher = figures.pick(frame, 2, higher_is_better=True)
    assert (higher.best, higher.worst) == (["p0", "p2"], ["p1", "p3"])


def test_one_wild_value_does_not_flatten_the_histogram() -> None:
    found = figures.histogram([*np.linspace(0, 1, 300), 1e9])
    assert found is not None
    assert found.edges[-1] <= 1.0 and found.clipped
    assert sum(found.counts) == 301


def test_the_worst_partitions_are_drawn_with_history_forecast_interval_and_their_folds() -> None:
    frame = partitions_of(3)
    frame["family"] = "theta"
    frame["metric"] = [0.9, 0.2, 0.1]
    near = r.Detail(
        history=[("2026-01-01", 1.0), ("2026-01-02", None), ("2026-01-03", 3.0)],
        folds=[[("2026-01-03", 2.123456)], [("2026-01-01", 1.5), ("2026-01-03", 2.5)]],
        forecast=[
            ("2026-01-04", 2.0, {80: (1.0, 3.0), 95: (0.0, 4.0)}),
            ("2026-01-05", 2.0, {80: (1.0, 3.0), 95: (0.0, 4.0)}),
        ],
        scores=[
            {
                "candidate": "theta",
                "metrics": {"wape": 0.9},
                "folds": [{"wape": 0.875}, {"wape": 0.925}],
                "seconds": 1,
                "error": None,
            }
        ],
    )
    page = render(report_of(frame, details={"p0": near}))
    worst = page[page.index("<h3>Worst</h3>") : page.index("<h3>Best</h3>")]
    row = worst[worst.index("#p-p0") : worst.index("#p-p1")]
    assert row.count('class="spark"') == 1 and row.count('class="band"') == 1
    assert re.search(r'class="history" d="M[\d.,]+M[\d.,]+"', row), "a missing value is a gap"
    assert row.count('class="fold"') == 2
    assert re.search(r'class="fold" d="M0.0,[\d.]+M130.0,[\d.]+"', row), (
        "a step without a prediction is a gap"
    )
    assert data_of(page)["details"]["p0"]["folds"] == [[2, 2.1235], [0, 1.5, None, 2.5]]
    assert 'class="key fold-key">backtest folds' in page
    assert "0.875  0.925" in row
    assert "–" in worst[worst.index("#p-p1") :], "a partition whose rows are not held has no drawing"


def test_coverage_is_marked_against_what_was_promised() -> None:
    page = render(report_of(partitions_of(3), coverage=[r.CoverageRow(80, 3, 0.7, 0.6, 0.9)]))
    assert '<rect class="goal" x="79.50"' in page
    assert "70.0 %" in page


def test_a_heat_map_holds_the_median_of_each_cell_in_natural_order() -> None:
    frame = partitions_of(4)
    frame[r.column("store")], frame[r.column("item")] = ["2", "10", "2", "2"], ["a", "a", "b", "b"]
    frame["metric"] = [0.1, 0.2, 0.3, 0.5]
    found = figures.grid(frame, "store", "item")
    assert found is not None
    assert (found.rows, found.columns) == (("2", "10"), ("a", "b"))
    np.testing.assert_allclose(found.values, [[0.1, 0.4], [0.2, math.nan]])


def test_numbers_are_written_with_three_digits() -> None:
    values = [0, 0.123456, 12.345, 123456.7, math.nan, None, -0.05]
    assert [svg.number(value) for value in values] == ["0", "0.123", "12.3", "123,457", "–", "–", "-0.0500"]


def test_a_partition_column_may_have_the_name_of_one_of_ours() -> None:
    frame = partitions_of(3).rename(columns={r.column("store"): r.column("metric")})
    content = data_of(render(report_of(frame, partition_by=["metric", "item"])))
    assert content["keys"] == ["metric", "item"]
    assert pd.Series(content["value"]).between(0, 2).all()
