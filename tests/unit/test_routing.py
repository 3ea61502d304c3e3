"""The model that routes, on hand: rows of many partitions in, each answered by its own champion."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from builders import days, make_spec
from hypothesis import given
from hypothesis import strategies as st

from manymodels_spark.errors import ManyModelsError, PayloadError
from manymodels_spark.flavor.route_table import Route, Routes, Shape, kinds_of
from manymodels_spark.flavor.routed_models import RoutedModels
from manymodels_spark.keys import PartitionKey, Value, typed
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.memory import LruBytes, measure
from manymodels_spark.modeling.payload import sha256

WEEK = 7


def payload_of(key: PartitionKey, level: float) -> bytes:
    units = [level + day % WEEK for day in range(WEEK * 5)]
    rows = pd.DataFrame({"date": days(len(units)), "units": units})
    result = fit_partition(rows, make_spec(Path("/nowhere")), key)
    assert result.payload is not None
    return result.payload


def routes_of(keys: list[PartitionKey], payloads: dict[str, bytes]) -> Routes:
    columns = tuple(name for name, _ in keys[0].values)
    kinds = kinds_of(columns, [key.canonical for key in keys])
    shape = Shape("sales", "forecast", columns, kinds, "date", 7, (80,))
    return Routes.of(
        shape, [Route(key.id, key.canonical, f"m-{key.id}", sha256(payloads[key.id]), key.id) for key in keys]
    )


def routed(levels: dict[object, float], memory: int | None = None) -> tuple[RoutedModels, Counter[str]]:
    """A routing model over stores, each with its level, and how often each store's payload was read."""
    keys = {store: PartitionKey.of({"store": store, "item": "a"}) for store in levels}
    payloads = {keys[store].id: payload_of(keys[store], level) for store, level in levels.items()}
    reads: Counter[str] = Counter()

    def read(location: str, expected: str) -> bytes:
        reads[str(PartitionKey.of({"store": next(s for s, k in keys.items() if k.id == location)}))] += 1
        return payloads[location]

    return RoutedModels(routes_of(list(keys.values()), payloads), memory, read), reads


def test_each_row_is_answered_by_its_own_partition_in_the_order_of_the_rows() -> None:
    model, reads = routed({1: 100.0, 2: 200.0})
    rows = pd.DataFrame(
        {"store": [2, 1, 2], "item": "a", "date": ["2026-02-05", "2026-02-05", "2026-02-06"]}, index=[9, 4, 7]
    )
    answer = model.predict(rows)
    assert answer["prediction"].tolist() == [200.0, 100.0, 201.0]
    assert answer["store"].tolist() == [2, 1, 2]
    assert list(answer.columns) == ["prediction", "lower_80", "upper_80", "error", "date", "item", "store"]
    assert answer["date"].tolist() == rows["date"].tolist()
    assert set(answer["error"]) == {""}
    assert reads == {"store=1": 1, "store=2": 1}, "each model is read once"


def test_without_times_each_partition_that_is_named_gets_the_horizon() -> None:
    model, _ = routed({1: 100.0, 2: 200.0})
    answer = model.predict(
        pd.DataFrame({"store": [1, 2, 1], "item": "a"}), {"horizon": 2, "levels": np.array([50])}
    )
    assert answer[["store", "prediction"]].to_numpy().tolist() == [
        [1, 100.0],
        [1, 101.0],
        [2, 200.0],
        [2, 201.0],
    ]
    assert [name for name in answer.columns if "_" in name] == ["lower_50", "upper_50"]
    assert len(model.predict(pd.DataFrame({"store": [1], "item": "a"}))) == 7, "the spec's horizon"


def test_a_partition_that_cannot_answer_says_why_and_the_others_answer() -> None:
    model, _ = routed({1: 100.0, 2: 200.0})
    model._read = lambda location, expected: b"altered"
    model.models.put(PartitionKey.of({"store": 1, "item": "a"}).id, model_of(100.0))
    rows = pd.DataFrame({"store": [1, 2, 3, "x"], "item": "a", "date": "2026-02-05"})
    answer = model.predict(rows)
    assert answer["prediction"].tolist() == pytest.approx([100.0, np.nan, np.nan, np.nan], nan_ok=True)
    assert answer["prediction"].dtype == float and "lower_80" in answer
    assert answer["error"][0] == "" and "SHA-256" in answer["error"][1]
    assert "no champion in sales" in answer["error"][2]
    assert "column store: 'x' is string, int is expected" in answer["error"][3]


