"""A chain's life: closed days, births and deaths, late and corrected rows, clocks, wells, all from a seed."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from manymodels_spark.cli.tools import demo_data
from manymodels_spark.errors import ManyModelsError
from manymodels_spark.simulate import FIRST_NIGHT, Chain, Life, extend_life, write_life

KEY = ["store", "item"]
CHAIN = Chain(seed=7, stores=5, items=8, history=300, days=400)


@pytest.fixture(scope="module")
def life() -> Life:
    return Life(CHAIN)


@pytest.fixture(scope="module")
def sales(life: Life) -> pd.DataFrame:
    return life.tables["sales"]


def day(number: int) -> pd.Timestamp:
    """The day so many days after the first night."""
    return FIRST_NIGHT + pd.Timedelta(days=number)


def rows_of(path: Path, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize("table", ["sales", "footfall", "weekly_orders", "monthly_revenue", "wells"])
def test_a_longer_life_begins_with_the_shorter_one(life: Life, table: str) -> None:
    longer = Life(Chain(seed=7, stores=5, items=8, history=300, days=450))
    pd.testing.assert_frame_equal(longer.until(day(20))[table], life.until(day(20))[table])


def test_the_rows_of_each_day_add_up_to_all_rows_until_that_day(life: Life) -> None:
    whole = life.until(day(3))
    parts = [life.until(day(0)), *(life.rows(day(number)) for number in (1, 2, 3))]
    for name, table in whole.items():
        assert sum(len(part[name]) for part in parts) == len(table), name
    joined = pd.concat([part["sales"] for part in parts], ignore_index=True)
    pd.testing.assert_frame_equal(joined, whole["sales"])


def test_another_seed_gives_other_sales(life: Life) -> None:
    other = Life(Chain(seed=8, stores=5, items=8, history=300, days=400))
    assert other.truth()["expected"].sum() != life.truth()["expected"].sum()


def test_a_closed_store_has_no_row_and_nothing_is_expected_of_it(life: Life, sales: pd.DataFrame) -> None:
    closed = life.truth().query("~open")
    assert (closed["expected"] == 0).all()
    assert len(closed.merge(sales, on=[*KEY, "date"])) == 0
    opened = pd.DataFrame(CHAIN.open_stores, index=CHAIN.dates)
    assert not opened[opened.index.dayofweek == 6].to_numpy().any(), "every Sunday"
    assert opened.loc["2024-12-25"].sum() == 0, "on Christmas day"
    assert opened.loc["2025-07-04"].tolist() == [True, True, True, False, False], "the fourth is American"


def test_a_store_is_renovated_for_three_weeks_and_the_last_one_is_new(life: Life) -> None:
    opened = pd.DataFrame(CHAIN.open_stores, index=CHAIN.dates, columns=range(1, 6))
    assert not opened.loc[day(3) : day(23), 2].any()
    assert opened.loc[day(24) : day(30), 2].sum() == 6, "all but a Sunday"
    assert not opened.loc[: day(4), 5].any()
    assert opened.loc[day(5) : day(11), 5].sum() == 6


def test_items_that_died_have_no_row_any_more_and_launched_ones_none_before(sales: pd.DataFrame) -> None:
    spans = sales.groupby(KEY)["date"].agg(["min", "max"])
    number = (spans.index.get_level_values(0) - 1) * CHAIN.items + spans.index.get_level_values(1) - 1
    first, last = CHAIN.lives[:, number]
    assert (spans["min"] >= CHAIN.dates[0] + pd.to_timedelta(first, unit="D")).all()
    died = last < CHAIN.days
    assert (spans["max"][died] < CHAIN.dates[0] + pd.to_timedelta(last[died], unit="D")).all()
    assert (last < CHAIN.history).sum() == 3, "a tenth of 32 before the first night"
    assert ((last >= CHAIN.history) & died).sum() == 3, "a tenth of them after"
    assert (first > CHAIN.history).sum() >= 8, "the new store's items, and launched ones"


def test_sales_lie_around_what_is_expected_but_for_stock_outs(life: Life, sales: pd.DataFrame) -> None:
    truth = life.truth().query("open and alive").merge(life.actuals(), on=[*KEY, "date"], how="left")
    out = sales[sales["stock_out"] == 1].drop_duplicates([*KEY, "date"])
    assert truth["units"].fillna(0).sum() == pytest.approx(truth["expected"].sum(), rel=0.02)
    assert len(out) / len(truth) == pytest.approx(0.01, abs=0.003)
    short = out.merge(truth, on=[*KEY, "date"])
    assert short["units_y"].sum() < 0.6 * short["expected"].sum()


def test_returns_late_rows_and_corrections_come_as_often_as_they_are_said_to(sales: pd.DataFrame) -> None:
    late = (sales["arrives"] - sales["date"]).dt.days
    twice = sales.duplicated([*KEY, "date"], keep=False)
    assert (sales["units"] < 0).any()
    assert late.max() <= 3 + 5
    assert (late[~twice] > 0).mean() == pytest.approx(0.02, abs=0.005)
    assert twice.mean() == pytest.approx(0.01, abs=0.003)
    assert (sales[twice].groupby([*KEY, "date"])["updated_at"].nunique() == 2).all()


def test_a_correction_holds_over_what_it_corrects(life: Life, sales: pd.DataFrame) -> None:
    twice = sales[sales.duplicated([*KEY, "date"], keep=False)].sort_values("updated_at")
    right = twice.groupby([*KEY, "date"])["units"].last()
    held = life.actuals().set_index([*KEY, "date"])["units"]
    pd.testing.assert_series_equal(held.loc[right.index], right)
    assert (twice.groupby([*KEY, "date"])["units"].first() != right).all()


def test_the_calendar_knows_two_months_and_changes_its_mind_beyond_a_week(life: Life) -> None:
    now, later = life.calendar(day(0)), life.calendar(day(30))
    assert now["date"].max() == day(60)
    both = now.merge(later, on=[*KEY, "date"], suffixes=("", "_later"))
    changed = both[both["promotion"] != both["promotion_later"]]
    assert len(changed) > 0
    assert (changed["promotion"] > changed["promotion_later"]).all(), "promotions are called off, not added"
    assert (changed["price"] < changed["price_later"]).all(), "and the price with them"
    assert changed["date"].min() > day(7)
    assert (both["closed"] == both["closed_later"]).all()


def test_local_clocks_skip_an_hour_in_spring_and_have_one_twice_in_autumn(life: Life) -> None:
    madrid = life.tables["footfall"].query("store == 1")
    assert madrid["hour_utc"].is_unique
    twice = madrid[madrid["hour_local"].duplicated()]["hour_local"]
    assert list(twice) == [pd.Timestamp("2025-10-26 02:00")]
    whole = pd.date_range("2025-03-29", "2025-03-31 23:00", freq="h")
    assert list(whole.difference(madrid["hour_local"])) == [pd.Timestamp("2025-03-30 02:00")]
    assert set(life.tables["footfall"]["zone"]) == {
        "Europe/Madrid",
        "Europe/London",
        "Atlantic/Canary",
        "America/New_York",
    }


def test_visitors_come_in_opening_hours_as_many_as_expected(life: Life) -> None:
    table = life.tables["footfall"]
    opened = table[table["expected"] > 0]
    assert opened["hour_local"].dt.hour.between(9, 20).all()
    assert (table[table["expected"] == 0]["visitors"] == 0).all()
    assert opened["visitors"].mean() == pytest.approx(opened["expected"].mean(), rel=0.01)


def test_weeks_and_months_are_whole_and_arrive_at_their_end(life: Life) -> None:
    weeks, months = life.tables["weekly_orders"], life.tables["monthly_revenue"]
    assert set(weeks["week"].dt.dayofweek) == {0}
    assert set((weeks["arrives"] - weeks["week"]).dt.days) == {6}
    assert set(months["month"].dt.day) == {1}
    assert (months["arrives"] + pd.Timedelta(days=1) == months["month"] + pd.DateOffset(months=1)).all()
    assert (weeks["orders"] / weeks["expected"] - 1).std() == pytest.approx(0.05, abs=0.01)


def test_a_well_that_fails_stays_so_for_days_and_its_label_comes_a_week_later(life: Life) -> None:
    wells = life.tables["wells"]
    known, waiting = wells[wells["failure_within_7d"].notna()], wells[wells["failure_within_7d"].isna()]
    assert len(known) == len(waiting)
    both = known.merge(waiting, on="reading_id", suffixes=("", "_first"))
    assert set((both["arrives"] - both["arrives_first"]).dt.days) == {7}
    one = known.query("field == 'F01' and well == 1").sort_values("reading")
    failed = (one["status"] == "failed").to_numpy()
    begins = np.flatnonzero(failed[1:] & ~failed[:-1]) + 1
    assert len(begins) > 2
    for begin in begins:
        assert failed[begin : begin + 48].all(), "two days at least"
        assert (one["failure_within_7d"].iloc[max(begin - 144, 0) : begin] == "yes").all(), "and foretold"
    vibration = one[~failed].groupby("failure_within_7d")["vibration"].mean()
    assert vibration["yes"] > vibration["no"] + 0.3


def test_a_day_outside_of_the_life_is_refused(life: Life) -> None:
    with pytest.raises(ValueError, match="2020-01-01 is no day of this life: it goes from 2024-12-24 to"):
        life.rows("2020-01-01")


def test_a_chain_without_room_for_its_events_is_refused() -> None:
    with pytest.raises(ValueError, match="stores 2, .* expected 3 stores or more"):
        Chain(stores=2)


def test_the_database_grows_by_exactly_the_rows_that_arrive(tmp_path: Path, life: Life) -> None:
    path = tmp_path / "life.duckdb"
    written = write_life(path, CHAIN, day(0))
    assert written == len(life.until(day(0))["sales"])
    assert extend_life(path) == (day(1), len(life.rows(day(1))["sales"]))
    now, added = extend_life(path, day(9))
    assert (now, added) == (day(9), len(life.between(day(2), day(9))["sales"]))
    for table in ("sales", "footfall", "weekly_orders", "monthly_revenue", "wells"):
        (found,) = rows_of(path, f"SELECT count(*) FROM {table}")
        assert found == (len(life.until(day(9))[table]),), table
    assert rows_of(path, "SELECT max(date) FROM calendar") == [(day(69).date(),)]
    with pytest.raises(ManyModelsError, match="has all until 2025-10-29 already"):
        extend_life(path, day(9))


def test_a_database_of_another_make_is_refused(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "other.duckdb")) as connection:
        connection.execute("CREATE TABLE sales (store INTEGER)")
    with pytest.raises(ManyModelsError, match="was not written by `manymodels demo-data --life`"):
        extend_life(tmp_path / "other.duckdb")


def test_a_second_call_of_the_command_adds_the_next_day(tmp_path: Path) -> None:
    path = str(tmp_path / "life.duckdb")
    shape = ["--stores", "3", "--items", "4", "--days", "60"]
    first = CliRunner().invoke(demo_data, ["--life", "--path", path, *shape])
    assert (first.exit_code, "12 partitions" in first.output) == (0, True)
    second = CliRunner().invoke(demo_data, ["--life", "--path", path])
    assert "until 2025-10-21" in second.output
    to_a_day = CliRunner().invoke(demo_data, ["--life", "--path", path, "--until", "2025-11-01"])
    assert "until 2025-11-01" in to_a_day.output
    assert rows_of(tmp_path / "life.duckdb", "SELECT day::VARCHAR FROM _life") == [("2025-11-01",)]
    refused = CliRunner().invoke(demo_data, ["--life", "--path", path, "--stores", "9"])
    assert (refused.exit_code, "--replace writes it anew" in refused.output) == (2, True)
