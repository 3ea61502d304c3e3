"""What a Spark task does with the rows of its partitions, without Spark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from builders import make_spec

from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.stages.train import fit_wave
from manymodels_spark.stages.train.fit_wave import COLUMNS, NUMBER, fitter

UNITS = [3.0, 5.0, 4.0, 6.0, 8.0, 12.0, 10.0]
COUNTS = {0: 40, 1: 4, 2: 60}


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    yield
    for sandbox in fit_wave._sandboxes.values():
        sandbox.close()
    fit_wave._sandboxes.clear()


def rows(number: int) -> pd.DataFrame:
    units = (number + 1) * np.resize(UNITS, COUNTS[number])
    return pd.DataFrame({"date": pd.date_range("2026-01-01", periods=COUNTS[number]), "units": units})


def members() -> list[dict[str, Any]]:
    keys = [PartitionKey.of({"store": 1, "item": number}) for number in COUNTS]
    return [
        {"partition_id": key.id, "key": key.canonical, "fingerprint": f"f{n}", "start": None}
        for n, key in enumerate(keys)
    ]


@pytest.mark.parametrize("size", [7, 1000])
def test_every_partition_of_a_task_has_its_own_fit_whatever_the_batches(tmp_path: Path, size: int) -> None:
    spec = make_spec(tmp_path)
    table = pa.concat_tables(pa.Table.from_pandas(rows(n).assign(**{NUMBER: np.int32(n)})) for n in COUNTS)
    done = pa.Table.from_batches(fitter(spec, "run", 3, members())(table.to_batches(max_chunksize=size)))
    assert done.column_names == COLUMNS
    found = done.to_pylist()
    alone = [
        fit_partition(rows(n), spec, PartitionKey.parse(member["key"])) for n, member in enumerate(members())
    ]
    assert [row["sha256"] for row in found] == [result.sha256 for result in alone]
    assert [(row["status"], row["reason"]) for row in found] == [
        ("fitted", None),
        ("failed", "too_short"),
        ("fitted", None),
    ]
    assert [row["fingerprint"] for row in found] == ["f0", "f1", "f2"]
    assert {(row["run_id"], row["wave"]) for row in found} == {("run", 3)}
    kept = [None if row["folds"] is None else json.loads(row["folds"]) for row in found]
    assert kept == [[asdict(fold) for fold in result.folds] or None for result in alone]
    assert [fold["start"] for fold in kept[2]] == ["2026-02-23T00:00:00"]
    assert dict(found[2]["metrics"]) == pytest.approx(alone[2].metrics)
    assert found[0]["fitted_at"].utcoffset().total_seconds() == 0


def test_many_outcomes_leave_a_task_in_portions(tmp_path: Path) -> None:
    count = fit_wave._OUTCOMES_IN_A_BATCH + 1
    one = pa.RecordBatch.from_pandas(rows(1))
    batches = [
        one.append_column(NUMBER, pa.array(np.full(len(one), number, np.int32))) for number in range(count)
    ]
    found = list(fitter(make_spec(tmp_path), "run", 1, members()[1:2] * count)(batches))
    assert [batch.num_rows for batch in found] == [count - 1, 1]
