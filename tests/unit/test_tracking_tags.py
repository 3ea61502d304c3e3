"""Tags: within MLflow's limits whatever a key holds, and back to what they were made of."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manymodels_spark.errors import TrackingError
from manymodels_spark.keys import PartitionKey, untag_key
from manymodels_spark.stages.promote.copying import champion_record
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.records import registered

KEY_ALPHABET = re.compile(r"[\w.\-/: ]{1,250}\Z", re.ASCII)
LONGEST = 5000
text = st.text(st.characters(codec="utf-8"), max_size=40)
long_text = st.builds(
    lambda part, times: part * times,
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=9),
    st.integers(1, 3000),
)
names = st.one_of(
    text.filter(bool),
    st.builds(lambda part, times: part * times, st.sampled_from("aé/😀"), st.integers(1, 300)),
)
values = st.one_of(
    st.none(), st.booleans(), st.integers(), text, long_text, st.dates(), st.binary(max_size=20)
)
keys = st.dictionaries(names, values, min_size=1, max_size=4).map(PartitionKey.of)


@given(keys)
def test_any_key_fits_into_tags_and_comes_back_from_them(key: PartitionKey) -> None:
    tags = t.partition_tags(key)
    assert t.key_of(tags) == key.canonical
    assert PartitionKey.parse(t.key_of(tags)).id == key.id
    assert all(KEY_ALPHABET.match(name) and len(value) <= LONGEST for name, value in tags.items())


@given(st.dictionaries(names, text, min_size=1, max_size=4))
def test_column_names_come_back_from_their_tags_where_they_are_not_cut(columns: dict[str, str]) -> None:
    for name, tag in zip(sorted(columns), PartitionKey.of(columns).tags, strict=False):
        if ".." not in tag:
            assert untag_key(tag) == name


@given(keys, st.dictionaries(st.sampled_from([t.JOB, t.SHA256, t.METRICS, t.ROLE, t.SPEC]), long_text))
def test_packed_tags_are_the_same_again_and_those_that_are_searched_stay(
    key: PartitionKey, more: dict[str, str]
) -> None:
    tags = {**t.partition_tags(key), t.FAMILY: "prophet", **more}
    packed = t.pack(tags)
    assert t.unpack(packed) == tags
    assert packed[t.PARTITION] == key.id and packed[t.FAMILY] == "prophet"
    assert packed.keys() & {t.KEY, t.JOB, t.SHA256, t.METRICS} == set()
    assert all(len(value) <= LONGEST for name, value in packed.items() if name.startswith(t.FACTS))
    assert t.unpack(tags) == tags, "tags of older models are as they were"


def test_a_production_model_shows_its_metric_as_a_tag_and_has_the_others_packed() -> None:
    metrics = {"wape": 0.0628465757, "mase": 0.66, "rows": 40.0}
    record = champion_record(
        PartitionKey.of({"store": 3}),
        {t.SPEC: "sales", t.ROLE: t.CHAMPION, t.FAMILY: "theta"},
        metrics,
        "wape",
    )
    assert record.metrics == {}, "a metric costs a server's search as much as several tags"
    assert {name: record.tags[name] for name in (t.TEST_METRIC, "store", t.ROLE)} == {
        t.TEST_METRIC: "wape 0.0628466",
        "store": "3",
        t.ROLE: "champion",
    }
    assert registered("m-1", "/m-1", record.tags, {}, 1, ready=True).metrics == metrics
    assert (
        t.TEST_METRIC not in champion_record(PartitionKey.of({"store": 3}), {}, {"mase": 0.66}, "wape").tags
    )


def test_a_record_of_a_newer_format_is_refused_by_name_and_the_first_one_names_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tags = {t.SPEC: "sales", t.JOB: "job-1"}
    assert "format" not in t.pack(tags)[t.FACTS]
    with monkeypatch.context() as patch:
        patch.setattr(t, "RECORD_FORMAT", 2)
        newer = t.pack(tags)
        assert t.unpack(newer) == tags
    with pytest.raises(
        TrackingError, match=r"has format 2, and this version reads up to 1\. Install a newer"
    ):
        registered("m-1", "/nowhere", newer, {}, 0, True)
