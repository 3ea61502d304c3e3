"""The main job as a person runs it: the shipped retail spec, the command line, spark-submit, the notebook."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest
from click.testing import CliRunner, Result

from manymodels_spark.cli import main
from manymodels_spark.lake.tables import FITS, MODELS, PARTITIONS, PREDICTIONS, PROMOTIONS, QUARANTINE, Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
ROOT = Path(__file__).parents[2]
SPEC = str(ROOT / "conf" / "retail.yaml")
TOO_MANY = 3
STAGES = ("ingest", "prepare", "train", "promote", "score", "load")
# The others run stages again that the demonstration has run, by scripts that differ in a name.
ONE_AND_SLOW = [job if job == "ingest" else pytest.param(job, marks=pytest.mark.slow) for job in STAGES]


def manymodels(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture(scope="module")
def demo(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Result]]:
    """A folder in which the demonstration was run, small, with what it printed."""
    folder, before = tmp_path_factory.mktemp("demo"), Path.cwd()
    os.chdir(folder)
    os.environ["MANYMODELS_DEMO_DB"] = str(folder / ".manymodels" / "demo.duckdb")
    made = manymodels("demo-data", "--stores", "2", "--items", "4", "--days", "400")
    assert made.exit_code == 0, made.output
    yield folder, manymodels("run", SPEC)
    del os.environ["MANYMODELS_DEMO_DB"]
    os.chdir(before)


@pytest.fixture
def lake(demo: tuple[Path, Result], spark: SparkSession) -> Lake:
    return Lake.of(spark, str(demo[0] / ".manymodels" / "lake"), "retail_sales")


def numbers(line: str, text: str) -> list[int]:
    """The numbers in the closing line that begins so."""
    found = next(row for row in text.splitlines() if row.startswith(line))
    return [int(number.replace(",", "")) for number in re.findall(r"(?<![\w.=\[])\d[\d,]*(?![\w.])", found)]


def test_the_closing_table_reconciles_with_the_tables_mlflow_and_the_warehouse(
    demo: tuple[Path, Result], lake: Lake
) -> None:
    folder, result = demo
    text = result.output
    assert result.exit_code == TOO_MANY, "3 of 9 partitions are broken, and the spec allows 5 %"
    partitions, fitted, unchanged, quarantined = numbers("partitions", text)
    assert partitions == fitted + unchanged + quarantined
    assert (partitions, unchanged, quarantined) == (9, 0, 3)
    assert lake.read(PARTITIONS).count() == partitions
    assert lake.read(MODELS).count() == fitted == lake.read(FITS).filter("payload IS NOT NULL").count()
    assert lake.read(QUARANTINE).count() == quarantined

    new, kept, refused = numbers("promoted", text)
    assert new + kept + refused == fitted
    assert lake.read(PROMOTIONS).filter("outcome = 'promoted'").count() == new
    assert logged_models(folder / ".manymodels" / "dev.db") == fitted
    assert logged_models(folder / ".manymodels" / "prod.db") == new

    scored, rows, unscored = numbers("scored", text)
    assert scored + unscored == partitions
    assert lake.read(PREDICTIONS).count() == rows == 28 * scored
    with duckdb.connect(str(folder / ".manymodels" / "warehouse.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM retail_sales_predictions").fetchone() == (rows,)


def test_the_closing_table_counts_the_calls_of_each_stage(demo: tuple[Path, Result]) -> None:
    stages = dict(re.findall(r"^(\w+) +[\d.]+ +([\d,]+) ", demo[1].output, re.MULTILINE))
    assert int(stages["train"]) <= 3 * 6 + 20, "3 a model, and those that a run costs once"
    assert int(stages["score"]) == 0
    assert sum(
        int(stages[name]) for name in ("ingest", "prepare", "train", "promote", "score", "load")
    ) == int(stages["all"])


def test_a_second_run_finds_nothing_to_do(demo: tuple[Path, Result], lake: Lake) -> None:
    models, version = lake.read(MODELS).count(), lake.version(PREDICTIONS)
    text = manymodels("run", SPEC).output
    assert numbers("partitions", text) == [9, 0, 6, 3]
    assert lake.read(MODELS).count() == models
    assert lake.version(PREDICTIONS) == version
    assert "already loaded in DuckDB" in text


def test_the_quarantine_says_what_to_do(demo: tuple[Path, Result]) -> None:
    text = manymodels("quarantine", SPEC).output
    assert "all_null" in text
    assert "prepare.not_finite: drop" in re.sub(r"\s+", " ", text)


def test_another_day_brings_new_rows_and_new_models(demo: tuple[Path, Result], lake: Lake) -> None:
    from manymodels_spark.simulate import append_days

    append_days(Path(os.environ["MANYMODELS_DEMO_DB"]), 1)
    text = manymodels("run", SPEC).output
    _, fitted, unchanged, quarantined = numbers("partitions", text)
    assert fitted + unchanged == 6 - (quarantined - 3)
    assert fitted >= 4, "all that sold something on the new day"
    cutoffs = {
        str(row["cutoff"])[:10] for row in lake.read(PREDICTIONS).select("cutoff").distinct().collect()
    }
    assert {"2024-02-04", "2024-02-05"} <= cutoffs, "yesterday's predictions stay"


@pytest.mark.parametrize("job", ONE_AND_SLOW)
def test_each_entry_point_runs_its_stage(
    job: str, demo: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{job}.py", SPEC])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "jobs" / f"{job}.py"), run_name="__main__")
    assert ended.value.code == exit_code(job)
    assert f"{job} " in capsys.readouterr().out


@pytest.mark.slow  # `test_each_entry_point_runs_its_stage` is quick
@pytest.mark.parametrize("job", STAGES)
def test_each_job_runs_under_spark_submit(job: str, demo: tuple[Path, Result]) -> None:
    folder = demo[0]
    (folder / "spark.properties").write_text(manymodels("spark-conf").output)
    environment = {
        **os.environ,
        "PYSPARK_PYTHON": sys.executable,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    submit = [str(Path(sys.executable).parent / "spark-submit"), "--properties-file", "spark.properties"]
    run = subprocess.run(
        [*submit, str(ROOT / "jobs" / f"{job}.py"), SPEC],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == exit_code(job), run.stdout + run.stderr
    assert f"{job} " in run.stdout


def exit_code(job: str) -> int:
    """What a stage of the demonstration ends with: some of its partitions cannot be trained."""
    return TOO_MANY if job == "train" else 0


def logged_models(database: Path) -> int:
    import sqlite3

    with sqlite3.connect(database) as connection:
        return int(
            connection.execute(
                "SELECT count(*) FROM logged_models WHERE lifecycle_stage = 'active'"
            ).fetchone()[0]
        )
