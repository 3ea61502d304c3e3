"""Ingest: only what is new is copied, and a source that is not what the spec says is refused whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from builders import days, write_csv

from manymodels_spark.errors import SourceError
from manymodels_spark.lake.tables import BRONZE, CALENDAR
from manymodels_spark.stages.ingest import stage as ingesting
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.runs.job import Job

pytestmark = pytest.mark.spark
MakeJob = Callable[..., Job]


def sales(count: int = 3, **more: object) -> list[dict[str, object]]:
    return [
        {"store": 1, "item": "a", "date": day, "units": float(n), **more} for n, day in enumerate(days(count))
    ]


def bronze(job: Job) -> list[tuple[Any, ...]]:
    return sorted(tuple(row) for row in job.lake.read(BRONZE).select("store", "item", "units").collect())


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "source.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE sales (store INTEGER, item VARCHAR, date DATE, units DOUBLE, updated_at TIMESTAMP)"
        )
    return path


def add(path: Path, *rows: tuple[object, ...]) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.executemany("INSERT INTO sales VALUES (?, ?, ?, ?, ?)", rows)


def jdbc(path: Path, **options: Any) -> dict[str, Any]:
    return {"jdbc": {"url": f"jdbc:duckdb:{path}", "table": "sales", "watermark": "updated_at", **options}}


def test_every_row_is_kept_with_its_source_batch_and_time(make_job: MakeJob, tmp_path: Path) -> None:
    write_csv(tmp_path / "sales.csv", sales(3))
    job = make_job()
    report = ingest(job)
    assert report.counts == {"rows": 3, "new": 3}
    rows = job.lake.read(BRONZE).select("_source", "_batch", "_ingested_at").collect()
    assert {row["_source"].rsplit("/", 1)[-1] for row in rows} == {"sales.csv"}
    assert all(len(row["_batch"]) == 16 and row["_ingested_at"] is not None for row in rows)


def test_the_same_file_again_adds_nothing_and_a_changed_one_replaces_itself(
    make_job: MakeJob, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_csv(folder / "one.csv", sales(2))
    job = make_job(source={"csv": str(folder)})
    ingest(job)
    version = job.lake.version(BRONZE)
    assert ingest(job).counts == {"rows": 2, "new": 0}
    assert job.lake.version(BRONZE) == version

    write_csv(folder / "two.csv", [{**row, "store": 2} for row in sales(1)])
    assert ingest(job).counts == {"rows": 3, "new": 1}
    write_csv(folder / "one.csv", sales(4))
    ingest(job)
    assert bronze(job) == [(1, "a", 0.0), (1, "a", 1.0), (1, "a", 2.0), (1, "a", 3.0), (2, "a", 0.0)]


def test_a_database_is_read_by_watermark_and_late_rows_are_found(make_job: MakeJob, database: Path) -> None:
    moment = datetime(2026, 1, 1, 12)
    add(database, (1, "a", "2026-01-01", 1.0, moment), (1, "a", "2026-01-02", 2.0, moment))
    job = make_job(source=jdbc(database, late="2h"))
    assert ingest(job).counts == {"rows": 2, "new": 2}
    assert ingest(job).counts == {"rows": 2, "new": 0}

    late, old = moment - timedelta(hours=1), moment - timedelta(days=1)
    add(
        database,
        (1, "a", "2026-01-03", 3.0, late),
        (1, "a", "2026-01-04", 4.0, moment),
        (1, "a", "2025-12-01", 9.0, old),
    )
    assert ingest(job).counts == {"rows": 4, "new": 2}, "the row a day late is beyond the two hours"
    assert ingest(job, full_refresh=True).counts == {"rows": 5, "new": 5}


def test_columns_get_the_names_that_the_spec_gives_them(
    make_job: MakeJob, database: Path, tmp_path: Path
) -> None:
    moment = datetime(2026, 1, 1, 12)
    add(database, (1, "a", "2026-01-01", 1.0, moment))
    source = jdbc(database, rename={"item": "product", "updated_at": "changed"})
    job = make_job(source=source, partition_by=["store", "product"])
    assert ingest(job).counts == {"rows": 1, "new": 1}
    assert ingest(job).counts == {"rows": 1, "new": 0}
    add(database, (1, "b", "2026-01-01", 2.0, moment + timedelta(days=1)))
    assert ingest(job).counts == {"rows": 2, "new": 1}, "the watermark goes by the source's own name"
    rows = job.lake.read(BRONZE).select("product", "units", "changed").collect()
    assert sorted((row["product"], row["units"], row["changed"].day) for row in rows) == [
        ("a", 1.0, 1),
        ("b", 2.0, 2),
    ]


@pytest.mark.parametrize(
    ("rename", "said"),
    [
        ({"itme": "product"}, "no column itme. It has: "),
        ({"item": "store"}, "two columns would be called store"),
    ],
)
def test_a_name_that_cannot_be_given_is_refused(
    rename: dict[str, str], said: str, make_job: MakeJob, tmp_path: Path
) -> None:
    write_csv(tmp_path / "named.csv", sales(2))
    with pytest.raises(SourceError, match=f"rename: {said}"):
        ingest(make_job(source={"csv": {"path": str(tmp_path / "named.csv"), "rename": rename}}))


def test_of_two_that_bring_the_same_new_rows_one_does(
    make_job: MakeJob, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database, (1, "a", "2026-01-01", 1.0, "2026-01-01"))
    job = make_job(source=jdbc(database))
    ingest(job)
    add(database, (1, "a", "2026-01-02", 2.0, "2026-01-02"))
    look = ingesting.new_rows

    def overtaken(*args: Any) -> Any:
        found = look(*args)
        with monkeypatch.context() as patch:
            patch.setattr(ingesting, "new_rows", look)
            ingest(Job.of(job.spec, job.spark))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(ingesting, "new_rows", overtaken)
        ingest(job)
    assert bronze(job) == [(1, "a", 1.0), (1, "a", 2.0)]
    add(database, (1, "a", "2026-01-03", 3.0, "2026-01-03"))
    assert ingest(job).counts == {"rows": 3, "new": 1}


def test_a_table_without_watermark_is_copied_only_when_it_changed(make_job: MakeJob, database: Path) -> None:
    add(database, (1, "a", "2026-01-01", 1.0, None))
    job = make_job(source={"jdbc": {"url": f"jdbc:duckdb:{database}", "table": "sales"}})
    ingest(job)
    version = job.lake.version(BRONZE)
    ingest(job)
    assert job.lake.version(BRONZE) == version
    add(database, (1, "a", "2026-01-02", 2.0, None))
    assert ingest(job).counts["rows"] == 2


def test_a_new_column_is_kept_and_a_vanished_or_retyped_one_is_an_error(
    make_job: MakeJob, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_csv(folder / "1.csv", sales(2))
    job = make_job(source={"csv": str(folder)})
    ingest(job)
    write_csv(folder / "2.csv", sales(1, price=2.5))
    ingest(job)
    assert sorted((row["price"] is None) for row in job.lake.read(BRONZE).select("price").collect()) == [
        False,
        True,
        True,
    ]

    version = job.lake.version(BRONZE)
    write_csv(
        folder / "3.csv", [{"store": 1, "item": "a", "date": "2026-02-01", "units": "many", "price": "1.0"}]
    )
    with pytest.raises(SourceError, match="column 'units' was double and is string now"):
        ingest(job)
    write_csv(folder / "3.csv", sales(1))
    with pytest.raises(SourceError, match=r"column 'price' vanished(.|\n)*--full"):
        ingest(job)
    assert job.lake.version(BRONZE) == version


def test_a_missing_column_is_named_with_the_nearest_one(make_job: MakeJob, tmp_path: Path) -> None:
    write_csv(tmp_path / "sales.csv", sales())
    job = make_job(columns={"time": "date", "target": "unit"})
    with pytest.raises(
        SourceError, match=r"columns.target: no column 'unit'. Did you mean 'units'\?"
    ) as caught:
        ingest(job)
    assert "It has: store, item, date, units" in str(caught.value)
    assert not job.lake.exists(BRONZE)


def test_an_empty_source_is_an_error(make_job: MakeJob, database: Path) -> None:
    with pytest.raises(SourceError, match="is empty"):
        ingest(make_job(source=jdbc(database)))


def test_a_file_that_is_not_there_is_an_error_that_names_it(make_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"csv .*nowhere.csv"):
        ingest(make_job(source={"csv": str(tmp_path / "nowhere.csv")}))


def test_a_database_out_of_reach_is_told_without_its_password(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALES_PASSWORD", "hunter2")
    source = {
        "jdbc": {
            "url": "jdbc:postgresql://127.0.0.1:1/sales?password=hunter2",
            "table": "sales",
            "user": "me",
            "password": "${SALES_PASSWORD}",
        }
    }
    with pytest.raises(SourceError, match="refused") as caught:
        ingest(make_job(source=source))
    assert "hunter2" not in str(caught.value)


def test_a_wide_file_becomes_one_row_per_value(make_job: MakeJob, tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text("V1,V2,V3,V4\nW1,1.5,2,3\nW2,7,,\n")
    wide = {
        "id": "V1",
        "name": "series",
        "time": "week",
        "values": "value",
        "start": "2026-01-04",
        "frequency": "W",
    }
    job = make_job(
        source={"csv": {"path": str(tmp_path / "wide.csv"), "wide": wide}},
        partition_by=["series"],
        columns={"time": "week", "target": "value", "frequency": "W"},
    )
    ingest(job)
    rows = job.lake.read(BRONZE).select("series", "week", "value").collect()
    assert sorted((row[0], row[1].day, row[2]) for row in rows) == [
        ("W1", 4, 1.5),
        ("W1", 11, 2.0),
        ("W1", 18, 3.0),
        ("W2", 4, 7.0),
    ]


def test_parquet_json_and_delta_are_read_too(make_job: MakeJob, tmp_path: Path) -> None:
    import pandas as pd

    table = pd.DataFrame(sales(3))
    (tmp_path / "p").mkdir()
    table.to_parquet(tmp_path / "p" / "a.parquet")
    table.to_json(tmp_path / "a.json", orient="records", lines=True)
    expected = [(1, "a", 0.0), (1, "a", 1.0), (1, "a", 2.0)]
    for name, source in {
        "one": {"parquet": str(tmp_path / "p")},
        "two": {"json": str(tmp_path / "a.json")},
    }.items():
        job = make_job(name=name, source=source)
        ingest(job)
        assert bronze(job) == expected
    delta = make_job(name="three", source={"delta": job.lake.location(BRONZE)})
    ingest(delta)
    assert bronze(delta) == expected
    assert ingest(delta).counts["new"] == 0


def test_the_calendar_is_copied_beside_and_must_have_the_known_future_columns(
    make_job: MakeJob, tmp_path: Path
) -> None:
    write_csv(tmp_path / "sales.csv", sales(3, price=1.0))
    write_csv(tmp_path / "calendar.csv", [{"store": 1, "date": day, "price": 2.0} for day in days(5)])
    columns = {"time": "date", "target": "units", "known_future": ["price"]}
    job = make_job(columns=columns, prepare={"calendar": {"csv": str(tmp_path / "calendar.csv")}})
    ingest(job)
    assert job.lake.read(CALENDAR).count() == 5
    version = job.lake.version(CALENDAR)
    ingest(job)
    assert job.lake.version(CALENDAR) == version
    write_csv(tmp_path / "calendar.csv", [{"store": 1, "date": "2026-01-01"}])
    with pytest.raises(SourceError, match=r"prepare.calendar: .* lacks price"):
        ingest(job)
