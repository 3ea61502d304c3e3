"""Prepare: typed, merged and fill_gaps rows; what is wrong is counted, and sets one partition aside, no
other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from builders import days, make_spec, write_csv
from pyspark.sql import functions as F

from manymodels_spark.errors import SourceError
from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.sources import new_rows
from manymodels_spark.lake.sources.base import INGESTED_AT
from manymodels_spark.lake.tables import BRONZE, PARTITIONS, QUALITY, SILVER
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.prepare.calendar import by_partition
from manymodels_spark.stages.prepare.grid import fill_gaps
from manymodels_spark.stages.prepare.stage import Preparing, prepare
from manymodels_spark.stages.runs.job import Job

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark
MakeJob = Callable[..., Job]


def row(item: object, date: object, units: object, store: object = 1, **more: object) -> dict[str, object]:
    return {"store": store, "item": item, "date": date, "units": units, **more}


def prepared(make_job: MakeJob, folder: Path, rows: list[dict[str, object]], **changes: Any) -> Job:
    write_csv(folder / "sales.csv", rows)
    job = make_job(**changes)
    ingest(job)
    prepare(job)
    return job


@dataclass(frozen=True)
class Found:
    """The three tables of a preparation."""

    silver: DataFrame
    partitions: DataFrame
    quality: DataFrame


def written(job: Job) -> Found:
    return Found(*(job.lake.read(table) for table in (SILVER, PARTITIONS, QUALITY)))


def cleaned(make_job: MakeJob, folder: Path, rows: list[dict[str, object]], **changes: Any) -> Found:
    """What the tables would be; nothing is written, which takes a fifth of the time."""
    write_csv(folder / "sales.csv", rows)
    job = make_job(**changes)
    batch = new_rows(job.spark, job.spec.source, None, ("date",))
    assert batch is not None
    return looked_at(job, batch.rows.withColumn(INGESTED_AT, F.current_timestamp()))


def looked_at(job: Job, bronze: DataFrame) -> Found:
    preparing = Preparing.of(job.lake, job.spec, bronze)
    silver = preparing.silver()
    return Found(silver, preparing.partitions(silver), preparing.quality(silver))


def silver(found: Found, *more: str) -> list[tuple[Any, ...]]:
    cells = found.silver.selectExpr("coalesce(item, '')", "date_format(date, 'MM-dd HH:mm')", "units", *more)
    return sorted(tuple(row) for row in cells.collect())


def problems(found: Found) -> dict[str, str | None]:
    return {str(row["item"]): row["problem"] for row in found.partitions.select("item", "problem").collect()}


def quality(found: Found, check: str) -> dict[str, int]:
    rows = found.quality.filter(f"check = '{check}'").collect()
    return {
        str(dict(PartitionKey.parse(row["key"]).values)["item"]): row["rows"] for row in rows if row["rows"]
    }


def test_every_broken_partition_is_flagged_under_its_reason_and_the_sound_ones_are_whole(
    make_job: MakeJob, tmp_path: Path
) -> None:
    day = days(4)
    rows = [
        *(row("sound", d, 1.0) for d in day),
        *(row("empty", d, None) for d in day),
        *(row("infinite", d, "Infinity" if d == day[1] else 2.0) for d in day),
        *(row("text", d, "a few" if d == day[2] else 3.0) for d in day),
        *(row("timeless", "soon" if d == day[3] else d, 4.0) for d in day),
        *(row(None, d, 5.0) for d in day),
        row("single", day[0], 6.0),
    ]
    job = prepared(make_job, tmp_path, rows)
    assert problems(written(job)) == {
        "sound": None,
        "single": None,
        "empty": "all_null",
        "infinite": "not_finite",
        "text": "not_numeric",
        "timeless": "bad_times",
        "None": "null_key",
    }
    assert {line[0] for line in silver(written(job))} == {"sound", "single"}
    detail = {row["item"]: row["problem_detail"] for row in job.lake.read(PARTITIONS).collect()}
    assert detail["text"] == "1 of 4 values of units are text that is no number"
    assert quality(written(job), "not_numeric") == {"text": 1}
    assert quality(written(job), "bad_times") == {"timeless": 1}


def test_bad_rows_are_dropped_or_kept_where_the_spec_says_so(make_job: MakeJob, tmp_path: Path) -> None:
    rows = [
        row("a", "soon", 1.0),
        row("a", "2026-01-01", "inf"),
        row("a", "2026-01-02", 3.0),
        row(None, "2026-01-01", 4.0),
    ]
    found = cleaned(
        make_job, tmp_path, rows, prepare={"bad_times": "drop", "not_finite": "drop", "null_keys": "keep"}
    )
    assert problems(found) == {"a": None, "None": None}
    assert [line[1:] for line in silver(found) if line[0] == "a"] == [("01-02 00:00", 3.0)]
    table = {row["item"]: row for row in found.partitions.collect()}
    assert table[None]["partition_id"] == PartitionKey.of({"store": 1, "item": None}).id
    assert table["a"]["rows"] == 1


@pytest.mark.parametrize(
    ("rule", "units", "price"), [("last", 5.0, 9.0), ("sum", 7.0, 9.0), ("mean", 3.5, 9.0)]
)
def test_repeated_times_are_merged_by_rule(
    make_job: MakeJob, tmp_path: Path, rule: str, units: float, price: float
) -> None:
    rows = [
        row("a", "2026-01-01", 5.0, price=9.0, changed="2026-01-03 00:00:00"),
        row("a", "2026-01-01", 2.0, price=8.0, changed="2026-01-02 00:00:00"),
        row("a", "2026-01-02", 1.0, price=7.0, changed="2026-01-02 00:00:00"),
    ]
    source = {"csv": {"path": str(tmp_path / "sales.csv"), "watermark": "changed"}}
    found = cleaned(
        make_job,
        tmp_path,
        rows,
        prepare={"duplicates": rule},
        source=source,
        columns={"time": "date", "target": "units", "known_future": ["price"]},
    )
    assert silver(found, "price") == [("a", "01-01 00:00", units, price), ("a", "01-02 00:00", 1.0, 7.0)]
    assert quality(found, "duplicates") == {"a": 1}


def test_repeated_times_are_an_error_of_their_partition_where_the_spec_says_so(
    make_job: MakeJob, tmp_path: Path
) -> None:
    rows = [row("a", "2026-01-01", 5.0), row("a", "2026-01-01", 2.0), row("b", "2026-01-01", 1.0)]
    found = cleaned(make_job, tmp_path, rows, prepare={"duplicates": "error"})
    assert problems(found) == {"a": "duplicate_times", "b": None}


@pytest.mark.parametrize(("rule", "filled"), [("zero", 0.0), ("forward", 1.0), ("leave", None)])
def test_missing_steps_are_filled_between_first_and_last_only(
    make_job: MakeJob, tmp_path: Path, rule: str, filled: float | None
) -> None:
    rows = [
        row("a", "2026-01-01", 1.0),
        row("a", "2026-01-04", 4.0),
        row("b", "2026-01-03", 2.0),
        row("b", "2026-01-04", None),
    ]
    found = cleaned(make_job, tmp_path, rows, prepare={"gaps": rule})
    last_of_b = {"zero": 0.0, "forward": 2.0, "leave": None}[rule]
    between = [] if filled is None else [("a", "01-02 00:00", filled), ("a", "01-03 00:00", filled)]
    expected = [
        ("a", "01-01 00:00", 1.0),
        *between,
        ("a", "01-04 00:00", 4.0),
        ("b", "01-03 00:00", 2.0),
        ("b", "01-04 00:00", last_of_b),
    ]
    assert silver(found) == expected
    assert quality(found, "gaps") == {"a": 2}, "under `leave` they are counted, too"


def test_known_features_of_filled_steps_come_from_the_calendar(make_job: MakeJob, tmp_path: Path) -> None:
    rows = [row("a", "2026-01-01", 1.0, price=1.0), row("a", "2026-01-03", 3.0, price=3.0)]
    write_csv(tmp_path / "calendar.csv", [{"item": "a", "date": d, "price": 7.0} for d in days(9)])
    job = prepared(
        make_job,
        tmp_path,
        rows,
        columns={"time": "date", "target": "units", "known_future": ["price"]},
        prepare={"gaps": "zero", "calendar": {"csv": str(tmp_path / "calendar.csv")}},
    )
    assert [line[3] for line in silver(written(job), "price")] == [1.0, 7.0, 3.0]


def times(found: Found, item: str = "a") -> list[str]:
    """An item's times; those whose target was made up have a star."""
    mine = found.silver.filter(f"item = '{item}'").selectExpr(
        "date_format(date, 'yyyy-MM-dd HH:mm')", "units"
    )
    return sorted(at + ("" if units else " *") for at, units in mine.collect())


