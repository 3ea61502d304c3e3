"""The stream: every row that arrives is answered once, also
by a process that was killed, and nobody stops the others.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from builders import days, outside, write_spec
from champions import lay_out

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.lake.tables import SILVER, STREAMED
from manymodels_spark.modeling.predict import predict_partition
from manymodels_spark.stages.runs.job import Job
from manymodels_spark.stages.score.stream import stream_score

if TYPE_CHECKING:
    from manymodels_spark.modeling.results import FitResult

pytestmark = pytest.mark.spark
MakeJob = Callable[..., Job]
LIMIT_SECONDS = 240
MACHINES: dict[str, Any] = {
    "task": "regression",
    "partition_by": ["machine"],
    "columns": {"target": "wear", "features": ["heat"]},
    "candidates": ["linear"],
    "backtest": {"folds": 2},
}


def history(slope: float) -> pd.DataFrame:
    return pd.DataFrame({"heat": [float(n) for n in range(40)], "wear": [slope * n for n in range(40)]})


def ask(folder: Path, name: str, *rows: dict[str, Any]) -> None:
    """A file of rows that appears whole, as a sender leaves it."""
    folder.mkdir(exist_ok=True)
    scratch = folder.parent / f".{name}"
    scratch.write_text("\n".join(json.dumps(row) for row in rows))
    scratch.rename(folder / f"{name}.json")


def answers(job: Job) -> dict[str, tuple[Any, ...]]:
    """Request id to machine, prediction and error; a request that was answered twice is not overlooked."""
    rows = job.lake.read(STREAMED).select("request_id", "machine", "prediction", "error").collect()
    assert len(rows) == len({row["request_id"] for row in rows})
    return {row["request_id"]: tuple(row)[1:] for row in rows}


@pytest.fixture
def machines(make_job: MakeJob, tmp_path: Path) -> tuple[Job, dict[str, FitResult]]:
    job = make_job(**MACHINES, stream={"json": str(tmp_path / "in")})
    return job, lay_out(job, {("a",): history(2.0), ("é/b",): history(-3.0)})


def test_rows_are_answered_by_their_partitions_champions_and_each_row_has_an_answer(
    machines: tuple[Job, dict[str, FitResult]], tmp_path: Path
) -> None:
    job, fits = machines
    ask(
        tmp_path / "in",
        "1",
        {"request_id": "r1", "machine": "a", "heat": 5.0},
        {"request_id": "r2", "machine": "é/b", "heat": 7.0},
        {"request_id": "r3", "machine": "a", "heat": 9.0},
        {"request_id": "r4", "machine": "new", "heat": 1.0},
        {"request_id": "r5", "machine": None, "heat": 1.0},
    )
    report = stream_score(job, once=True)

    assert report.counts == {"rows": 5, "errors": 2}
    found = answers(job)
    expected = predict_partition(
        next(iter(fits.values())).payload or b"", future=pd.DataFrame({"heat": [5.0, 9.0]})
    )
    assert [found["r1"][1], found["r3"][1]] == list(expected["prediction"])
    assert found["r2"][:2] == ("é/b", pytest.approx(-21.0, abs=1.0))
    assert found["r4"][0] == "new"
    assert found["r4"][2].startswith("unknown_partition")
    assert found["r5"][2].startswith("unknown_partition")

    assert stream_score(job, once=True).counts["rows"] == 0, "a file is read once"
    ask(tmp_path / "in", "2", {"request_id": "r6", "machine": "a", "heat": 5.0})
    assert stream_score(job, once=True).counts == {"rows": 1, "errors": 0}


def test_a_forecast_is_asked_for_times(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(partition_by=["item"], stream={"json": str(tmp_path / "in")})
    lay_out(
        job,
        {
            ("a",): pd.DataFrame(
                {"date": pd.to_datetime(days(21)), "units": [float(n % 7) for n in range(21)]}
            )
        },
    )
    rows = [
        {"request_id": "r", "item": "a", "date": "2026-01-24T00:00:00"},
        {"request_id": "old", "item": "a", "date": "2025-01-24"},
    ]
    ask(tmp_path / "in", "1", *rows)
    stream_score(job, once=True)
    found = {row["request_id"]: row for row in job.lake.read(STREAMED).collect()}
    assert found["r"]["prediction"] == pytest.approx(2.0)
    assert str(found["r"]["date"]) == "2026-01-24 00:00:00"
    assert found["old"]["prediction"] is None


def test_a_forecast_that_is_asked_for_knows_the_rows_since_its_model_was_trained(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(partition_by=["item"], candidates=["naive"], stream={"json": str(tmp_path / "in")})
    rows = pd.DataFrame({"date": pd.to_datetime(days(21)), "units": 3.0})
    lay_out(job, {("a",): rows})
    silver = job.lake.read(SILVER).toPandas()
    newer = silver.tail(1).assign(date=pd.to_datetime(["2026-01-22"]), units=8.0)
    job.lake.append(SILVER, job.spark.createDataFrame(newer, job.lake.read(SILVER).schema))
    ask(tmp_path / "in", "1", {"request_id": "next", "item": "a", "date": "2026-01-23"})
    stream_score(job, once=True)
    ask(tmp_path / "in", "2", {"request_id": "known", "item": "a", "date": "2026-01-22"})
    stream_score(job, once=True)
    found = {row["request_id"]: row["prediction"] for row in job.lake.read(STREAMED).collect()}
    assert found == {"next": 8.0, "known": 3.0}, "a day that has come is predicted by what was before it"


def test_a_batch_that_was_answered_but_not_noted_is_answered_once(
    machines: tuple[Job, dict[str, FitResult]], tmp_path: Path
) -> None:
    job, _ = machines
    ask(tmp_path / "in", "1", *({"request_id": f"a{n}", "machine": "a", "heat": float(n)} for n in range(3)))
    stream_score(job, once=True)
    forget_last_batch(tmp_path)
    ask(tmp_path / "in", "2", {"request_id": "b", "machine": "é/b", "heat": 1.0})

    stream_score(job, once=True)

    assert sorted(answers(job)) == ["a0", "a1", "a2", "b"]


def forget_last_batch(folder: Path) -> None:
    """Leave the stream as a death between the table's commit and the stream's own note of it does: the batch
    is done again.
    """
    for noted in sorted((folder / "lake" / "sales" / "_stream" / "commits").glob("[0-9]*"))[-1:]:
        noted.unlink()
        noted.with_name(f".{noted.name}.crc").unlink(missing_ok=True)


# Another Java and Spark, only to be killed: the test above has what such a death leaves behind.
@pytest.mark.slow
def test_a_process_that_is_killed_loses_no_row_and_answers_none_twice(
    machines: tuple[Job, dict[str, FitResult]], tmp_path: Path
) -> None:
    job, _ = machines
    spec = write_spec(tmp_path, **MACHINES, stream={"json": str(tmp_path / "in")})
    ask(tmp_path / "in", "1", *({"request_id": f"a{n}", "machine": "a", "heat": float(n)} for n in range(20)))
    command = [sys.executable, "-m", "manymodels_spark.cli", "stream-score", str(spec), "--every", "1 second"]
    with (tmp_path / "log").open("w") as log:
        stream = subprocess.Popen(command, stdout=log, stderr=log, env=outside(), start_new_session=True)
    limit = time.monotonic() + LIMIT_SECONDS
    while not job.lake.exists(STREAMED):
        assert stream.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < limit
        time.sleep(0.5)
    ask(
        tmp_path / "in",
        "2",
        *({"request_id": f"b{n}", "machine": "é/b", "heat": float(n)} for n in range(20)),
    )
    os.killpg(stream.pid, signal.SIGKILL)
    stream.wait()
    forget_last_batch(tmp_path)

    stream_score(job, once=True)

    assert sorted(answers(job)) == sorted([f"a{n}" for n in range(20)] + [f"b{n}" for n in range(20)])


def test_without_a_stream_in_the_spec_it_says_what_to_write(make_job: MakeJob) -> None:
    with pytest.raises(ManyModelsError, match=r"stream: nothing says where rows arrive.*json"):
        stream_score(make_job(), once=True)
