"""A payload is the same bytes for the same model, and nothing else than what was sealed is ever opened."""

from __future__ import annotations

import pickle
import tracemalloc
import zlib
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manymodels_spark.errors import PayloadError
from manymodels_spark.families.codec import decode, encode
from manymodels_spark.modeling import payload
from manymodels_spark.modeling.payload import FORMAT, open_payload, seal, sha256

DOCUMENT: dict[str, Any] = {"task": "forecast", "members": [{"family": "naive", "state": [1.5]}]}
texts = st.text(max_size=8)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
arrays = st.sampled_from(
    [
        np.arange(6.0).reshape(2, 3),
        np.array([np.nan, -0.0, np.inf]),
        np.array([], dtype=np.int32),
        np.array(["a", "é"]),
        np.array([True, False]),
        np.float32(0.1),
        np.int64(-3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
    ]
)
states = st.recursive(
    st.one_of(scalars, st.floats(), arrays),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.one_of(texts, st.integers()), inner, max_size=3)
    ),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, (np.ndarray, np.generic)):
        return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return isinstance(b, float) and (a.hex() == b.hex())
    return type(a) is type(b) and bool(a == b)


@settings(max_examples=100, deadline=None)
@given(values)
def test_what_is_sealed_is_opened_unchanged(value: Any) -> None:
    document = {"members": [], "value": value}
    assert open_payload(seal(document)) == {"manymodels": FORMAT, **document}


@settings(max_examples=150, deadline=None)
@given(states)
def test_a_fitted_state_survives_json_bit_for_bit(state: Any) -> None:
    assert same(decode(orjson.loads(orjson.dumps(encode(state)))), state)


def test_what_is_no_data_is_refused_by_the_codec() -> None:
    with pytest.raises(TypeError, match="object is no data"):
        encode({"a": [object()]})
    with pytest.raises(ValueError, match="unknown kind 'pickle'"):
        decode({"~": "pickle", "data": ""})


def test_a_decoded_array_can_be_written_to() -> None:
    array = decode(encode(np.zeros(2)))
    array[0] = 1.0
    assert array.tolist() == [1.0, 0.0]


def test_the_order_of_a_documents_keys_does_not_change_its_bytes() -> None:
    turned = dict(reversed(list(DOCUMENT.items())))
    assert seal(turned) == seal(DOCUMENT)
    assert sha256(seal(turned)) == sha256(seal(DOCUMENT))


def test_the_checksum_is_of_64_characters_and_changes_with_the_document() -> None:
    assert len(sha256(seal(DOCUMENT))) == 64
    assert sha256(seal(DOCUMENT)) != sha256(seal({**DOCUMENT, "task": "regression"}))


def test_the_right_checksum_opens_and_a_wrong_one_does_not() -> None:
    data = seal(DOCUMENT)
    assert open_payload(data, sha256(data))["task"] == "forecast"
    with pytest.raises(PayloadError, match="SHA-256"):
        open_payload(data, sha256(b"something else"))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(seal(DOCUMENT)) - 1), st.integers(1, 255))
def test_one_changed_byte_is_noticed(position: int, change: int) -> None:
    data = bytearray(seal(DOCUMENT))
    data[position] ^= change
    with pytest.raises(PayloadError):
        open_payload(bytes(data), sha256(seal(DOCUMENT)))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_bytes_that_are_no_payload_are_refused_without_a_checksum_too(data: bytes) -> None:
    for bad in (data, zlib.compress(data)):
        with pytest.raises(PayloadError):
            open_payload(bad)


@pytest.mark.parametrize(
    "document", [[], {}, {"manymodels": 0, "members": []}, {"manymodels": "1", "members": []}, None, 3]
)
def test_a_document_that_names_no_format_is_no_model(document: Any) -> None:
    with pytest.raises(PayloadError, match="not a model of manymodels-spark"):
        open_payload(zlib.compress(orjson.dumps(document)))


def test_a_newer_format_is_refused_by_name_and_the_former_one_is_read() -> None:
    members: dict[str, Any] = {"members": []}
    newer = zlib.compress(orjson.dumps({"manymodels": FORMAT + 1, **members}))
    with pytest.raises(PayloadError, match=f"format {FORMAT + 1}, .* reads up to {FORMAT}. Install"):
        open_payload(newer)
    assert open_payload(zlib.compress(orjson.dumps({"manymodels": 1, **members})))["members"] == []


def test_a_document_without_members_is_refused() -> None:
    with pytest.raises(PayloadError, match="members"):
        open_payload(zlib.compress(orjson.dumps({"manymodels": FORMAT})))


def test_a_few_bytes_that_decompress_to_very_many_are_refused_before_they_are_in_memory() -> None:
    packer, zeros = zlib.compressobj(9), b"0" * 2**20
    bomb = packer.compress(b'{"manymodels": 2, "members": [') + b"".join(
        packer.compress(zeros) for _ in range(64)
    )
    tracemalloc.start()
    with pytest.raises(PayloadError, match=r"decompress to more than 4,194,304: not loaded"):
        open_payload(bomb + packer.flush(), limit=4 * 2**20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(bomb) < 100_000
    assert peak < 10 * 2**20
    with pytest.raises(PayloadError, match="more than 50: not loaded"):
        open_payload(seal(DOCUMENT), limit=50)


def test_a_model_that_no_version_would_open_is_not_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "LIMIT", 1000)
    with pytest.raises(PayloadError, match=r"takes 2,\d{3} bytes, and at most 1,000 are stored"):
        seal({"members": [{"state": "x" * 2000}]})


def test_half_a_payload_is_refused_as_damaged() -> None:
    data = seal(DOCUMENT)
    with pytest.raises(PayloadError, match="damaged"):
        open_payload(data[: len(data) // 2])


def test_a_pickled_member_is_opened_only_where_that_is_allowed() -> None:
    data = seal({"members": [{"family": "own", "pickled": True, "state": "gASVAA=="}]})
    with pytest.raises(PayloadError, match="pickled"):
        open_payload(data)
    assert open_payload(data, allow_pickle=True)["members"][0]["pickled"] is True


def test_opening_never_unpickles() -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return pytest.fail, ("a pickle was loaded",)

    with pytest.raises(PayloadError):
        open_payload(pickle.dumps(Evil()))
    with pytest.raises(PayloadError):
        open_payload(zlib.compress(pickle.dumps(Evil())))
