"""A partition's identity: typed, reversible, stable."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manymodels_spark.keys import TAG_KEY_LIMIT, PartitionKey, tag_key, tag_value, untag_key

HOSTILE = [
    "a/b",
    "../x",
    "é",
    "e\u0301",
    "🛢️",
    "o'hara",
    '"',
    "`",
    "x" * 500,
    "",
    " ",
    "null",
    "true",
    "3",
    "%",
    "a\nb",
]
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=True),
    st.decimals(allow_nan=False, allow_infinity=False, places=4),
    st.decimals(-(10**32), 10**32, places=6),  # as wide as a database's numeric(38, 6)
    st.text(max_size=50),
    st.dates(),
    st.datetimes(),
    st.binary(max_size=20),
)
keys = st.dictionaries(st.text(min_size=1, max_size=20), values, min_size=1, max_size=4).map(PartitionKey.of)


@given(keys)
def test_a_key_comes_back_from_its_canonical_text(key: PartitionKey) -> None:
    again = PartitionKey.parse(key.canonical)
    assert again.canonical == key.canonical
    assert [value for _, value in again.values if isinstance(value, Decimal)] == [
        v for _, v in key.values if isinstance(v, Decimal)
    ]
    assert again.id == key.id


@given(st.dictionaries(st.text(min_size=1, max_size=10), values, min_size=2, max_size=4))
def test_the_order_of_columns_does_not_matter(cells: dict[str, object]) -> None:
    backwards = dict(reversed(list(cells.items())))
    assert PartitionKey.of(cells).id == PartitionKey.of(backwards).id  # type: ignore[arg-type]


def test_ids_are_the_same_on_every_machine_and_in_every_version() -> None:
    assert PartitionKey.of({"store": 3, "item": "a/b"}).id == "sqkqztmwv4suwri4i3sr"
    assert (
        PartitionKey.of({"store": 3, "item": "a/b"}).canonical
        == '[["item","string","a/b"],["store","int","3"]]'
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, "1"),
        (1, 1.0),
        (True, 1),
        (True, "true"),
        (None, "null"),
        (date(2026, 1, 1), "2026-01-01"),
        (date(2026, 1, 1), datetime(2026, 1, 1)),
        (Decimal("1.0"), 1.0),
        (b"a", "61"),
        (Decimal(f"{'9' * 32}.999999"), Decimal(f"{'9' * 32}.999998")),
    ],
)
def test_values_of_different_types_are_different_partitions(one: object, other: object) -> None:
    assert PartitionKey.of({"k": one}).id != PartitionKey.of({"k": other}).id  # type: ignore[dict-item]


def test_equal_values_in_other_clothes_are_one_partition() -> None:
    same = [
        (3, np.int64(3)),
        (0.0, -0.0),
        (Decimal("1.50"), Decimal("1.5")),
        (None, pd.NA),
        (datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=2)))),
        (datetime(2026, 1, 1), pd.Timestamp("2026-01-01")),
    ]
    for one, other in same:
        assert PartitionKey.of({"k": one}).id == PartitionKey.of({"k": other}).id


def test_hostile_values_give_distinct_safe_ids() -> None:
    made = [PartitionKey.of({"k": value}) for value in HOSTILE]
    assert len({key.id for key in made}) == len(HOSTILE)
    for key in made:
        assert key.id.isalnum()
        assert key.id.islower()
        assert len(key.id) == 20
        assert set(key.slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_tags_carry_values_as_people_read_them() -> None:
    key = PartitionKey.of(
        {"store": 3, "item": "a/b", "open": True, "since": date(2026, 11, 24), "chain": None}
    )
    assert key.tags == {"store": "3", "item": "a/b", "open": "true", "since": "2026-11-24", "chain": "null"}
    assert str(PartitionKey.of({"store": 3, "item": 7})) == "item=7  store=3"


@given(st.text(min_size=1, max_size=60))
def test_tag_keys_can_be_read_back_unless_they_are_cut_and_end_in_the_names_digest(name: str) -> None:
    key = tag_key(name)
    assert len(key) <= TAG_KEY_LIMIT
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    assert (
        key.endswith(f"..{digest}")
        if len(f"key.{quote(name, safe='').replace('~', '%7E')}") > TAG_KEY_LIMIT
        else untag_key(key) == name
    )


def test_a_tag_value_has_no_nul_which_postgres_refuses() -> None:
    key = PartitionKey.of({"store": "a\0b"})
    assert key.tags == {tag_key("store"): "a\N{SYMBOL FOR NULL}b"}
    assert "\0" not in key.canonical
    assert PartitionKey.parse(key.canonical) == key


def test_a_tag_value_beyond_the_limit_keeps_its_start_and_a_digest() -> None:
    long = tag_value("x" * 6000)
    assert len(long) <= 5000
    assert long.startswith("xxx")
    assert long != tag_value("x" * 6001)


def test_a_value_that_cannot_be_a_key_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="list"):
        PartitionKey.of({"k": [1]})  # type: ignore[dict-item]


def test_seeds_differ_between_partitions_and_stay_the_same() -> None:
    seeds = {PartitionKey.of({"k": number}).seed for number in range(100)}
    assert len(seeds) == 100
    assert max(seeds) < 2**31