def filled(spark: SparkSession, folder: Path, frequency: str, given: list[str]) -> list[str]:
    """The times of a partition's rows with its gaps filled; those that were made up have a star."""
    spec = make_spec(
        folder, columns={"time": "date", "target": "units", "frequency": frequency}, prepare={"gaps": "zero"}
    )
    rows = spark.createDataFrame(
        [("a", at, 1.0) for at in given], "partition_id string, date string, units double"
    )
    whole = fill_gaps(rows.withColumn("date", rows["date"].cast("timestamp")), spec, None)
    found = whole.selectExpr("partition_id", "date_format(date, 'yyyy-MM-dd HH:mm') date", "units").collect()
    assert {row["partition_id"] for row in found} == {"a"}
    return sorted(row["date"] + ("" if row["units"] else " *") for row in found)


@pytest.mark.parametrize(
    ("frequency", "first"),
    [
        ("min", "2026-01-01 10:07"),
        ("15min", "2026-01-01 10:07"),
        ("30min", "2026-01-01 10:07"),
        ("h", "2026-01-01 10:07"),
        ("D", "2026-02-26 13:30"),
        ("B", "2026-01-01 13:30"),
        ("W", "2026-01-07 13:30"),
        ("W-MON", "2026-01-05 00:00"),
        ("W-SUN", "2026-01-04 13:30"),
        ("MS", "2026-01-01 13:30"),
        ("ME", "2026-01-31 13:30"),
        ("QS", "2026-04-01 00:00"),
        ("QE", "2026-03-31 00:00"),
        ("YS", "2026-01-01 00:00"),
        ("YE", "2027-12-31 00:00"),
    ],
)
def test_a_gap_is_filled_with_the_steps_that_a_forecast_has(
    spark: SparkSession, tmp_path: Path, frequency: str, first: str
) -> None:
    steps = [
        f"{at:%Y-%m-%d %H:%M}"
        for at in pd.date_range(first, periods=6, freq="7D" if frequency == "W" else frequency)
    ]
    assert steps[0] == first
    expected = [at + (" *" if n in (1, 2, 3) else "") for n, at in enumerate(steps)]
    assert filled(spark, tmp_path, frequency, [steps[0], *steps[4:]]) == expected


