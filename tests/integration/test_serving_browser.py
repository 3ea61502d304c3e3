"""The page in a real browser: headless Chromium loads it from a running server, and what it shows is looked
at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from browser import CHROMIUM, MISSING, Browser, printed
from serving_builders import (
    Running,
    champions,
    classification_payload,
    forecast_payload,
    key_of,
    regression_payload,
)

from manymodels_spark.serving.sources import MemoryChampions

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
DRAWN = "document.querySelector('figure svg')"
SAYS = "document.querySelector('output').textContent"


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


def chromium(url: str, profile: Path, *more: str) -> str:
    """What the browser prints; that the server refused something is no complaint here."""
    return printed(url, profile, *more, forgiven="Failed to load resource")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.look(1200)
        yield opened
    assert opened.complaints == []


def text_of(dom: str, pattern: str) -> str:
    found = re.search(pattern, dom, re.DOTALL)
    assert found, f"{pattern} is not in the page:\n{dom}"
    return unescape(found.group(1))


def points_of(dom: str, name: str) -> list[tuple[float, float]]:
    listed = text_of(dom, rf'class="{name}" points="([^"]*)"')
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in listed.split())]


def test_the_page_lists_the_partitions_as_text(server: Running, tmp_path: Path):
    dom = chromium(server.url, tmp_path, "--dump-dom")

    labels = re.findall(r"<li><button[^>]*>([^<]*)<small>", dom)
    assert [unescape(label) for label in labels] == [
        "item=<b>tea</b>  store=3",
        "item=ice  store=4",
        "item=pump  store=5",
        "item=valve  store=6",
    ]
    assert "<b>tea" not in dom
    assert text_of(dom, r'id="state"[^>]*>([^<]*)<').startswith("ready, ")


def test_a_partition_shows_history_forecast_and_interval(server: Running, tmp_path: Path):
    dom = chromium(server.url + f"#{key_of(3, '<b>tea</b>').id}", tmp_path, "--dump-dom")

    history, forecast, band = (points_of(dom, name) for name in ("history", "forecast", "band"))
    assert (len(history), len(forecast), len(band)) == (21, 8, 14)
    assert forecast[0] == history[-1]
    assert max(x for x, _ in history) < forecast[-1][0]
    assert "<span>wape <b>0.125</b></span>" in dom and "<span>trained up to <b>2026-03-11</b></span>" in dom
    assert re.findall(r'<li class="key-(\w+)">', dom) == ["history", "forecast", "band"]
    # The first step repeats the first day of the week 10 ... 16, and less is lower on the screen.
    lowest, highest = max(y for _, y in forecast), min(y for _, y in forecast)
    assert (forecast[1][1], forecast[7][1]) == (lowest, highest)


def test_a_model_with_known_future_columns_asks_for_them_and_predicts(server: Running, tmp_path: Path):
    dom = chromium(server.url + f"#{key_of(4, 'ice').id}", tmp_path, "--dump-dom")

    assert 'name="input promotion"' in dom
    assert len(points_of(dom, "forecast")) == 8


def test_a_table_model_waits_for_its_features(server: Running, tmp_path: Path):
    dom = chromium(server.url + f"#{key_of(5, 'pump').id}", tmp_path, "--dump-dom")

    assert re.findall(r'name="input ([^"]*)"', dom) == ["age", "temperature"]
    assert "<svg" not in dom


def test_an_unknown_partition_is_said_to_be_unknown(server: Running, tmp_path: Path):
    dom = chromium(server.url + f"#{key_of(99).id}", tmp_path, "--dump-dom")

    assert "has no champion" in text_of(dom, r'role="alert">([^<]*)<')


def test_with_keys_the_page_asks_for_one(source: MemoryChampions, tmp_path: Path):
    running = Running(source, keys=("secret",))
    try:
        dom = chromium(running.url, tmp_path, "--dump-dom")
    finally:
        running.end()

    assert re.search(r'<form id="key-field">', dom)
    assert "Authorization: Bearer" in text_of(dom, r'id="hint">([^<]*)<')


def test_the_chart_is_painted(server: Running, tmp_path: Path):
    picture = tmp_path / "page.png"
    chromium(server.url + f"#{key_of(3, '<b>tea</b>').id}", tmp_path / "profile", f"--screenshot={picture}")

    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000


def test_the_pointer_reads_the_nearest_point_of_the_chart(server: Running, browser: Browser):
    browser.open(server.url + f"#{key_of(3, '<b>tea</b>').id}", DRAWN)
    assert browser.value(SAYS) == "Point at the chart to read a value."
    left, top, width = browser.value(f"(b => [b.left, b.top, b.width])({DRAWN}.getBoundingClientRect())")
    drawn = browser.value(f"{DRAWN}.viewBox.baseVal.width")
    plot = 56 / drawn * width, (drawn - 14) / drawn * width

    read = []
    for share in (0, 20.3 / 27, 1):  # of 21 days of history and 7 of forecast
        browser.point(left + plot[0] + share * (plot[1] - plot[0]), top + 60)
        read.append(browser.value(SAYS))

    assert read == ["2026-02-19: 10", "2026-03-11: 16", "2026-03-18: 16, between 16 and 16"]
    dot, end = "document.querySelector('.dot')", "document.querySelector('.forecast').points"
    assert browser.value(f"getComputedStyle({dot}).visibility") == "visible"
    assert browser.value(f"Math.abs({dot}.cx.baseVal.value - {end}[{end}.length - 1].x)") < 0.1


def test_arrow_keys_read_the_chart_point_by_point(server: Running, browser: Browser):
    browser.open(server.url + f"#{key_of(3, '<b>tea</b>').id}", DRAWN)
    browser.click("select")
    for _ in range(10):
        browser.press("Tab")
        if browser.value(f"document.activeElement === {DRAWN}"):
            break

    read = []
    for key in ("ArrowLeft", "ArrowLeft", "Home", "ArrowLeft", "ArrowRight", "End", "ArrowRight"):
        browser.press(key)
        read.append(browser.value(SAYS))

    assert read == [
        "2026-03-17: 15, between 15 and 15",
        "2026-03-16: 14, between 14 and 14",
        "2026-02-19: 10",
        "2026-02-19: 10",
        "2026-02-20: 11",
        "2026-03-18: 16, between 16 and 16",
        "2026-03-18: 16, between 16 and 16",
    ]


def test_on_a_narrow_screen_nothing_overflows_and_letters_keep_their_size(server: Running, browser: Browser):
    browser.look(420)
    try:
        browser.open(server.url + f"#{key_of(4, 'ice').id}", DRAWN)
        assert browser.value("document.documentElement.scrollWidth") <= 420
        heights = browser.value(
            "[...document.querySelectorAll('figure text')].map(t => "
            "t.getBoundingClientRect().height).filter(h => h)"
        )
        assert len(heights) >= 5 and min(heights) >= 11
    finally:
        browser.look(1200)


def test_one_partition_of_thousands_is_found_by_typing_and_opened_by_a_click(browser: Browser):
    running = Running(champions(5000)[0])
    listed = "[...document.querySelectorAll('#models button')].map(b => b.firstChild.textContent)"
    hint = "document.querySelector('#hint').textContent"
    try:
        browser.open(running.url, f"{listed}.length === 50")
        assert browser.value(hint) == "The first 50. Type to narrow them down."
        browser.write("#search", "store=49")
        browser.wait(f"{listed}.length === 50 && {listed}.every(label => label.includes('store=49'))")
        browser.write("#search", "STORE=4999, item=a")
        browser.wait(f"{listed}.length === 1")
        assert (browser.value(listed), browser.value(hint)) == (["item=a  store=4999"], "")
        browser.click("#models button")
        browser.wait(DRAWN)
        assert browser.value("document.querySelector('h2').textContent") == "item=a  store=4999"
        browser.write("#search", "store=5000")
        browser.wait(f"{hint} === 'No partition found.'")
        browser.write("#search", "")
        browser.wait(f"{listed}.length === 50")
    finally:
        running.end()
