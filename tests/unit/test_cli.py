"""The command line without Spark: what it says of a spec, of a machine without Java, and how it ends."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from manymodels_spark.cli import main
from manymodels_spark.cli.overview import hours, status_lines
from manymodels_spark.errors import ManyModelsError
from manymodels_spark.reporting.records import ShareRow
from manymodels_spark.reporting.status import SpecStatus
from manymodels_spark.spark.session import require_java

CONF = Path(__file__).parents[2] / "conf"


def manymodels(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("spec", sorted(CONF.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_spec_that_is_shipped_is_valid(spec: Path) -> None:
    result = manymodels("check", str(spec))
    assert result.exit_code == 0, result.output
    assert "is valid" in result.output


def test_every_mistake_is_told_with_its_place_and_the_nearest_name(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "name: sales\nsource: {csv: a.csv}\npartition_by: [store]\ncolumns: {time: date, target: "
        "units}\nhorizon: 0\n"
        "candidates:\n  - auto_est: {season: 7}\n  - theta: {saeson: 7}\n"
    )
    result = manymodels("check", str(spec))
    assert result.exit_code == 2
    assert f"{spec} has 3 mistakes" in result.output
    assert "candidates[0]: unknown model 'auto_est'. Did you mean 'auto_ets'?" in result.output
    assert "line 7:   - auto_est: {season: 7}" in result.output
    assert "horizon: 0 is too small" in result.output
    assert "Did you mean 'season'?" in result.output


def test_a_spec_that_is_not_there_is_a_clear_error() -> None:
    result = manymodels("check", "nowhere.yaml")
    assert result.exit_code == 2
    assert "nowhere.yaml" in result.output


def test_the_schema_is_json() -> None:
    assert "partition_by" in json.loads(manymodels("schema").output)["properties"]


def test_a_machine_without_java_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(
        ManyModelsError, match="Spark needs Java 17 or newer.*apt-get install openjdk-17-jre-headless"
    ):
        require_java()


def test_demo_data_is_written_once(tmp_path: Path) -> None:
    path = str(tmp_path / "demo.duckdb")
    assert (
        "4 partitions of 60 days"
        in manymodels("demo-data", "--path", path, "--stores", "1", "--items", "4", "--days", "60").output
    )
    assert "is there already" in manymodels("demo-data", "--path", path).output


def test_the_status_says_what_to_do_next_and_nothing_of_what_there_is_not() -> None:
    share = ShareRow("theta", 1200)
    found = SpecStatus(
        [],
        partitions=1300,
        due=0,
        unchanged=1200,
        quarantined=100,
        families=[share],
        ages=[ShareRow("under a day", 1200)],
        reasons=[ShareRow("too_short", 100)],
    )
    assert status_lines(found) == [
        ("partitions", "1,300 = 1,200 up to date + 0 to fit + 100 in quarantine"),
        ("quarantine", "100 too_short     manymodels quarantine SPEC"),
        ("champions", "1,200 theta"),
        ("promoted", "1,200 under a day ago"),
        ("stale", "no champion: each was trained on all the rows that there are"),
    ]
    behind = dict(status_lines(replace(found, stale=1)))
    assert behind["stale"] == "1 champion trained before the newest rows came     manymodels train SPEC"
    assert status_lines(SpecStatus([])) == [("partitions", "none yet: run `manymodels run SPEC`")]
    assert "champions" not in dict(status_lines(SpecStatus([], partitions=1, due=1)))


@pytest.mark.parametrize(
    ("count", "text"), [(0.000512, "0.000512"), (0.0182, "0.0182"), (4.208, "4.21"), (1234.5, "1,234")]
)
def test_core_hours_have_three_digits(count: float, text: str) -> None:
    assert hours(count) == text