@pytest.mark.parametrize(
    ("frequency", "given", "made"),
    [
        ("W", ["2026-01-05", "2026-01-12", "2026-01-26"], ["2026-01-19 00:00"]),
        ("W", ["2026-01-05", "2026-01-13", "2026-01-19"], []),
        ("W-MON", ["2026-01-07", "2026-01-14", "2026-01-28"], ["2026-01-19 00:00"]),
        ("W-MON", ["2026-01-09", "2026-01-16", "2026-01-30"], ["2026-01-26 00:00"]),
        ("MS", ["2026-01-15", "2026-02-15", "2026-04-15"], ["2026-03-01 00:00"]),
        (
            "MS",
            ["2026-02-28 23:00", "2026-03-31 23:00", "2026-09-30 23:00", "2026-11-01 00:00"],
            [f"2026-0{month}-01 23:00" for month in (5, 6, 7, 8, 9)],
        ),
        ("ME", ["2026-01-15", "2026-02-15", "2026-04-15"], ["2026-03-31 00:00"]),
        ("ME", ["2026-02-01", "2026-03-01", "2026-05-01"], ["2026-03-31 00:00"]),
        ("QE", ["2025-11-15", "2026-02-15", "2026-08-15"], ["2026-06-30 00:00"]),
        ("B", ["2026-01-02", "2026-01-03", "2026-01-06"], ["2026-01-05 00:00"]),
        ("D", ["2026-01-01", "2026-01-02 18:00", "2026-01-03 06:00", "2026-01-05"], ["2026-01-04 06:00"]),
        ("h", ["2026-01-01 10:07", "2026-01-01 11:20", "2026-01-01 13:00"], ["2026-01-01 12:20"]),
    ],
)
def test_rows_beside_the_steps_of_the_frequency_stay_and_get_no_neighbour_of_their_own_step(
    spark: SparkSession, tmp_path: Path, frequency: str, given: list[str], made: list[str]
) -> None:
    whole = [at if " " in at else f"{at} 00:00" for at in given]
    assert filled(spark, tmp_path, frequency, given) == sorted([*whole, *(f"{at} *" for at in made)])


