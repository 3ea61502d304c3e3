"""The main job on a cluster: two workers that share with
the driver nothing but the lake and the tracking server.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
import yaml
from builders import days, write_csv
from e2e.packaged import ROOT, wheel
from e2e.standalone import SPARK_HOME, Cluster, bare_environment, bare_python
from integration.mlflow_server import MlflowServer, start

from manymodels_spark.cli import main
from manymodels_spark.lake.tables import FITS, PREDICTIONS

pytestmark = [pytest.mark.spark, pytest.mark.services]
SMALL = (
    "spark.sql.shuffle.partitions=4",
    "spark.databricks.delta.snapshotPartitions=2",
    "spark.ui.enabled=false",
)
WEEK = [3.0, 5.0, 4.0, 6.0, 8.0, 12.0, 10.0]


@dataclass(frozen=True)
class Site:
    """The machines of the test: a cluster, a tracking
    server, a lake, the driver's folder and a bare Python.
    """

    cluster: Cluster
    server: MlflowServer
    lake: Path
    driver: Path
    python: Path

    def submit(self, job: str, spec: Path) -> subprocess.CompletedProcess[str]:
        """`spark-submit jobs/JOB.py SPEC` from the driver's folder, with the wheel as --py-files."""
        from click.testing import CliRunner

        settings = self.driver / "spark.properties"
        settings.write_text(CliRunner().invoke(main, ["spark-conf", "--master", self.cluster.url]).output)
        command = [
            str(SPARK_HOME / "bin" / "spark-submit"),
            "--master",
            self.cluster.url,
            "--properties-file",
            str(settings),
            *(part for setting in SMALL for part in ("--conf", setting)),
            "--executor-memory",
            "700m",
            "--py-files",
            str(self.driver / "manymodels_spark.zip"),
            str(self.driver / f"{job}.py"),
            str(spec),
        ]
        environment = bare_environment(PYSPARK_PYTHON=str(self.python), SPARK_HOME=str(SPARK_HOME))
        return subprocess.run(
            command,
            cwd=self.driver,
            env=environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    driver, lake = folder / "driver", folder / "lake"
    driver.mkdir(), lake.mkdir()
    shutil.move(wheel(folder / "dist"), driver / "manymodels_spark.zip")
    for job in (ROOT / "jobs").glob("*.py"):
        shutil.copy(job, driver)
    cluster = Cluster(folder / "cluster").start()
    server = start(folder / "mlflow", proxied=True)
    yield Site(cluster, server, lake, driver, bare_python(folder / "python"))
    server.stop()
    cluster.stop()


def write_spec(site: Site) -> Path:
    """A spec in the driver's folder: eight series, one of them broken, prophet among the candidates."""
    rows = [
        {
            "store": store,
            "item": item,
            "date": day,
            "units": (store + 1) * WEEK[n % 7] if item != "empty" else None,
        }
        for store in range(4)
        for item in ("a", "b" if store else "empty")
        for n, day in enumerate(days(45))
    ]
    (site.lake / "landing").mkdir(exist_ok=True)
    write_csv(site.lake / "landing" / "sales.csv", rows)
    spec = {
        "name": "sales",
        "partition_by": ["store", "item"],
        "source": {"csv": str(site.lake / "landing")},
        "columns": {"time": "date", "target": "units"},
        "horizon": 7,
        "backtest": {"folds": 1},
        "candidates": [{"prophet": {"weekly": True}}, "linear", "seasonal_naive"],
        "lake": str(site.lake / "tables"),
        "mlflow": {
            "development": {"tracking": "${TRACKING}", "experiment": "dev"},
            "production": {"tracking": "${TRACKING}", "experiment": "prod"},
        },
        "warehouse": {"duckdb": "warehouse.duckdb"},
    }
    path = site.driver / "sales.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


@pytest.mark.slow
def test_the_python_of_the_cluster_does_not_know_the_package(site: Site) -> None:
    command = [str(site.python), "-c", "import pandas, prophet; import manymodels_spark"]
    answer = subprocess.run(
        command, cwd=site.driver, env=bare_environment(), capture_output=True, text=True, check=False
    )
    assert "No module named 'manymodels_spark'" in answer.stderr


# A master, two workers, their executors, a tracking server and a driver fill a machine for minutes. What they
# share, a lake and a server's artifacts, is tested without them too (tests/integration/test_azure_storage.py,
# test_tracking_http.py); that the workers have only what was submitted is seen here alone.
@pytest.mark.slow
def test_the_main_job_runs_from_rows_to_warehouse_on_two_workers(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKING", site.server.url)
    run = site.submit("run", write_spec(site))
    assert run.returncode == 0, run.stdout + run.stderr[-5000:]
    assert "8 in = 7 fitted + 0 unchanged + 1 quarantined" in " ".join(run.stdout.split())
    for worker in site.cluster.names():
        logs = site.cluster.executor_logs(worker)
        assert any("Finished task" in log for log in logs), f"{worker} took part"
    with duckdb.connect(str(site.driver / "warehouse.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM sales_predictions").fetchone() == (7 * 7,)
        fitted = connection.execute(
            "SELECT count(*), count(DISTINCT task) FROM sales_fits WHERE status = 'fitted'"
        ).fetchone()
    assert fitted is not None
    assert fitted[0] == 7
    assert fitted[1] > 1, "the cluster has two cores: the wave is cut into several tasks"
    tables = {path.name for path in (site.lake / "tables" / "sales").iterdir()}
    assert {FITS, PREDICTIONS} <= tables
