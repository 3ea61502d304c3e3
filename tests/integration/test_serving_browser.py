"""The page in a real browser: Chromium loads it from a running server, and what it shows is looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from browser import CHROMIUM, MISSING, new_page
from playwright.sync_api import Page, expect
from serving_builders import (
    Running,
    champions,
    classification_payload,
    forecast_payload,
    key_of,
    regression_payload,
)

from manymodels_spark.keys import PartitionKey
from manymodels_spark.serving.models.sources import MemoryChampions

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
DRAWN = "figure svg"


@pytest.fixture(scope="module")
def source() -> MemoryChampions:
    found = MemoryChampions()
    found.put(
        key_of(3, "<b>tea</b>"), forecast_payload(), "m-tea", family="seasonal_naive", metrics={"wape": 0.125}
    )
    found.put(
        key_of(4, "ice"), forecast_payload(candidate={"linear": {}}, known_future=["promotion"]), "m-ice"
    )
    found.put(key_of(5, "pump"), regression_payload(), "m-pump", family="linear")
    found.put(key_of(6, "valve"), classification_payload(), "m-valve", family="linear")
    return found


@pytest.fixture(scope="module")
def server(source: MemoryChampions) -> Iterator[Running]:
    running = Running(source)
    yield running
    running.end()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with new_page() as opened:
        yield opened


def open_page(page: Page, server: Running, key: PartitionKey | None = None) -> None:
    """Open the server's page anew, at one partition where a key is given, and wait for its answers."""
    page.goto("about:blank")
    page.goto(server.url + (f"#{key.id}" if key else ""))
    page.wait_for_load_state("networkidle")


def points_of(page: Page, name: str) -> list[tuple[float, float]]:
    listed = page.locator(f".{name}").first.get_attribute("points") or ""
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in listed.split())]


def test_the_page_lists_the_partitions_as_text(server: Running, page: Page):
    open_page(page, server)

    labels = page.locator("#models button").evaluate_all("all => all.map(b => b.firstChild.textContent)")
    assert labels == [
        "item=<b>tea</b>  store=3",
        "item=ice  store=4",
        "item=pump  store=5",
        "item=valve  store=6",
    ]
    assert page.locator("#models b").count() == 0
    expect(page.locator("#state")).to_have_text(re.compile("^ready, "))


def test_a_partition_shows_history_forecast_and_interval(server: Running, page: Page):
    open_page(page, server, key_of(3, "<b>tea</b>"))
    page.wait_for_selector(DRAWN)

    history, forecast, band = (points_of(page, name) for name in ("history", "forecast", "band"))
    assert (len(history), len(forecast), len(band)) == (21, 8, 14)
    assert forecast[0] == history[-1]
    assert max(x for x, _ in history) < forecast[-1][0]
    shown = page.inner_html("body")
    assert "<span>wape <b>0.125</b></span>" in shown
    assert "<span>trained up to <b>2026-03-11</b></span>" in shown
    assert re.findall(r'<li class="key-(\w+)">', shown) == ["history", "forecast", "band"]
    # The first step repeats the first day of the week 10 ... 16, and less is lower on the screen.
    lowest, highest = max(y for _, y in forecast), min(y for _, y in forecast)
    assert (forecast[1][1], forecast[7][1]) == (lowest, highest)


def test_a_model_with_known_future_columns_asks_for_them_and_predicts(server: Running, page: Page):
    open_page(page, server, key_of(4, "ice"))
    page.wait_for_selector(DRAWN)

    assert page.locator('[name="input promotion"]').count() >= 1
    assert len(points_of(page, "forecast")) == 8


def test_a_table_model_waits_for_its_features(server: Running, page: Page):
    open_page(page, server, key_of(5, "pump"))

    inputs = page.locator('[name^="input "]')
    expect(inputs).to_have_count(2)
    names = inputs.evaluate_all("all => all.map(field => field.name)")
    assert names == ["input age", "input temperature"]
    assert page.locator("svg").count() == 0


def test_an_unknown_partition_is_said_to_be_unknown(server: Running, page: Page):
    open_page(page, server, key_of(99))

    expect(page.get_by_role("alert")).to_contain_text("has no champion")