def test_a_day_is_a_day_where_the_clock_changes(make_job: MakeJob, tmp_path: Path) -> None:
    rows = [row("a", f"2026-03-{day}T00:00:00Z", 1.0) for day in (28, 29, 30, 31)]
    rows += [row("b", f"2026-03-{day}T01:00:00Z", 1.0) for day in (27, 29, 31)]
    found = cleaned(make_job, tmp_path, rows, prepare={"gaps": "zero", "timezone": "Atlantic/Azores"})
    assert times(found, "a") == [
        "2026-03-27 23:00",
        "2026-03-28 23:00",
        "2026-03-30 00:00",
        "2026-03-31 00:00",
    ]
    assert times(found, "b") == [
        "2026-03-27 00:00",
        "2026-03-28 00:00 *",
        "2026-03-29 01:00",
        "2026-03-30 01:00 *",
        "2026-03-31 01:00",
    ]


def test_each_partition_is_filled_from_its_own_rows(make_job: MakeJob, tmp_path: Path) -> None:
    rows = [
        row(item, f"2026-01-0{day} {hour}:00", 1.0)
        for item, hour in (("a", "06"), ("b", "18"))
        for day in (1, 3)
    ]
    found = cleaned(make_job, tmp_path, rows, prepare={"gaps": "zero"})
    assert times(found, "a") == ["2026-01-01 06:00", "2026-01-02 06:00 *", "2026-01-03 06:00"]
    assert times(found, "b") == ["2026-01-01 18:00", "2026-01-02 18:00 *", "2026-01-03 18:00"]


def test_a_gap_of_over_a_million_steps_is_left(spark: SparkSession, tmp_path: Path) -> None:
    given = ["2000-01-01 00:00", "2026-01-01 00:00", "2026-01-01 00:02"]
    assert filled(spark, tmp_path, "min", given) == [*given[:2], "2026-01-01 00:01 *", given[2]]


