"""`manymodels quarantine SPEC --retry`: the partitions
that failed are fitted again, whatever else has changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from builders import days, write_csv, write_spec
from click.testing import CliRunner

from manymodels_spark.cli import main
from manymodels_spark.families.checked_spec import load_spec
from manymodels_spark.keys import PartitionKey
from manymodels_spark.lake.tables import FITS, QUARANTINE
from manymodels_spark.stages.ingest.stage import ingest
from manymodels_spark.stages.prepare.stage import prepare
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.train.quarantine import by_reason
from manymodels_spark.stages.train.stage import train

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
SLOW = 1e6


def rows_of(item: str, count: int, level: float = 1.0) -> list[dict[str, object]]:
    return [
        {"store": 1, "item": item, "date": day, "units": level + n % 7} for n, day in enumerate(days(count))
    ]


def fresh(path: Path, spark: SparkSession, rows: list[dict[str, object]]) -> Job:
    """The spec's job with these rows, ingested and prepared."""
    write_csv(path.parent / "sales.csv", rows)
    job = Job.of(load_spec(str(path)), spark)
    ingest(job), prepare(job)
    return job


def changed(path: Path, part: str, **values: Any) -> None:
    spec = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**spec, part: {**spec.get(part, {}), **values}}))


def fits(job: Job) -> dict[str, list[str]]:
    """Item to the outcomes of its fits, in their order."""
    found: dict[str, list[str]] = {}
    for row in job.lake.read(FITS).orderBy("fitted_at").select("key", "status", "reason").collect():
        found.setdefault(str(PartitionKey.parse(row["key"]).as_dict()["item"]), []).append(
            row["reason"] or row["status"]
        )
    return found


def retried(path: Path) -> str:
    answer = CliRunner().invoke(main, ["quarantine", str(path), "--retry"])
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_rows_that_were_mended_are_fitted_and_what_changed_beside_them_waits_for_a_training_run(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = write_spec(tmp_path)
    text = {"store": 1, "item": "text", "date": "2026-01-05", "units": "many"}
    job = fresh(
        path,
        spark,
        [*rows_of("sound", 30), *rows_of("short", 3), *rows_of("still short", 3), *rows_of("text", 4), text],
    )
    assert train(job).counts["quarantined"] == 3

    fresh(
        path,
        spark,
        [*rows_of("sound", 31), *rows_of("short", 30), *rows_of("still short", 4), *rows_of("text", 30)],
    )
    output = retried(path)

    assert fits(job) == {
        "sound": ["fitted"],
        "short": ["too_short", "fitted"],
        "still short": ["too_short", "too_short"],
        "text": ["not_numeric", "fitted"],
    }
    assert "too_short        1 partition: item=still short  store=1" in output
    assert "not_numeric" not in output
    assert job.lake.read(QUARANTINE).count() == 1
    assert train(job).counts["fitted"] == 1, "the sound one, whose rows changed"


@pytest.mark.slow
def test_a_limit_that_was_raised_lets_the_one_through_that_ran_into_it(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = write_spec(
        tmp_path,
        candidates=[{"tests.spark.slow_family:SlowByRows": {}}],
        limits={"seconds_per_fit": 0.6},
        refit=False,
    )
    job = fresh(path, spark, [*rows_of("quick", 20), *rows_of("slow", 20, SLOW)])
    train(job)
    assert fits(job) == {"quick": ["fitted"], "slow": ["timed_out"]}

    retried(path)
    assert fits(job) == {"quick": ["fitted"], "slow": ["timed_out", "timed_out"]}

    changed(path, "limits", seconds_per_fit=60)
    assert "timed_out" not in retried(path)
    assert fits(job) == {"quick": ["fitted"], "slow": ["timed_out", "timed_out", "fitted"]}
    assert job.lake.read(QUARANTINE).count() == 0


@pytest.mark.slow
def test_the_quarantine_counts_by_reason_names_the_first_ones_and_forgets_what_is_no_longer_in_the_data(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = write_spec(tmp_path, limits={"failures": 1.0})
    short = [row for item in "bcdefg" for row in rows_of(item, 3)]
    job = fresh(path, spark, [*rows_of("a", 40), *short, *rows_of("z", 1)])
    train(job)
    (counted,) = by_reason(job.lake)
    assert (counted.reason, counted.partitions) == ("too_short", 7)
    assert [PartitionKey.parse(key).as_dict()["item"] for key, _ in counted.examples] == ["b", "c", "d"]
    answer = CliRunner().invoke(main, ["quarantine", str(path)])
    assert "7 partitions, such as item=b  store=1; item=c  store=1; item=d  store=1" in answer.output
    job = fresh(path, spark, [*rows_of("a", 40), *rows_of("z", 1)])
    assert train(job).counts == {
        "partitions": 2,
        "fitted": 0,
        "fallback": 0,
        "unchanged": 1,
        "inactive": 0,
        "quarantined": 1,
    }
    assert [(row.partitions, len(row.examples)) for row in by_reason(job.lake)] == [(1, 1)]