def model_of(level: float):  # type: ignore[no-untyped-def]
    from manymodels_spark.modeling.predict import LoadedPartition

    return LoadedPartition(payload_of(PartitionKey.of({"store": 1, "item": "a"}), level))


def test_a_missing_partition_column_is_named() -> None:
    model, _ = routed({1: 100.0})
    with pytest.raises(ManyModelsError, match=r"column item is missing. Rows of sales name item, store"):
        model.predict(pd.DataFrame({"store": [1]}))


def test_store_1_and_store_text_1_are_two_partitions() -> None:
    model, _ = routed({1: 100.0, "1": 200.0})
    rows = pd.DataFrame({"store": pd.Series(["1", 1, True], dtype=object), "item": "a", "date": "2026-02-05"})
    assert model.predict(rows)["prediction"].tolist() == pytest.approx([200.0, 100.0, np.nan], nan_ok=True)


def test_models_are_kept_within_the_bound_and_the_least_recently_used_goes() -> None:
    size = measure(model_of(1.0).lighten())
    model, reads = routed({store: float(store) for store in range(5)}, memory=int(2.5 * size))
    for store in (0, 1, 0, 2, 0, 1):
        model.predict(pd.DataFrame({"store": [store], "item": "a"}))
    assert model.models.bytes <= 2.5 * size
    assert reads == {"store=0": 1, "store=1": 2, "store=2": 1}


def test_routes_come_back_from_their_files_and_find_what_is_there(tmp_path: Path) -> None:
    keys = [PartitionKey.of({"store": store, "item": "é/'"}) for store in range(50)]
    routes = routes_of(keys, {key.id: key.id.encode() for key in keys})
    for name, content in routes.files().items():
        (tmp_path / name).write_bytes(content)
    again = Routes.read(tmp_path)
    assert again.digest == routes.digest
    assert all((again.find(key.id) or keys)[1] == key.canonical for key in keys)
    assert again.find("a" * 20) is None
    (tmp_path / "routes.parquet").write_bytes(b"PAR1")
    with pytest.raises(PayloadError, match=r"cannot be read.*manymodels index"):
        Routes.read(tmp_path)


def test_the_digest_tells_champions_apart_and_not_their_order() -> None:
    keys = [PartitionKey.of({"store": store}) for store in range(4)]
    sealed = {key.id: b"1" for key in keys}
    assert routes_of(keys, sealed).digest == routes_of(keys[::-1], sealed).digest
    assert routes_of(keys, sealed).digest != routes_of(keys, {**sealed, keys[0].id: b"2"}).digest
    assert routes_of(keys, sealed).digest != routes_of(keys[1:], sealed).digest


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 400)), max_size=60), st.integers(0, 2000))
def test_a_cache_never_holds_more_than_its_bound_but_for_the_newest(
    puts: list[tuple[int, int]], limit: int
) -> None:
    cache: LruBytes[bytes] = LruBytes(limit)
    for name, length in puts:
        cache.put(str(name), b"0" * length)
        assert cache.get(str(name)) == b"0" * length
        assert cache.bytes <= limit or len(cache) == 1


VALUES = [
    ("int", 3, [3.0, np.int64(3), np.int16(3)]),
    ("float", 3.0, [3, np.float32(3)]),
    ("bool", True, [np.bool_(True)]),
    ("decimal", Decimal("1.5"), ["1.50", 1.5]),
    ("string", "3", [np.str_("3")]),
    ("date", date(2026, 11, 24), ["2026-11-24", pd.Timestamp("2026-11-24"), datetime(2026, 11, 24)]),
    ("timestamp", datetime(2026, 11, 24, 3), ["2026-11-24T03:00:00", pd.Timestamp("2026-11-24 03:00")]),
    ("binary", b"\x01", ["01"]),
]


@pytest.mark.parametrize(("kind", "value", "written"), VALUES)
def test_a_value_is_typed_as_its_column_however_it_was_written(
    kind: str, value: Value, written: list[object]
) -> None:
    assert {PartitionKey.of({"c": typed(other, kind)}).id for other in written} == {
        PartitionKey.of({"c": value}).id
    }
    assert typed(None, kind) is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [("int", 3.5), ("int", "3"), ("string", 3), ("bool", 1), ("date", "soon"), ("float", True)],
)
def test_what_is_no_value_of_the_column_is_refused(kind: str, value: object) -> None:
    with pytest.raises(ValueError):
        typed(value, kind)