def test_a_date_that_pandas_cannot_hold_is_a_bad_time_of_its_partition(
    make_job: MakeJob, tmp_path: Path
) -> None:
    rows = [row(item, d, 1.0) for item in ("late", "early", "near") for d in days(3)]
    rows += [row("late", "9999-12-31", 1.0), row("early", "0001-01-01", 1.0)]
    found = cleaned(make_job, tmp_path, rows, prepare={"gaps": "zero"})
    assert problems(found) == {"late": "bad_times", "early": "bad_times", "near": None}
    assert quality(found, "bad_times") == {"late": 1, "early": 1}
    found = cleaned(make_job, tmp_path, rows, prepare={"gaps": "zero", "bad_times": "drop"})
    assert problems(found) == {"late": None, "early": None, "near": None}
    near = [f"{day} 00:00" for day in days(3)]
    assert times(found, "late") == times(found, "early") == times(found, "near") == near


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"negatives": "keep"}, [-3.0, 5.0]),
        ({"negatives": "zero"}, [0.0, 5.0]),
        ({"negatives": "drop"}, [5.0]),
    ],
)
def test_negatives_are_touched_only_where_the_spec_asks(
    make_job: MakeJob, tmp_path: Path, rule: Any, expected: list[float]
) -> None:
    rows = [row("a", "2026-01-01", -3.0), row("a", "2026-01-02", 5.0)]
    found = cleaned(make_job, tmp_path, rows, prepare=rule)
    assert [line[2] for line in silver(found)] == expected
    assert quality(found, "negatives") == {"a": 1}


def test_outliers_are_counted_and_stay_in_silver_where_missing_stays_missing(
    make_job: MakeJob, tmp_path: Path
) -> None:
    units = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, None, 1000.0]
    rows = [row("a", d, value) for d, value in zip(days(8), units, strict=True)]
    rows += [row("seldom", d, 9.0 if n == 3 else 0.0) for n, d in enumerate(days(8))]
    found = cleaned(make_job, tmp_path, rows, prepare={"outliers": 2})
    assert [line[2] for line in silver(found)] == [*units, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0]
    assert quality(found, "outliers") == {"a": 1}, "a zero spread makes no outliers"


def test_a_target_that_is_no_number_by_name_is_missing(make_job: MakeJob, tmp_path: Path) -> None:
    rows = [row("a", d, "NaN" if n == 1 else 2.0) for n, d in enumerate(days(3))]
    found = cleaned(make_job, tmp_path, rows)
    assert [line[2] for line in silver(found)] == [2.0, None, 2.0]
    assert problems(found) == {"a": None}
    assert quality(found, "null_target") == {"a": 1}


def test_history_keeps_the_newest_rows_and_counts_the_others(make_job: MakeJob, tmp_path: Path) -> None:
    rows = [row("a", d, float(n)) for n, d in enumerate(days(6)) if n not in (1, 4)] + [
        row("b", d, 1.0) for d in days(2)
    ]
    found = cleaned(make_job, tmp_path, rows, prepare={"history": 3, "gaps": "forward"})
    assert [line[2] for line in silver(found)] == [3.0, 3.0, 5.0, 1.0, 1.0]
    assert quality(found, "history") == {"a": 3}, "one of them filled before it was cut"
    assert quality(found, "gaps") == {"a": 2}


def test_of_rows_of_one_time_a_history_keeps_the_same_in_whatever_order_they_come(
    make_job: MakeJob, tmp_path: Path
) -> None:
    rows = [row("a", "2026-01-01", float(n), price=float(-n)) for n in range(40)]
    parts = {
        "task": "regression",
        "columns": {"time": "date", "target": "units", "features": ["price"]},
        "prepare": {"history": 5},
    }
    kept = silver(cleaned(make_job, tmp_path, rows, **parts))
    assert kept == silver(cleaned(make_job, tmp_path, rows[::-1], **parts))
    assert len(kept) == 5


@pytest.mark.parametrize(("frequency", "hours"), [("D", ("11", "12", "13")), ("h", ("10", "11", "12"))])
def test_mixed_zones_become_wall_time_of_the_specs_zone_or_below_a_day_utc(
    make_job: MakeJob, tmp_path: Path, frequency: str, hours: tuple[str, ...]
) -> None:
    rows = [
        row("a", "2026-01-01T12:00:00+02:00", 1.0),
        row("b", "2026-01-01T11:00:00Z", 2.0),
        row("c", "2026-01-01T13:00:00", 3.0),
    ]
    columns = {"time": "date", "target": "units", "frequency": frequency}
    found = cleaned(make_job, tmp_path, rows, columns=columns, prepare={"timezone": "Europe/Madrid"})
    expected = [(f"01-01 {hour}:00", float(n)) for n, hour in enumerate(hours, 1)]
    assert [line[1:] for line in silver(found)] == expected


