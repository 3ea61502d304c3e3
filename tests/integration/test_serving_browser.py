"""The page in a real browser: headless Chromium loads it from a running server, and what it shows is looked at."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from serving_builders import Running, classification_payload, forecast_payload, key_of, regression_payload

from manymodels_spark.serving.sources import MemoryChampions

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def source() -> MemoryChampions:
    found = MemoryChampions()
    found.put(key_of(3, "<b>tea</b>"), forecast_payload(), "m-tea", family="seasonal_naive", metrics={"wape": 0.125})
    found.put(key_of(4, "ice"), forecast_payload(candidate={"linear": {}}, known_future=["promotion"]), "m-ice")
    found.put(key_of(5, "pump"), regression_payload(), "m-pump", family="linear")
    found.put(key_of(6, "valve"), classification_payload(), "m-valve", family="linear")
    return found


@pytest.fixture(scope="module")
def server(source: MemoryChampions) -> Iterator[Running]:
    running = Running(source)
    yield running
    running.end()


def chromium(url: str, profile: Path, *more: str) -> str:
    """What the browser prints: with --dump-dom, the page after its scripts have run."""
    assert BROWSER is not None
    command = [
        BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0",
        f"--user-data-dir={profile}", "--virtual-time-budget=8000", "--window-size=1200,800", *more, url,
    ]  # fmt: skip
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    complaints = [line for line in found.stderr.splitlines() if "CONSOLE" in line and "Failed to load resource" not in line]
    assert not complaints, complaints
    return found.stdout


def text_of(dom: str, pattern: str) -> str:
    found = re.search(pattern, dom, re.DOTALL)
    assert found, f"{pattern} is not in the page:\n{dom}"
    return unescape(found.group(1))


def points_of(dom: str, name: str) -> list[tuple[float, float]]:
    listed = text_of(dom, rf'class="{name}" points="([^"]*)"')
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in listed.split())]


def test_the_page_lists_the_partitions_as_text(server: Running, tmp_path: Path):
    dom = chromium(server.url, tmp_path, "--dump-dom")

    labels = re.findall(r'<li><button[^>]*>([^<]*)<small>', dom)
    assert [unescape(label) for label in labels] == ["item=<b>tea</b>  store=3", "item=ice  store=4", "item=pump  store=5",
                                                     "item=valve  store=6"]
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