def test_with_keys_the_page_asks_for_one(source: MemoryChampions, page: Page):
    running = Running(source, keys=("secret",))
    try:
        open_page(page, running)
        expect(page.locator("form#key-field")).to_be_visible()
        expect(page.locator("#hint")).to_contain_text("Authorization: Bearer")
    finally:
        running.end()


def test_the_chart_is_painted(server: Running, page: Page):
    open_page(page, server, key_of(3, "<b>tea</b>"))
    page.wait_for_selector(DRAWN)
    picture = page.screenshot()

    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000


def test_the_pointer_reads_the_nearest_point_of_the_chart(server: Running, page: Page):
    open_page(page, server, key_of(3, "<b>tea</b>"))
    page.wait_for_selector(DRAWN)
    reading, chart = page.locator("output"), page.locator(DRAWN)
    assert reading.inner_text() == "Point at the chart to read a value."
    left, top, width = chart.evaluate(
        "chart => (box => [box.left, box.top, box.width])(chart.getBoundingClientRect())"
    )
    drawn = chart.evaluate("chart => chart.viewBox.baseVal.width")
    plot = 56 / drawn * width, (drawn - 14) / drawn * width

    read = []
    for share in (0, 20.3 / 27, 1):  # of 21 days of history and 7 of forecast
        page.mouse.move(left + plot[0] + share * (plot[1] - plot[0]), top + 60)
        read.append(reading.inner_text())

    assert read == ["2026-02-19: 10", "2026-03-11: 16", "2026-03-18: 16, between 16 and 16"]
    dot = page.locator(".dot")
    assert dot.evaluate("dot => getComputedStyle(dot).visibility") == "visible"
    assert abs(dot.evaluate("dot => dot.cx.baseVal.value") - points_of(page, "forecast")[-1][0]) < 0.1


def test_arrow_keys_read_the_chart_point_by_point(server: Running, page: Page):
    open_page(page, server, key_of(3, "<b>tea</b>"))
    page.wait_for_selector(DRAWN)
    page.locator("select").first.focus()
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.locator(DRAWN).evaluate("chart => document.activeElement === chart"):
            break

    read = []
    for key in ("ArrowLeft", "ArrowLeft", "Home", "ArrowLeft", "ArrowRight", "End", "ArrowRight"):
        page.keyboard.press(key)
        read.append(page.locator("output").inner_text())

    assert read == [
        "2026-03-17: 15, between 15 and 15",
        "2026-03-16: 14, between 14 and 14",
        "2026-02-19: 10",
        "2026-02-19: 10",
        "2026-02-20: 11",
        "2026-03-18: 16, between 16 and 16",
        "2026-03-18: 16, between 16 and 16",
    ]


def test_on_a_narrow_screen_nothing_overflows_and_letters_keep_their_size(server: Running, page: Page):
    page.set_viewport_size({"width": 420, "height": 900})
    try:
        open_page(page, server, key_of(4, "ice"))
        page.wait_for_selector(DRAWN)
        assert page.evaluate("document.documentElement.scrollWidth") <= 420
        heights = page.locator("figure text").evaluate_all(
            "all => all.map(text => text.getBoundingClientRect().height).filter(height => height)"
        )
        assert len(heights) >= 5 and min(heights) >= 11
    finally:
        page.set_viewport_size({"width": 1200, "height": 900})


def test_one_partition_of_thousands_is_found_by_typing_and_opened_by_a_click(page: Page):
    running = Running(champions(5000)[0])
    listed, hint, search = page.locator("#models button"), page.locator("#hint"), page.locator("#search")
    try:
        open_page(page, running)
        expect(listed).to_have_count(50)
        expect(hint).to_have_text("The first 50. Type to narrow them down.")
        search.fill("store=49")
        expect(listed.filter(has_text="store=49")).to_have_count(50)
        search.fill("STORE=4999, item=a")
        expect(listed).to_have_count(1)
        assert listed.evaluate("button => button.firstChild.textContent") == "item=a  store=4999"
        assert hint.inner_text() == ""
        listed.click()
        page.wait_for_selector(DRAWN)
        assert page.locator("h2").first.text_content() == "item=a  store=4999"
        search.fill("store=5000")
        expect(hint).to_have_text("No partition found.")
        search.fill("")
        expect(listed).to_have_count(50)
    finally:
        running.end()
