"""A night over what version 0.1.0 wrote: champions, predictions and ledgers live on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import mlflow
import orjson
import pandas as pd
import psycopg
import pytest
from upgrades import OldFiles, old_files

from manymodels_spark.errors import PayloadError
from manymodels_spark.flavor.route_table import HEAD, Routes
from manymodels_spark.lake.tables import CHAMPIONS, PREDICTIONS, PROMOTIONS, RUNS
from manymodels_spark.modeling import payload
from manymodels_spark.spec import read_spec
from manymodels_spark.stages.load.stage import load
from manymodels_spark.stages.pipeline import run
from manymodels_spark.stages.promote.champions_index import read_index, verify
from manymodels_spark.stages.promote.rollback import rollback
from manymodels_spark.stages.runs import lock
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.opening import open_production

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.services]
WEEK = 7
LEDGER = 'SELECT "table", source, version, rows, run_id FROM {}manymodels_loads ORDER BY loaded_at, "table"'


@pytest.fixture(scope="module")  # MLflow keeps a database open for as long as the process lives
def old() -> Iterator[OldFiles]:
    with old_files() as files:
        yield files


def a_week_later(old: OldFiles) -> None:
    """Seven more days of every partition at the source."""
    path = old.folder / "sales.csv"
    known = pd.read_csv(path, parse_dates=["date"])
    last = known[known["date"] > known["date"].max() - timedelta(WEEK)]
    more = pd.concat([known, last.assign(date=last["date"] + timedelta(WEEK))])
    more.assign(date=more["date"].dt.strftime("%Y-%m-%d")).to_csv(path, index=False)


def champions(job: Job) -> dict[str, str]:
    """Model id by partition id, of which index and MLflow must agree."""
    assert verify(job) == []
    return {row["partition_id"]: row["model_id"] for row in read_index(job).collect()}


def predictions(job: Job, until: date) -> dict[str, float]:
    """The sum of a partition's predictions of all cutoffs before a day."""
    rows = job.lake.read(PREDICTIONS).filter(f"cutoff < '{until}'").groupBy("partition_id").sum("prediction")
    return {row[0]: row[1] for row in rows.collect()}


