"""Series as text: what stands where in a line of blocks and in a chart."""

from __future__ import annotations

import numpy as np
import pandas as pd

from manymodels_spark.reporting.terminal import HEIGHT, WIDTH, as_html, forecast_chart, sparkline


def test_a_line_of_blocks_goes_from_the_least_to_the_largest() -> None:
    assert sparkline([0, 3.5, 7]) == "▁▅█"
    assert sparkline([2, 2]) == "▁▁"
    assert sparkline([0, float("nan"), 7]) == "▁ █"
    assert sparkline([]) == ""


def chart(past: int, ahead: int) -> list[str]:
    times = pd.date_range("2024-01-01", periods=past + ahead)
    history = pd.DataFrame({"t": times[:past], "y": np.arange(past, dtype=float)})
    middle = np.full(ahead, float(past - 1))
    forecast = pd.DataFrame(
        {"t": times[past:], "prediction": middle, "lower_80": middle - 5, "upper_80": middle}
    )
    forecast = forecast.assign(lower_95=middle - 9, upper_95=middle)
    return str(forecast_chart(history, forecast, time="t", target="y")).splitlines()


def test_a_chart_shows_the_last_of_the_history_the_forecast_and_its_narrowest_interval() -> None:
    lines = chart(40, 10)
    assert len(lines) == HEIGHT + 2
    assert lines[0].startswith("      39 ┤") and lines[0].endswith("•" * 10)
    assert lines[1].endswith("░" * 10)
    assert lines[HEIGHT].strip() == "2024-01-05" + " " * 26 + "2024-02-10 to 2024-02-19"
    assert lines[-1].strip() == "forecast with its 80 % interval"


def test_a_long_series_is_drawn_in_the_width_that_there_is() -> None:
    lines = chart(2_000, 300)
    assert max(len(line) for line in lines[:HEIGHT]) == 10 + WIDTH


def test_names_from_the_data_are_escaped_in_html() -> None:
    assert "<script>" not in as_html(["<script>alert(1)</script>"])
