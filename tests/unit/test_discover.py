"""`init` on files of other people: what it makes of each shape, what it asks, and what it refuses."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from manymodels_spark.cli import main
from manymodels_spark.discover import Answers, Finding, Limits, discover, open_sample, spec_text
from manymodels_spark.errors import SourceError
from manymodels_spark.spec import Spec
from manymodels_spark.spec.parse import parse_spec


def found_in(
    path: Path | str, table: str | None = None, limits: Limits | None = None, **given: str
) -> Finding:
    return discover(open_sample(str(path), table, limits), Answers(given))


def spec_of(found: Finding) -> Spec:
    return parse_spec(spec_text(found))


def asked(found: Finding) -> list[str]:
    """The keys of the questions that nobody could answer."""
    return [one.question.key for one in found.answers.log if one.origin == "guessed"]


def panel(times: Sequence[Any], **keys: Sequence[object]) -> pd.DataFrame:
    """A row per time and combination of keys, with column `units` of whole numbers."""
    rows = pd.MultiIndex.from_product([times, *keys.values()], names=["date", *keys]).to_frame(index=False)
    return rows.assign(units=np.random.default_rng(1).poisson(20, len(rows)))


DAYS = pd.date_range("2024-01-01", periods=120).strftime("%Y-%m-%d")


def test_a_long_file_with_several_keys_is_cut_by_the_smallest_set_that_makes_days_unique(
    tmp_path: Path,
) -> None:
    rows = panel(DAYS, store=[1, 2, 3], item=["a", "b"])
    rows.assign(region=rows["store"].map({1: "n", 2: "n", 3: "s"})).to_csv(
        tmp_path / "sales.csv", index=False
    )
    found = found_in(tmp_path / "sales.csv")
    spec = spec_of(found)
    assert spec.partition_by == ["store", "item"]
    assert (spec.columns.time, spec.columns.target, spec.columns.frequency) == ("date", "units", "D")
    assert (found.keys.partitions, found.shape.lengths.median, found.rhythm.gaps) == (6, 120, 0)  # type: ignore[union-attr]
    assert [one.name for one in found.static] == ["region"]
    assert spec.name == "sales"
    assert spec.horizon == 20  # a sixth of the days, where 28 is usual
    assert asked(found) == []


def test_european_dates_decimals_and_semicolons_are_written_into_the_source(tmp_path: Path) -> None:
    times = pd.date_range("2024-01-01", periods=60).strftime("%d.%m.%Y")
    rows = panel(times, filiale=["Graz", "Köln"]).rename(columns={"units": "menge"})
    rows["preis"] = [f"1.0{number % 90 + 10},5" for number in range(len(rows))]
    (tmp_path / "s.csv").write_bytes(rows.to_csv(sep=";", index=False).encode("latin-1"))
    spec = spec_of(found_in(tmp_path / "s.csv", target="preis"))
    assert spec.source.options == {"sep": ";", "encoding": "ISO-8859-1"}  # type: ignore[union-attr]
    assert spec.source.decimal_comma == ["preis"]  # type: ignore[union-attr]
    assert spec.source.time_format == "d.M.yyyy"  # type: ignore[union-attr]
    assert spec.columns.target == "preis"


def test_where_day_and_month_may_be_exchanged_the_regular_reading_is_guessed_and_noted(
    tmp_path: Path,
) -> None:
    firsts = pd.date_range("2022-01-01", periods=24, freq="MS").strftime(
        "%d/%m/%Y"
    )  # 01/02/2022 is in February
    panel(firsts, store=["a", "b"]).to_csv(tmp_path / "m.csv", index=False)
    found = found_in(tmp_path / "m.csv")
    assert asked(found) == ["time_format"]
    assert spec_of(found).source.time_format == "d/M/yyyy"  # type: ignore[union-attr]
    assert spec_of(found).columns.frequency == "MS"
    assert "# GUESSED: time_format is d/M/yyyy, since date such as 01/01/2022 reads as each of" in spec_text(
        found
    )


def test_a_column_per_series_is_unrolled(tmp_path: Path) -> None:
    wide = panel(DAYS, store=[f"store_{n}" for n in range(1, 7)]).pivot(
        index="date", columns="store", values="units"
    )
    wide.to_csv(tmp_path / "wide.csv")
    found = found_in(tmp_path / "wide.csv")
    spec = spec_of(found)
    assert found.is_wide
    assert spec.source.melt.model_dump() == {"keep": ["date"], "name": "series", "values": "value"}  # type: ignore[union-attr]
    assert (spec.partition_by, spec.columns.target, found.keys.partitions) == (["series"], "value", 6)
    assert found.shape.rows == 6 * 120


def test_a_column_per_month_is_unrolled(tmp_path: Path) -> None:
    months = pd.date_range("2020-01-01", periods=36, freq="MS").strftime("%Y-%m")
    wide = (
        panel(months, store=["a", "b", "c"])
        .pivot(index="store", columns="date", values="units")
        .reset_index()
    )
    wide.to_csv(tmp_path / "months.csv", index=False)
    spec = spec_of(found_in(tmp_path / "months.csv"))
    assert spec.source.melt.model_dump() == {"keep": ["store"], "name": "date", "values": "value"}  # type: ignore[union-attr]
    assert spec.source.time_format == "yyyy-MM"  # type: ignore[union-attr]
    assert (spec.partition_by, spec.columns.time, spec.columns.frequency) == (["store"], "date", "MS")


def test_a_lone_series_gets_its_name_as_partition(tmp_path: Path) -> None:
    panel(DAYS).rename(columns={"units": "visitors"}).to_csv(tmp_path / "site.csv", index=False)
    found = found_in(tmp_path / "site.csv")
    spec = spec_of(found)
    assert spec.source.melt.model_dump() == {"keep": ["date"], "name": "series", "values": "value"}  # type: ignore[union-attr]
    assert (spec.partition_by, spec.columns.target, found.keys.partitions) == (["series"], "value", 1)


def test_epoch_seconds_every_hour_are_times(tmp_path: Path) -> None:
    hours = [1_700_000_000 // 3600 * 3600 + 3600 * n for n in range(200)]
    panel(hours, meter=["m1", "m2"]).rename(columns={"date": "ts", "units": "kwh"}).to_csv(
        tmp_path / "e.csv", index=False
    )
    found = found_in(tmp_path / "e.csv")
    spec = spec_of(found)
    assert spec.source.time_format == "epoch_seconds"  # type: ignore[union-attr]
    assert (spec.columns.time, spec.columns.frequency, spec.columns.target) == ("ts", "h", "kwh")
    assert asked(found) == ["timezone"]


def test_hours_with_a_zone_are_counted_on_the_clock_that_their_distances_name(tmp_path: Path) -> None:
    hours = pd.date_range("2024-03-20", periods=500, freq="h", tz="Europe/Madrid")
    rows = panel(range(500), station=["a", "b"])
    rows["date"] = [hours[n].isoformat() for n in rows["date"]]
    rows.to_csv(tmp_path / "h.csv", index=False)
    found = found_in(tmp_path / "h.csv")
    assert (found.rhythm.frequency, found.rhythm.gaps) == ("h", 0)  # type: ignore[union-attr]
    assert spec_of(found).prepare.timezone == "Europe/Madrid"
    assert "times are +01:00 and +02:00 from UTC" in spec_text(found)


@pytest.mark.parametrize(
    ("times", "frequency", "form"),
    [
        (pd.date_range("2022-01-03", periods=110, freq="7D").strftime("%Y-%m-%d"), "W", None),
        ([f"{year}-W{week:02d}" for year in (2022, 2023) for week in range(1, 53)], "W", "week"),
        ([f"{year}Q{quarter}" for year in range(2005, 2025) for quarter in (1, 2, 3, 4)], "QS", "quarter"),
        (pd.date_range("2015-01-31", periods=90, freq="ME").strftime("%m/%d/%Y"), "ME", "M/d/yyyy"),
        (range(1960, 2020), "YS", "yyyy"),
        (pd.date_range("2024-01-01", periods=300, freq="15min").strftime("%Y-%m-%d %H:%M:%S"), "15min", None),
    ],
)  # fmt: skip
def test_each_frequency_and_its_form_is_seen(
    tmp_path: Path, times: Sequence[Any], frequency: str, form: str | None
) -> None:
    panel(times, site=["a", "b"]).to_csv(tmp_path / "f.csv", index=False)
    spec = spec_of(found_in(tmp_path / "f.csv"))
    assert spec.columns.frequency == frequency
    assert spec.source.time_format == form  # type: ignore[union-attr]


def test_closed_weekdays_holidays_and_gaps_are_seen(tmp_path: Path) -> None:
    rows = panel(DAYS, country=["ES", "FR"], shop=["x", "y"])
    rows["shop"] = rows["country"] + rows["shop"]
    open_days = rows[pd.to_datetime(rows["date"]).dt.dayofweek != 6]
    open_days.drop(open_days.index[[50, 100, 150]]).to_csv(tmp_path / "c.csv", index=False)
    found = found_in(tmp_path / "c.csv")
    spec = spec_of(found)
    assert spec.partition_by == ["shop"]
    assert spec.prepare.closed.weekdays == ["sunday"]
    assert spec.columns.static == ["country"]
    assert spec.columns.holidays.column == "country"  # type: ignore[union-attr]
    assert (found.rhythm.gaps, spec.prepare.gaps) == (3, "zero")  # type: ignore[union-attr]


def test_text_labels_make_a_classifier_per_machine(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows = pd.DataFrame(
        {
            "machine": np.repeat(["m1", "m2", "m3"], 100),
            "heat": rng.normal(size=300),
            "speed": rng.normal(size=300),
        }
    )
    rows["status"] = np.where(rows["heat"] > 0, "failing", "good")
    rows.to_parquet(tmp_path / "m.parquet")
    spec = spec_of(found_in(tmp_path / "m.parquet"))
    assert (spec.task, spec.columns.target, spec.partition_by) == ("classification", "status", ["machine"])
    assert spec.columns.features == ["heat", "speed"]


def test_a_table_of_a_database_is_named_without_its_file_being_copied(tmp_path: Path) -> None:
    frame = panel(DAYS, store=[1, 2])
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as db:
        db.execute("CREATE TABLE sales AS SELECT CAST(date AS DATE) AS date, store, units FROM frame")
        db.execute("CREATE TABLE other AS SELECT 1 AS one")
    assert len(frame) == 240
    with pytest.raises(SourceError, match=r"which table\? Give --table NAME. It has: other, sales"):
        found_in(tmp_path / "shop.duckdb")
    spec = spec_of(found_in(tmp_path / "shop.duckdb", "sales"))
    assert spec.source.url == f"jdbc:duckdb:{tmp_path}/shop.duckdb"  # type: ignore[union-attr]
    assert (spec.source.table, spec.partition_by) == ("sales", ["store"])  # type: ignore[union-attr]


def test_json_lines_arrays_and_compressed_files_are_read(tmp_path: Path) -> None:
    rows = panel(DAYS, store=["a", "b"])
    rows.to_json(tmp_path / "lines.json", orient="records", lines=True)
    rows.to_json(tmp_path / "array.json", orient="records")
    with gzip.open(tmp_path / "s.csv.gz", "wt") as file:
        rows.to_csv(file, index=False)
    sources = [spec_of(found_in(tmp_path / name)).source for name in ("lines.json", "array.json", "s.csv.gz")]
    assert [one.kind for one in sources] == ["json", "json", "csv"]
    assert [one.options for one in sources] == [{}, {"multiLine": "true"}, {}]  # type: ignore[union-attr]


def test_the_word_for_a_missing_number_is_read_as_none(tmp_path: Path) -> None:
    rows = panel(DAYS, store=["a", "b"]).astype({"units": object})
    rows.loc[[3, 30], "units"] = "NA"
    rows.to_csv(tmp_path / "na.csv", index=False)
    found = found_in(tmp_path / "na.csv")
    assert spec_of(found).source.options == {"nullValue": "NA"}  # type: ignore[union-attr]
    assert (found.target.name, found.shape.missing) == ("units", 2)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty: 0 bytes"),
        (b"date,store,units\n", "has no row, only a header"),
        (bytes(range(256)) * 20, "is binary and of no known kind"),
        (b"PK\x03\x04 rest of it", "an Excel workbook. Save the sheet as CSV"),
        (b"Dear Sir or Madam\nplease find enclosed\nour best regards\n", "is text, but no table"),
        (b"2024-01-01,a,5\n2024-01-02,a,6\n2024-01-03,a,7\n", "has no header: its first line holds values"),
        (b"name,remark\nann,hello\nbob,bye\ncarl,ciao\n", "no column to predict"),
    ],
    ids=["empty", "header", "binary", "excel", "letter", "headless", "hopeless"],
)  # fmt: skip
def test_what_cannot_be_forecast_is_said_with_what_to_do(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    result = manymodels("init", str(path), "--out", str(tmp_path / "bad.yaml"))
    assert result.exit_code == 1
    assert words in result.output
    assert not (tmp_path / "bad.yaml").exists()


def test_without_times_the_error_names_what_there_is_or_a_table_is_made(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pd.DataFrame(
        {"store": np.repeat(["a", "b"], 50), "size": rng.normal(size=100), "units": rng.normal(size=100)}
    ).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(
        SourceError, match=r"has no column of times, which a forecast requires. It has: store \(text\)"
    ):
        found_in(tmp_path / "t.csv", task="forecast")
    assert spec_of(found_in(tmp_path / "t.csv")).task == "regression"


def test_of_two_targets_alike_one_is_guessed_and_a_person_may_say_the_other(tmp_path: Path) -> None:
    rows = panel(DAYS, store=["a", "b"])
    rows.assign(orders=rows["units"] * 2).to_csv(tmp_path / "two.csv", index=False)
    found = found_in(tmp_path / "two.csv")
    assert asked(found) == ["target"]
    assert "units, orders are alike in name and kind" in spec_text(found)
    questions = []
    answers = Answers(ask=lambda question: questions.append(question.key) or "units")  # type: ignore[func-returns-value]
    assert discover(open_sample(str(tmp_path / "two.csv")), answers).target.name == "units"
    assert questions == ["target"]


def test_a_key_that_leaves_each_partition_a_handful_of_rows_is_not_taken(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rows = pd.DataFrame(
        {
            "date": rng.choice(DAYS, 9000),
            "store": rng.choice(["a", "b", "c"], 9000),
            "customer_id": rng.integers(0, 3000, 9000),
        }
    )
    rows.assign(amount=rng.integers(1, 9, 9000)).to_csv(tmp_path / "k.csv", index=False)
    found = found_in(tmp_path / "k.csv")
    assert asked(found) == ["partition_by"]
    assert spec_of(found).partition_by == ["store"]
    assert spec_of(found).prepare.duplicates == "sum"
    why = next(one.question.why for one in found.answers.log)
    assert "partitions of" in why and "too few for a model each" in why


def test_a_large_file_is_sampled_and_the_spec_says_so(tmp_path: Path) -> None:
    panel(DAYS, store=list(range(40))).to_csv(tmp_path / "big.csv", index=False)
    found = found_in(tmp_path / "big.csv", limits=Limits(whole_bytes=10_000, rows=2_000))
    assert found.shape.rows == 2_000
    assert "Only the first 2,000 rows were looked at: the source is larger" in spec_text(found)


def test_the_command_shows_the_series_and_names_the_next_one(tmp_path: Path) -> None:
    panel(DAYS, store=["a", "b", "c"]).to_csv(tmp_path / "sales.csv", index=False)
    out = tmp_path / "sales.yaml"
    result = manymodels("init", str(tmp_path / "sales.csv"), "--out", str(out), "--horizon", "7")
    assert result.exit_code == 0, result.output
    assert "store   3 partitions" in result.output
    assert "▁" in result.output
    assert f"Next: manymodels try {out}" in result.output.replace("\n", "")
    assert parse_spec(out.read_text()).horizon == 7
    again = manymodels("init", str(tmp_path / "sales.csv"), "--out", str(out))
    assert again.exit_code == 1
    assert "is there already" in again.output


def manymodels(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_a_row_per_series_without_times_is_said_to_be_wide_and_how_to_write_it(tmp_path: Path) -> None:
    steps = pd.DataFrame({"V1": ["W1", "W2"], **{f"V{n}": [n, n + 1] for n in range(2, 40)}})
    steps.to_csv(tmp_path / "m4.csv", index=False)
    with pytest.raises(SourceError, match=r"is wide: a row for each V1.*`wide: \{id: V1, start: 2020-01-01"):
        found_in(tmp_path / "m4.csv")


def test_inputs_are_not_taken_for_targets(tmp_path: Path) -> None:
    rows = panel(DAYS, station=["a", "b"]).rename(columns={"units": "users"})
    rows.assign(temperature=20.5, weekday=3).to_csv(tmp_path / "bikes.csv", index=False)
    assert found_in(tmp_path / "bikes.csv").target.name == "users"


def test_a_lone_series_with_a_column_of_its_name_keeps_that_name(tmp_path: Path) -> None:
    panel(DAYS, unique_id=["airline"]).rename(columns={"date": "ds", "units": "y"}).to_csv(
        tmp_path / "a.csv", index=False
    )
    spec = spec_of(found_in(tmp_path / "a.csv"))
    assert (spec.partition_by, spec.columns.time, spec.columns.target) == (["unique_id"], "ds", "y")
    assert spec.source.melt is None  # type: ignore[union-attr]


def test_the_nanoseconds_that_pandas_writes_are_named_in_the_source(tmp_path: Path) -> None:
    rows = panel(pd.to_datetime(DAYS).astype("datetime64[ns]"), store=["a", "b"])
    rows.to_parquet(tmp_path / "p.parquet")
    found = found_in(tmp_path / "p.parquet")
    assert spec_of(found).source.time_format == "nanoseconds"  # type: ignore[union-attr]
    assert (spec_of(found).columns.frequency, found.keys.partitions) == ("D", 2)


def test_a_delta_table_is_read_at_its_newest_version(tmp_path: Path) -> None:
    table = tmp_path / "sales"
    (table / "_delta_log").mkdir(parents=True)
    for number, store in enumerate(["old", "a", "b"]):
        panel(DAYS, store=[store]).to_parquet(table / f"{number}.parquet")
    log = table / "_delta_log"
    (log / f"{0:020}.json").write_text('{"add": {"path": "0.parquet"}}\n{"add": {"path": "1.parquet"}}\n')
    (log / f"{1:020}.json").write_text('{"remove": {"path": "0.parquet"}}\n{"add": {"path": "2.parquet"}}\n')
    found = found_in(table)
    assert (found.keys.partitions, found.shape.rows) == (2, 240)
    assert spec_of(found).source.model_dump(include={"kind", "path"}) == {"kind": "delta", "path": str(table)}


def test_an_answer_in_advance_that_names_no_column_is_refused_with_the_nearest(tmp_path: Path) -> None:
    panel(DAYS, store=["a", "b"]).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(SourceError, match=r"target: 'unit' is none of units\. Did you mean 'units'\?"):
        found_in(tmp_path / "s.csv", target="unit")


def test_the_index_that_pandas_writes_has_the_name_that_spark_gives_it(tmp_path: Path) -> None:
    panel(DAYS).rename(columns={"units": "visitors"}).to_csv(tmp_path / "i.csv")
    spec = spec_of(found_in(tmp_path / "i.csv"))
    assert spec.source.melt.keep == ["date", "_c0"]  # type: ignore[union-attr]


def test_of_order_lines_the_days_count_and_not_the_lines(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    lines = {
        "order_id": range(3000),
        "order_date": rng.choice(DAYS, 3000),
        "product": rng.choice(["a", "b"], 3000),
    }
    pd.DataFrame({**lines, "qty": rng.integers(1, 5, 3000)}).to_csv(tmp_path / "o.csv", index=False)
    found = found_in(tmp_path / "o.csv")
    assert (spec_of(found).partition_by, spec_of(found).prepare.duplicates) == (["product"], "sum")
    assert found.shape.lengths.longest <= 120
    assert spec_of(found).horizon <= 20