@pytest.mark.parametrize("zoned", [True, False])
def test_both_changes_of_the_clock_leave_every_hour_once(
    make_job: MakeJob, tmp_path: Path, zoned: bool
) -> None:
    autumn = pd.date_range("2026-10-24 22:00", periods=6, freq="h", tz="UTC").tz_convert("Europe/Madrid")
    spring = pd.date_range("2026-03-28 23:00", periods=4, freq="h", tz="UTC").tz_convert("Europe/Madrid")
    name = "%Y-%m-%dT%H:%M:%S" + ("%z" if zoned else "")
    rows = [row("autumn", at.strftime(name), float(n)) for n, at in enumerate(autumn)]
    rows += [row("spring", at.strftime(name), float(n)) for n, at in enumerate(spring)]
    columns = {"time": "date", "target": "units", "frequency": "h"}
    rules = {"gaps": "zero", "timezone": "Europe/Madrid", "until": "last_row"}
    made = cleaned(make_job, tmp_path, rows, columns=columns, prepare=rules)
    found = silver(made)
    assert [line[1:] for line in found if line[0] == "autumn"] == [
        ("10-24 22:00", 0.0), ("10-24 23:00", 1.0), ("10-25 00:00", 2.0),
        ("10-25 01:00", 3.0), ("10-25 02:00", 4.0), ("10-25 03:00", 5.0),
    ]  # fmt: skip
    assert [line[1:] for line in found if line[0] == "spring"] == [
        ("03-28 23:00", 0.0), ("03-29 00:00", 1.0), ("03-29 01:00", 2.0), ("03-29 02:00", 3.0)
    ]  # fmt: skip
    assert quality(made, "duplicates") == quality(made, "gaps") == {}


def test_the_calendar_is_on_the_same_clock_as_the_rows(make_job: MakeJob, tmp_path: Path) -> None:
    rows = [row("a", f"2026-07-0{day}T22:00:00Z", 1.0, price=1.0) for day in (1, 3)]
    told = [{"item": "a", "date": f"2026-07-0{day}T22:00:00Z", "price": 7.0} for day in (1, 2, 3)]
    write_csv(tmp_path / "calendar.csv", told)
    job = prepared(
        make_job,
        tmp_path,
        rows,
        columns={"time": "date", "target": "units", "known_future": ["price"]},
        prepare={
            "gaps": "zero",
            "timezone": "Europe/Madrid",
            "calendar": {"csv": str(tmp_path / "calendar.csv")},
        },
    )
    assert [(line[1], line[3]) for line in silver(written(job), "price")] == [
        ("07-02 00:00", 1.0),
        ("07-03 00:00", 7.0),
        ("07-04 00:00", 1.0),
    ]
    assert quality(written(job), "revised") == {"a": 2}, "rows that differ from what was known ahead"


def test_keys_keep_their_type_and_every_character(make_job: MakeJob, tmp_path: Path) -> None:
    strange = ["a/b", "../x", "é", "🙂", 'say "no"', "x" * 500]
    found = cleaned(make_job, tmp_path, [row(item, "2026-01-01", 1.0, store=7) for item in strange])
    ids = {row["item"]: row["partition_id"] for row in found.partitions.collect()}
    assert ids == {item: PartitionKey.of({"item": item, "store": 7}).id for item in strange}


