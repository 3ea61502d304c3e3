"""What executors do to score a slot of partitions: every one comes out, typed, whatever happens to its
neighbours.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders import days, make_spec
from pyspark.sql import types as T

from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.predict import predict_partition
from manymodels_spark.spec import Spec
from manymodels_spark.stages.score.score_task import scored_schema, scorer

CUTOFF = pd.Timestamp("2026-01-30")
EMPTY = pd.DataFrame(
    {
        "partition_id": pd.Series(dtype=str),
        "date": pd.Series(dtype="datetime64[ns]"),
        "units": pd.Series(dtype=float),
    }
)
SILVER = T.StructType(
    [
        T.StructField("store", T.IntegerType()),
        T.StructField("item", T.StringType()),
        T.StructField("day", T.DateType()),
    ]
)


def history(level: float) -> pd.DataFrame:
    return pd.DataFrame({"date": pd.to_datetime(days(30)), "units": level + np.arange(30) % 7})


def own(spec: Spec, store: int, item: str | None, level: float = 1.0, **changes: Any) -> dict[str, Any]:
    """A partition's row, with the payload of a model of its history."""
    key = PartitionKey.of({"store": store, "item": item})
    result = fit_partition(history(level), spec, key)
    champion = {
        "model_id": f"m-{store}",
        "family": "seasonal_naive",
        "sha256": result.sha256,
        "payload": result.payload,
    }
    place = {"partition_id": key.id, "key": key.canonical, "cutoff": CUTOFF, "end": CUTOFF}
    return {**place, **champion, "problem": None, "problem_detail": None, **changes}


def score(spec: Spec, *partitions: dict[str, Any], rows: pd.DataFrame = EMPTY) -> pd.DataFrame:
    return scorer(spec, "run", 3, scored_schema(spec, SILVER))(pd.DataFrame(list(partitions)), rows)


def test_every_partition_has_the_rows_that_its_payload_predicts_alone(tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    partitions = [own(spec, 1, "a", 1.0), own(spec, 2, "b", 100.0)]
    scored = score(spec, *partitions)
    assert len(scored) == 14
    for one in partitions:
        mine = scored[scored["partition_id"] == one["partition_id"]].reset_index(drop=True)
        alone = predict_partition(one["payload"], horizon=7, since=CUTOFF, levels=spec.backtest.intervals)
        pd.testing.assert_frame_equal(mine[list(alone)], alone)
        assert set(mine["model_id"]) == {one["model_id"]}


def test_a_partition_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    broken = own(spec, 2, "b", payload=b"not the one that was promoted")
    bare, unfit = own(spec, 3, "c", model_id=None), own(spec, 4, "d", problem="all_null")
    scored = score(spec, own(spec, 1, "a"), broken, bare, unfit, own(spec, 5, "e"))
    failed = scored[scored["error"].notna()]
    assert list(failed["error"].str.split(":").str[0]) == ["PayloadError", "no_champion", "quarantined"]
    assert failed["date"].isna().all()
    assert failed["prediction"].isna().all()
    assert sorted(scored[scored["error"].isna()].groupby("store").size().items()) == [(1, 7), (5, 7)]


def test_a_slot_in_which_nothing_can_be_scored_still_names_everyone(tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    scored = score(spec, own(spec, 1, "a", model_id=None), own(spec, 2, "b", model_id=None))
    assert list(scored["store"]) == [1, 2]
    assert scored["error"].str.startswith("no_champion").all()


def test_without_a_champion_the_fallback_predicts_from_the_partitions_own_rows_and_says_so(
    tmp_path: Path,
) -> None:
    spec = make_spec(tmp_path, fallback="seasonal_naive")
    bare = own(spec, 2, "b", model_id=None)
    rows = history(50.0).assign(partition_id=bare["partition_id"])
    scored = score(spec, own(spec, 1, "a"), bare, rows=rows)
    assert dict(scored.groupby("store")["fallback"].first()) == {1: False, 2: True}
    assert scored[scored["store"] == 2]["prediction"].between(50, 56).all()
    assert scored[scored["store"] == 2]["model_id"].isna().all()


@pytest.mark.parametrize(
    "values",
    [
        [1, 2],
        [date(2026, 1, 1), date(2026, 1, 2)],
        [datetime(2026, 1, 1, 5), None],
        [None, "é"],
        [True, False],
    ],
)
def test_partition_columns_keep_their_values(tmp_path: Path, values: list[Any]) -> None:
    spec = make_spec(tmp_path, partition_by=["item"])
    parts = []
    for value in values:
        key = PartitionKey.of({"item": value})
        parts.append(own(spec, 1, "a", partition_id=key.id, key=key.canonical))
    schema = T.StructType([T.StructField("item", T.StringType())])
    scored = scorer(spec, "run", 3, scored_schema(spec, schema))(pd.DataFrame(parts), EMPTY)
    found = [None if pd.isna(value) else value for value in scored["item"].iloc[[0, 7]].tolist()]
    assert found == values


def test_times_are_columns_of_times(tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    scored = score(spec, own(spec, 1, "a"), own(spec, 2, "b", model_id=None))
    assert [scored[name].dtype.kind for name in ("cutoff", "date", "scored_at")] == ["M", "M", "M"]


def test_rows_of_a_tabular_task_are_numbered_within_their_partition_and_a_failed_one_has_none(
    tmp_path: Path,
) -> None:
    spec = make_spec(
        tmp_path,
        task="classification",
        partition_by=["item"],
        columns={"target": "fails", "features": ["heat"]},
        candidates=["linear"],
    )
    heat = pd.DataFrame(
        {"heat": [float(n) for n in range(60)], "fails": ["yes" if n > 29 else "no" for n in range(60)]}
    )
    parts, rows = [], []
    for item in ("a", "b"):
        key = PartitionKey.of({"item": item})
        result = fit_partition(heat, spec, key)
        parts.append(own_of(key, result.sha256, result.payload))
        rows.append(heat.assign(partition_id=key.id))
    silver = T.StructType([T.StructField("item", T.StringType())])
    mixed = pd.concat(rows, ignore_index=True).sample(frac=1, random_state=7)
    both = scorer(spec, "run", 3, scored_schema(spec, silver))(pd.DataFrame(parts), mixed)
    assert sorted(both["row"]) == sorted([*range(60), *range(60)])
    parts[1]["payload"] = b"altered"
    scored = scorer(spec, "run", 3, scored_schema(spec, silver))(pd.DataFrame(parts), mixed)
    good, bad = scored[scored["item"] == "a"], scored[scored["item"] == "b"]
    assert sorted(good["row"]) == list(range(60))
    assert set(good["prediction"]) == {"yes", "no"}
    assert len(bad) == 1
    assert bad["row"].isna().all()


def own_of(key: PartitionKey, sha: str | None, payload: bytes | None) -> dict[str, Any]:
    return {
        "partition_id": key.id,
        "key": key.canonical,
        "cutoff": CUTOFF,
        "end": CUTOFF,
        "problem": None,
        "problem_detail": None,
        "model_id": "m",
        "family": "linear",
        "sha256": sha,
        "payload": payload,
    }