def test_models_of_version_0_1_are_loaded_by_plain_mlflow(
    old: OldFiles, mlflow_at: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(old.folder.glob("production-artifacts/*/artifacts/models/*/MLmodel"))
    assert len(files) == 8, "two promotions of four partitions"
    assert all("loader_module: manymodels_spark.pyfunc" in _plain(file) for file in files)
    assert callable(mlflow_at)
    mlflow_at(f"sqlite:///{old.folder}/production.db")

    asked = pd.DataFrame({"store": [1, 2], "item": ["a", "b/ü"], "date": "2026-03-20"})
    routed = mlflow.pyfunc.load_model("models:/sales@champion")
    answer = routed.predict(asked)["prediction"].tolist()
    assert all(value > 0 for value in answer)
    name, version = old.champions["vpatz3ixvasvwl4cdhho"].rsplit("/", 1)
    own = mlflow.pyfunc.load_model(f"models:/{name}/{version}")
    assert own.metadata.flavors["python_function"]["loader_module"] == "manymodels_spark.pyfunc"
    mine = own.predict(pd.DataFrame({"date": ["2026-03-20"]}))
    assert mine["prediction"].tolist()[-1] == pytest.approx(answer[0])


def _plain(file: Path) -> str:
    """An MLmodel, JSON or YAML, as YAML without quotes."""
    return file.read_text().replace('"', "")


def test_a_night_over_a_lake_of_version_0_1(
    old: OldFiles, spark: SparkSession, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(
        ["psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(old.folder / "warehouse.sql"), postgres_url],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    monkeypatch.setenv("SALES_WAREHOUSE", postgres_url)
    job = Job.of(read_spec(old.spec), spark)
    before = job.lake.read(RUNS).count()
    abandoned = lock.newest(job, "train")
    assert abandoned is not None
    assert (abandoned.signature, abandoned.owner.host, abandoned.status) == (
        "interrupted",
        "a-laptop",
        lock.RUNNING,
    )
    assert champions(job) == old.champions
    scored = predictions(job, date(2026, 3, 19))
    assert scored == pytest.approx(old.predictions)
    assert load(job).counts["rows"] == 0, "the warehouse holds this version"

    a_week_later(old)
    report = run(job)
    load(Job.of(read_spec(old.postgres_spec), spark))

    assert (report["train"].counts["fitted"], report["score"].counts["partitions"]) == (4, 4)
    assert predictions(job, date(2026, 3, 19)) == pytest.approx(scored)
    assert job.lake.read(RUNS).count() > before
    assert job.lake.read(RUNS).filter("owner.boot IS NOT NULL").count() > 0
    _champions_live_on(job, old, report["promote"].counts["promoted"])
    _ledgers_live_on(job, old, postgres_url)


def _champions_live_on(job: Job, old: OldFiles, promoted: int) -> None:
    """New champions replaced the old ones by name, and a rollback leads back to them."""
    now = champions(job)
    replaced = {partition for partition, model in now.items() if model != old.champions[partition]}
    assert len(replaced) == promoted > 0
    models = {model.model_id: model for model in open_production(job.spec).search_all(t.where(SPEC="sales"))}
    for partition in replaced:
        assert models[now[partition]].tags[t.REPLACES] == old.champions[partition]
    taken_back = [model for model in models.values() if model.tags[t.ROLE] == t.ROLLED_BACK]
    assert [model.partition_id for model in taken_back] == ["vpatz3ixvasvwl4cdhho"]
    assert job.lake.read(PROMOTIONS).filter("outcome = 'rolled back'").count() == 1
    assert rollback(job).counts["rolled_back"] >= promoted
    assert {p: m for p, m in champions(job).items() if p in replaced} == {
        p: m for p, m in old.champions.items() if p in replaced
    }
    assert {row["sha256"] for row in job.lake.read(CHAMPIONS).collect()} >= {
        old.sha256[partition] for partition in replaced
    }


def _ledgers_live_on(job: Job, old: OldFiles, postgres_url: str) -> None:
    """Both ledgers keep their rows, and the predictions of all three nights are in both warehouses."""
    with duckdb.connect(str(old.folder / "warehouse.duckdb"), read_only=True) as warehouse:
        ledger = warehouse.execute(LEDGER.format("")).fetchall()
        rows = warehouse.execute("SELECT count(*), sum(prediction) FROM sales_predictions").fetchone()
    with psycopg.connect(postgres_url) as connection:
        other = connection.execute(LEDGER.format("forecasts.")).fetchall()
        found = connection.execute(
            "SELECT count(*), sum(prediction) FROM forecasts.sales_predictions"
        ).fetchone()
    assert rows is not None and found is not None
    lake = job.lake.read(PREDICTIONS).selectExpr("count(*)", "sum(prediction)").first()
    assert lake is not None and rows[0] == found[0] == lake[0] == 3 * 4 * WEEK
    assert rows[1] == pytest.approx(lake[1]) and found[1] == pytest.approx(lake[1])
    for book in (ledger, other):
        loads = [row for row in book if row[0] == "sales_predictions"]
        # The column `trained_until`, which 0.1.0 did not write, is a commit of its own.
        assert [row[2] for row in loads] == [0, 1, 3]
        assert len({row[1] for row in loads}) == 1, "one lake table, brought forward"


def test_newer_formats_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document, newest = {"members": []}, payload.FORMAT
    with monkeypatch.context() as patch:
        patch.setattr(payload, "FORMAT", newest + 1)
        newer = payload.seal(document)
    assert payload.open_payload(payload.seal(document))["manymodels"] == newest
    refused = rf"the payload has format {newest + 1}, and this version reads up to {newest}\. Install a newer"
    with pytest.raises(PayloadError, match=refused):
        payload.open_payload(newer)
    (tmp_path / HEAD).write_bytes(orjson.dumps({"format": 2}))
    with pytest.raises(PayloadError, match=r"the routing model has format 2, .* up to 1\. Install a newer"):
        Routes.read(tmp_path)
