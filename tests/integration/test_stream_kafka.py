"""The stream from a real Kafka broker: every message is answered once, also where the process was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from builders import outside, write_spec
from champions import lay_out
from integration.kafka import Broker, start

from manymodels_spark.lake.tables import STREAMED
from manymodels_spark.stages.runs.job import Job

# A broker and two processes with a Java and a Spark each.
pytestmark = [pytest.mark.spark, pytest.mark.slow]
LIMIT_SECONDS = 240
MACHINES: dict[str, Any] = {
    "task": "regression",
    "partition_by": ["machine"],
    "columns": {"target": "wear", "features": ["heat"]},
    "candidates": ["linear"],
    "backtest": {"folds": 2},
}


@pytest.fixture
def broker() -> Iterator[Broker]:
    started = start()
    yield started
    started.stop()


def rows(name: str, machine: str, count: int) -> list[bytes]:
    asked = ({"request_id": f"{name}{n}", "machine": machine, "heat": float(n)} for n in range(count))
    return [json.dumps(row).encode() for row in asked]


def test_every_message_of_a_topic_is_answered_once_also_by_a_process_that_was_killed(
    broker: Broker, make_job: Callable[..., Job], tmp_path: Path
) -> None:
    stream = {
        "kafka": {
            "servers": "${TEST_KAFKA}",
            "topic": "rows",
            "options": {"startingOffsets": "earliest", "maxOffsetsPerTrigger": "15"},
        }
    }
    history = pd.DataFrame({"heat": [float(n) for n in range(40)], "wear": [2.0 * n for n in range(40)]})
    job = make_job(**MACHINES, stream=stream)
    lay_out(job, {("a",): history, ("é/b",): history.assign(wear=-3.0 * history["heat"])})
    spec = write_spec(tmp_path, **MACHINES, stream=stream)
    command = [sys.executable, "-m", "manymodels_spark.cli", "stream-score", str(spec)]
    environment = {**outside(), "TEST_KAFKA": broker.servers}
    broker.create("rows")
    broker.send("rows", [*rows("a", "a", 20), b"no JSON at all"])

    with (tmp_path / "log").open("w") as log:
        options: dict[str, Any] = {
            "stdout": log,
            "stderr": log,
            "env": environment,
            "start_new_session": True,
        }
        running = subprocess.Popen([*command, "--every", "1 second"], **options)
    limit = time.monotonic() + LIMIT_SECONDS
    while not job.lake.exists(STREAMED):
        assert running.poll() is None, (tmp_path / "log").read_text()[-3000:]
        assert time.monotonic() < limit
        time.sleep(0.3)
    broker.send("rows", rows("b", "é/b", 20))
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    forgotten = forget_last_batch(tmp_path)
    again = subprocess.run(
        [*command, "--once"], env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS
    )

    assert again.returncode == 0, again.stdout[-1500:] + again.stderr[-1500:]
    assert forgotten == 1, "a batch was done and is done again"
    found = job.lake.read(STREAMED).select("request_id", "machine", "prediction", "error", "batch").collect()
    named = {row["request_id"]: row for row in found if row["request_id"] is not None}
    assert sorted(named) == sorted([f"a{n}" for n in range(20)] + [f"b{n}" for n in range(20)])
    assert len(found) == 41, "each message once"
    assert [named[f"a{n}"]["prediction"] for n in (0, 7)] == pytest.approx([0.0, 14.0], abs=1.0)
    assert named["b7"]["prediction"] == pytest.approx(-21.0, abs=1.5)
    (broken,) = (row for row in found if row["request_id"] is None)
    assert broken["error"].startswith("unknown_partition")
    assert len({row["batch"] for row in found}) >= 3, "at most 15 messages a batch"


def forget_last_batch(folder: Path) -> int:
    """Leave the stream as a death between the table's commit and the stream's own note of it does."""
    noted = sorted(
        (folder / "lake" / "sales" / "_stream" / "commits").glob("[0-9]*"), key=lambda path: int(path.name)
    )
    for one in noted[-1:]:
        one.unlink()
        one.with_name(f".{one.name}.crc").unlink(missing_ok=True)
    return len(noted[-1:])