def test_a_change_touches_only_the_hash_of_its_partition_and_no_change_nothing(
    make_job: MakeJob, tmp_path: Path
) -> None:
    rows = [row(item, d, 1.0) for item in "ab" for d in days(3)]
    job = prepared(make_job, tmp_path, rows)
    version, before = job.lake.version(SILVER), hashes(job)
    assert prepare(job).note == "2 partitions, nothing new"
    assert job.lake.version(SILVER) == version
    write_csv(tmp_path / "sales.csv", [*reversed(rows[:3]), *rows[3:5], row("b", "2026-01-03", 2.0)])
    ingest(job)
    prepare(job)
    after = hashes(job)
    assert after["a"] == before["a"]
    assert after["b"] != before["b"]


def test_code_that_makes_other_rows_makes_them_of_the_bronze_that_is_there(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = prepared(make_job, tmp_path, [row("a", d, 1.0) for d in days(3)])
    version = job.lake.version(SILVER)
    monkeypatch.setattr("manymodels_spark.stages.prepare.stage._MAKE", 0)
    prepare(job)
    assert job.lake.version(SILVER) > version


def test_a_target_or_time_of_an_impossible_type_is_an_error_that_says_so(
    make_job: MakeJob, tmp_path: Path
) -> None:
    rows = [row("a", "2026-01-01", 1.0, price=2.0)]
    with pytest.raises(SourceError, match=r"columns.target: 'date' is of type date. A number"):
        prepared(make_job, tmp_path, rows, task="regression", columns={"target": "date"})
    (tmp_path / "sales.json").write_text('{"store": 1, "item": "a", "date": 20260101, "units": 1.0}')
    with pytest.raises(SourceError, match="columns.time: 'date' is of type bigint. A date"):
        prepared(make_job, tmp_path, rows, name="other", source={"json": str(tmp_path / "sales.json")})


def hashes(job: Job) -> dict[str, str]:
    return {
        row["item"]: row["data_hash"]
        for row in job.lake.read(PARTITIONS).select("item", "data_hash").collect()
    }


def test_rows_of_the_calendar_without_a_usable_date_are_left_out(spark: SparkSession, tmp_path: Path) -> None:
    spec = make_spec(tmp_path, columns={"time": "date", "target": "units", "known_future": ["price"]})
    known = [("a", "2026-01-02", 1.0), ("a", "9999-12-31", 2.0), ("a", "0001-01-01", 3.0), ("a", None, 4.0)]
    told = spark.createDataFrame(known, "item string, date string, price double")
    calendar = told.withColumn("date", told["date"].cast("timestamp"))
    partitions = spark.createDataFrame([("p", 1, "a")], "partition_id string, store int, item string")
    found = by_partition(calendar, partitions, spec).collect()
    assert [(row["partition_id"], str(row["date"]), row["price"]) for row in found] == [
        ("p", "2026-01-02 00:00:00", 1.0)
    ]


def test_sparse_demand_is_zero_until_the_newest_row_of_all_and_what_died_is_inactive(
    make_job: MakeJob, tmp_path: Path
) -> None:
    rows = [
        *(row("sells", d, 2.0) for d in days(40)),
        *(row("seldom", d, 1.0) for d in days(40)[:30:7]),
        row("dead", days(40)[0], 3.0),
        row("dead", days(40)[2], 3.0),
    ]
    job = prepared(make_job, tmp_path, rows, prepare={"gaps": "zero", "inactive_after": 20})
    last = {
        line["item"]: (f"{line['end']:%m-%d}", line["inactive"], line["rows"])
        for line in job.lake.read(PARTITIONS).collect()
    }
    assert last == {
        "sells": ("02-09", False, 40),
        "seldom": ("02-09", False, 40),
        "dead": ("01-03", True, 3),
    }
    write_csv(tmp_path / "sales.csv", [*rows, row("dead", days(41)[40], 1.0)])
    ingest(job)
    report = prepare(job)
    assert (report.counts["partitions"], report.counts["inactive"]) == (3, 0), "its next row revives it"
    assert len(times(written(job), "dead")) == 41


def test_a_partition_is_inactive_by_the_steps_on_which_it_was_open(make_job: MakeJob, tmp_path: Path) -> None:
    rows = [*(row("sells", d, 2.0) for d in days(40)), *(row("dead", d, 3.0) for d in days(4))]
    rows += [row("renovated", d, 3.0) for d in days(15)]
    told = [{"item": "renovated", "date": d, "shut": "closed"} for d in days(36)[15:]]
    told += [{"item": "dead", "date": "2026-01-09", "shut": "closed"}]
    write_csv(tmp_path / "told.csv", told)
    rules = {"closed": {"column": "shut"}, "calendar": {"csv": str(tmp_path / "told.csv")}}
    job = prepared(make_job, tmp_path, rows, prepare={"gaps": "zero", "inactive_after": 20, **rules})
    found = {
        line["item"]: (line["inactive"], line["rows"], f"{line['end']:%m-%d}")
        for line in job.lake.read(PARTITIONS).collect()
    }
    assert found == {
        "sells": (False, 40, "02-09"),
        "renovated": (False, 19, "02-09"),  # 25 days without a sale, of which it was closed on 21
        "dead": (True, 4, "01-04"),
    }


@pytest.mark.parametrize(
    ("until", "gaps", "end", "rows"),
    [
        ("last_row", "zero", "01-03", 3),
        ("2026-01-06", "zero", "01-06", 6),
        ("latest", "forward", "01-09", 9),
        ("latest", "leave", "01-09", 2),
        (None, "leave", "01-03", 2),
    ],
)
def test_until_when_a_partition_is_complete_is_what_the_spec_says(
    make_job: MakeJob, tmp_path: Path, until: str | None, gaps: str, end: str, rows: int
) -> None:
    given = [row("a", "2026-01-01", 1.0), row("a", "2026-01-03", 1.0), *(row("b", d, 1.0) for d in days(9))]
    found = cleaned(make_job, tmp_path, given, prepare={"until": until, "gaps": gaps})
    a = found.partitions.filter("item = 'a'").first()
    assert a is not None
    assert (f"{a['end']:%m-%d}", a["rows"]) == (end, rows)


def test_closed_steps_are_never_filled(make_job: MakeJob, tmp_path: Path) -> None:
    # 2026-01-01 is a Thursday; the shop never opens on a Sunday, on Epiphany and on Tuesday the 20th.
    shut = ("2026-01-06", "2026-01-20")
    open_days = [d for n, d in enumerate(days(42)) if (n + 3) % 7 != 6 and d not in shut]
    told = [{"date": d, "shut": "closed" if d == "2026-01-20" else ""} for d in days(60)]
    write_csv(tmp_path / "calendar.csv", told)
    write_csv(tmp_path / "sales.csv", [row("a", d, 5.0, shut="") for d in open_days])
    columns = {"time": "date", "target": "units", "holidays": "ES"}
    calendar = {"csv": str(tmp_path / "calendar.csv")}

    def job_of(closed: Any) -> Job:
        return make_job(columns=columns, prepare={"gaps": "zero", "closed": closed, "calendar": calendar})

    ingest(job_of({"column": "shut"}))
    made = {}
    for name, closed in {
        "open": {},
        "auto": "auto",
        "weekdays": ["sunday"],
        "holidays": {"weekdays": ["sunday"], "holidays": True},
        "said": {"weekdays": ["sunday"], "column": "shut"},
    }.items():
        job = job_of(closed)
        found = looked_at(job, job.lake.read(BRONZE))
        made[name] = [at[5:10] for at in times(found) if at.endswith("*")]
    sundays = ["01-04", "01-11", "01-18", "01-25", "02-01", "02-08"]
    assert made == {
        "open": sorted([*sundays, "01-06", "01-20"]),
        "auto": ["01-06", "01-20"],
        "weekdays": ["01-06", "01-20"],
        "holidays": ["01-20"],
        "said": ["01-06"],
    }
