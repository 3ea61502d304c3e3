"""What executors do with the rows of each partition, without Spark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from builders import make_spec

from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.stages.train import fit_task
from manymodels_spark.stages.train.fit_task import COLUMNS, Member

UNITS = [3.0, 5.0, 4.0, 6.0, 8.0, 12.0, 10.0]
COUNTS = {0: 40, 1: 4, 2: 60}


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    yield
    for sandbox in fit_task._sandboxes.values():
        sandbox.close()
    fit_task._sandboxes.clear()


def rows(number: int) -> pd.DataFrame:
    units = (number + 1) * np.resize(UNITS, COUNTS[number])
    return pd.DataFrame({"date": pd.date_range("2026-01-01", periods=COUNTS[number]), "units": units})


def members() -> list[Member]:
    keys = [PartitionKey.of({"store": 1, "item": number}) for number in COUNTS]
    return [Member(key.id, key.canonical, f"f{n}") for n, key in enumerate(keys)]


def test_every_partition_has_its_own_fit(tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    run = fit_task.fit_task(spec, "run", 3, members())
    done = pa.concat_tables(run((0, n), rows(n)) for n in COUNTS)
    assert done.column_names == COLUMNS
    found = done.to_pylist()
    each = [
        fit_partition(rows(n), spec, PartitionKey.parse(member.key)) for n, member in enumerate(members())
    ]
    assert [row["sha256"] for row in found] == [result.sha256 for result in each]
    assert [(row["status"], row["reason"]) for row in found] == [
        ("fitted", None),
        ("failed", "too_short"),
        ("fitted", None),
    ]
    assert [row["fingerprint"] for row in found] == ["f0", "f1", "f2"]
    assert {(row["run_id"], row["wave"]) for row in found} == {("run", 3)}
    kept = [None if row["folds"] is None else json.loads(row["folds"]) for row in found]
    assert kept == [[asdict(fold) for fold in result.folds] or None for result in each]
    assert [fold["start"] for fold in kept[2]] == ["2026-02-23T00:00:00"]
    assert dict(found[2]["metrics"]) == pytest.approx(each[2].metrics)
    assert found[0]["fitted_at"].utcoffset().total_seconds() == 0


def test_a_metric_of_one_fold_that_also_chose_the_model_is_recorded_as_optimistic(tmp_path: Path) -> None:
    kept = {}
    for folds in (1, 2):
        spec = make_spec(tmp_path, candidates=["naive", "mean"], backtest={"folds": folds})
        result = fit_partition(rows(2), spec, PartitionKey.of({"store": 1, "item": 2}))
        kept[folds] = fit_task.outcome(result, "run", 1, members()[2])["optimistic"]
    assert kept == {1: True, 2: False}
    failed = fit_partition(rows(1), spec, PartitionKey.of({"store": 1, "item": 1}))
    assert fit_task.outcome(failed, "run", 1, members()[1])["optimistic"] is None
