"""What `make bench-life` counts: who is active, who is dead, and forecasts against what came."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks import life as bench
from manymodels_spark.simulate import FIRST_NIGHT, Life

NIGHTS = 50


@pytest.fixture(scope="module")
def life() -> Life:
    return Life(bench.chain_of(NIGHTS, seed=7, stores=4, items=10, history=200))


def day(number: int) -> pd.Timestamp:
    """The day so many days after the first night."""
    return FIRST_NIGHT + pd.Timedelta(days=number)


def test_a_store_in_renovation_is_active_and_a_new_one_from_its_second_row(life: Life) -> None:
    active = [bench.active_on(life, day(number), 28) for number in (0, 6, 7, 20)]
    stores = [set(one.get_level_values("store")) for one in active]
    assert stores == [{1, 2, 3}, {1, 2, 3}, {1, 2, 3, 4}, {1, 2, 3, 4}]


def test_the_dead_are_those_that_died_and_sold_nothing_on_enough_open_days(life: Life) -> None:
    before, after = bench.dead_on(life, day(0), 28), bench.dead_on(life, day(80), 28)
    assert len(before) == 3, "a tenth of the old stores' 30 partitions"
    assert set(before) < set(after)
    for number in (0, 20, 80):
        active = bench.active_on(life, day(number), 28)
        assert len(bench.dead_on(life, day(number), 28).intersection(active)) == 0


def test_what_came_is_there_for_every_open_day_and_never_negative(life: Life) -> None:
    came = bench.outcomes(life)
    assert len(came) == life.chain.open.sum()
    assert (life.actuals()["units"] < 0).any()
    assert came["units"].min() == 0


def test_forecasts_are_judged_on_days_of_sale_and_promises_only_where_a_champion_made_them() -> None:
    rows = pd.DataFrame(
        {
            "prediction": [10.0, 10.0, 10.0, 10.0],
            "lower_80": [9.0, 9.0, -1.0, 9.0],
            "upper_80": [11.0, 11.0, 11.0, 11.0],
            "lower_95": [8.0, 8.0, 8.0, 8.0],
            "upper_95": [12.0, 12.0, 12.0, 12.0],
            "units": [12.0, 8.0, 10.0, 0.0],
            "promised": [0.1, 0.3, float("nan"), 0.5],
            "fallback": [False, False, True, False],
            "on_sale": [True, True, True, False],
        }
    )
    found = bench.judged(rows)
    assert found["promised_over_realised"] == pytest.approx((0.1 * 12 + 0.3 * 8) / (2 + 2))
    assert found["promised_over_realised_with_dead"] == pytest.approx((0.1 * 12 + 0.3 * 8) / (2 + 2 + 10))
    assert found["coverage_80"] == pytest.approx(1 / 3)
    assert found["coverage_95"] == 1.0
    assert (found["negative"], found["judged"]) == (1, 3)
    assert found["fallback_share"] == pytest.approx(1 / 3)
