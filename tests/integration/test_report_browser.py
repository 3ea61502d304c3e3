"""The report in a real browser: Chromium opens the file, its script fills the list, nothing complains."""

from __future__ import annotations

import math
import re
import struct
from html import unescape
from pathlib import Path

import pytest
from browser import CHROMIUM, MISSING, new_page
from playwright.sync_api import Page
from report_builders import partitions_of, report_of

from manymodels_spark.reporting import records as r
from manymodels_spark.reporting.page import render

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)

SCRIPT = "<script>document.title='broken into'</script>"
DETAIL = r.Detail(
    history=[(f"2026-01-{day:02d}", 10.0 + day % 7 if day != 5 else None) for day in range(1, 31)],
    folds=[
        [(f"2026-01-{day:02d}", 11.0) for day in range(24, 31)],
        [(f"2026-01-{day:02d}", 12.5) for day in range(1, 11) if day != 5],
    ],
    forecast=[(f"2026-01-{day:02d}", 12.0, {80: (9.0, 15.0), 95: (7.0, 17.0)}) for day in (31,)]
    + [("2026-02-01", 13.0, {80: (10.0, 16.0), 95: (8.0, 18.0)})],
    scores=[
        {
            "candidate": "theta",
            "metrics": {"wape": 0.2},
            "folds": [{"wape": 0.1}, {"wape": 0.3}],
            "seconds": 0.5,
            "error": None,
        },
        {"candidate": SCRIPT, "metrics": {"wape": math.nan}, "folds": [], "seconds": 0.0, "error": SCRIPT},
    ],
    decision="promoted: held: wape 0.2 below 0.6",
)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    frame = partitions_of(120)
    frame[r.column("item")] = [SCRIPT if n == 3 else str(n % 100) for n in range(120)]
    frame["status"] = [r.FAILED if n == 7 else r.FITTED for n in range(120)]
    run = r.TrainRow(
        "r1",
        "done",
        "2026-11-24 03:10:00",
        60.0,
        {"partitions": 120, "fitted": 119, "unchanged": 0, "quarantined": 1},
        40.0,
    )
    data = report_of(
        frame, training=[run], details={"p3": DETAIL}, coverage=[r.CoverageRow(80, 119, 0.79, 0.7, 0.9)]
    )
    path = tmp_path / "report.html"
    path.write_text(render(data), encoding="utf-8")
    return path


def test_the_list_is_filled_and_a_link_opens_a_partition_from_near(report: Path) -> None:
    with new_page() as page:
        open_partition(page, report)
        assert "120 partitions, page 1 of 3" in page.inner_text("body")
        assert page.locator("#rows tr").count() == 50
        assert page.title() == "sales: report"
        detail = page.inner_html("#detail")
    assert SCRIPT in unescape(detail) and SCRIPT not in detail
    history = re.search(r'class="history" d="([^"]*)"', detail)
    forecast = re.search(r'class="forecast" d="([^"]*)"', detail)
    assert history and history.group(1).count("M") == 2, "a day without a value is a gap"
    assert forecast and len(re.findall("[ML]", forecast.group(1))) == 2
    folds = re.findall(r'class="fold" d="([^"]*)"', detail)
    assert [fold.count("M") for fold in folds] == [1, 2], "a fold's curve breaks at a day that no fit sees"
    assert [len(re.findall("[ML]", fold)) for fold in folds] == [7, 9]
    assert re.findall(r'class="key (\w+)-key">([^<]*)<', detail) == [
        ("history", "units"),
        ("fold", "backtest folds of the newest model"),
        ("forecast", "forecast"),
        ("band", "intervals of 80 and 95 %"),
    ]
    assert detail.count('class="band"') == 2
    assert "promoted: held: wape 0.2 below 0.6" in detail
    assert detail.index("theta") < detail.index("0.100") < detail.index("0.300")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 500])
def test_it_is_drawn_light_and_dark_wide_and_narrow(
    report: Path, tmp_path: Path, scheme: str, width: int
) -> None:
    picture = tmp_path / "picture.png"
    with new_page(width, 1200, dark=scheme == "dark") as page:
        page.goto(report.as_uri())
        page.wait_for_selector("#rows tr")
        page.screenshot(path=picture)
    pixels = picture.read_bytes()
    assert struct.unpack(">II", pixels[16:24]) == (width, 1200)
    assert _lightness(picture) > 200 if scheme == "light" else _lightness(picture) < 60


def test_on_a_narrow_screen_nothing_overflows_and_letters_of_charts_keep_their_size(report: Path) -> None:
    """Tables scroll inside their section; the page itself must not."""
    with new_page(390) as page:
        open_partition(page, report)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for drawing in ("#chart", ".histogram"):
            heights = page.locator(f"{drawing} text").evaluate_all(
                "texts => texts.map(text => text.getBoundingClientRect().height)"
            )
            assert len(heights) >= 4 and min(heights) >= 11, drawing


def open_partition(page: Page, report: Path) -> None:
    """Open the report at partition p3, and wait until it is drawn."""
    page.goto(f"{report.as_uri()}#p-p3")
    page.wait_for_selector("#chart")


def _lightness(picture: Path) -> float:
    """The mean lightness of a picture, 0 to 255."""
    image = pytest.importorskip("PIL.Image").open(picture).convert("L").resize((1, 1))
    return float(image.getpixel((0, 0)))
