"""The load stage into Synapse: Spark's export, its checksum
by executors, and the pool's stand-in that reads the files.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from synapse_stand_in import StandIn

from manymodels_spark.errors import ManyModelsError, WarehouseError
from manymodels_spark.lake.tables import PREDICTIONS, RUNS
from manymodels_spark.spec.places import Synapse
from manymodels_spark.stages.load.stage import load
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.warehouse import synapse, synapse_serverless, synapse_sql

SCHEMA = (
    "partition_id string, store int, cutoff timestamp, prediction double, price decimal(9,2), day date, "
    "known boolean, "
    "notes map<string,bigint>, run_id string, scored_at timestamp"
)
MONDAY = datetime(2026, 11, 23)


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A pool that finds the staging folder of this machine behind Azure's addresses."""
    pool = StandIn(tmp_path)
    monkeypatch.setattr(
        synapse_sql,
        "url",
        lambda place: place.replace(f"file://{tmp_path}", "https://a.dfs.core.windows.net"),
    )
    monkeypatch.setattr(
        "manymodels_spark.stages.load.stage.open_warehouse",
        lambda part, spec: synapse.open_synapse(part, spec, lambda _: pool),
    )
    return pool


def predicted(job: Job, *rows: tuple[str, float | None, str]) -> None:
    cells = [
        (one, 1, MONDAY, value, None, MONDAY.date(), True, {"a": 1}, run, MONDAY) for one, value, run in rows
    ]
    job.lake.append(PREDICTIONS, job.spark.createDataFrame(cells, SCHEMA))


def job_of(make_job: Callable[..., Job], tmp_path: Path, **changes: object) -> Job:
    part = {"server": "s", "database": "d", "staging": f"file://{tmp_path}/lake/export", **changes}
    return make_job(warehouse={"synapse": part})


@pytest.mark.parametrize("way", ["delete_insert", "switch"])
def test_versions_of_the_lake_arrive_with_the_checksum_that_executors_took(
    make_job: Callable[..., Job], pool: StandIn, tmp_path: Path, way: str
) -> None:
    job = job_of(make_job, tmp_path, load=way)
    predicted(job, ("ü", 1.0, "r1"), ("b", None, "r1"))
    assert load(job, tables=[RUNS]).counts["rows"] == 2

    predicted(job, ("c", 3.5, "r2"))
    report = load(job, tables=[RUNS])

    assert report.counts["rows"] == 1, "only what is new travels"
    rows = pool.database.execute(
        "SELECT partition_id, prediction, cutoff, day, notes FROM dbo.sales_predictions ORDER BY 1"
    ).fetchall()
    assert rows == [
        (one, value, MONDAY, MONDAY.date(), '{"a":1}') for one, value in [("b", None), ("c", 3.5), ("ü", 1.0)]
    ]
    assert load(job, tables=[]).counts["rows"] == 0


def test_rows_that_changed_on_their_way_are_found(
    make_job: Callable[..., Job], pool: StandIn, tmp_path: Path
) -> None:
    job = job_of(make_job, tmp_path)
    predicted(job, ("a", 1.0, "r1"), ("b", 2.0, "r1"))

    def spoil(_: int, statement: str) -> None:
        if statement.startswith("COPY INTO"):
            table = pool.database.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_name LIKE '%rows%'"
            ).fetchone()
            pool.database.execute(f"UPDATE dbo.\"{table[0]}\" SET prediction = 2.5 WHERE partition_id = 'b'")

    pool.after = spoil
    with pytest.raises(WarehouseError, match="differ from those exported in column prediction"):
        load(job, tables=[])


def test_the_serverless_endpoint_gets_views_of_the_tables_where_they_lie(
    make_job: Callable[..., Job], pool: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(make_job, tmp_path, serverless=True)
    predicted(job, ("a", 1.0, "r1"))
    views: list[str] = []
    run = StandIn._run
    monkeypatch.setattr(
        StandIn,
        "_run",
        lambda self, statement: (
            views.append(statement)
            if "OPENROWSET" in statement or "CREDENTIAL" in statement
            else run(self, "SELECT 1 WHERE 1 = 0" if "FROM sys." in statement else statement)
        ),
    )
    monkeypatch.setattr(
        synapse_serverless, "url", lambda place: f"https://a.dfs.core.windows.net/c/{place.lstrip('/')}"
    )

    report = load(job, tables=[])

    view = views[-1]
    assert "/lake/sales/predictions/', DATA_SOURCE = 'manymodels_a_c', FORMAT = 'DELTA'" in view
    detail = job.spark.sql(f"DESCRIBE DETAIL {job.lake.ref(PREDICTIONS)}").first()
    assert detail is not None and (detail["minReaderVersion"], detail["minWriterVersion"]) == (1, 2)

    mapped = (
        "'delta.minReaderVersion' = '2', 'delta.minWriterVersion' = '5', 'delta.columnMapping.mode' = 'name'"
    )
    job.spark.sql(f"ALTER TABLE {job.lake.ref(PREDICTIONS)} SET TBLPROPERTIES ({mapped})")
    with pytest.raises(ManyModelsError, match=r"predictions has Delta reader version \d .*Rename columns"):
        load(job, tables=[])
    assert report.counts["rows"] == 0
    assert isinstance(job.spec.warehouse, Synapse)
