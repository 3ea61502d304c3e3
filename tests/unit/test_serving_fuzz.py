"""Items made from the document's own schemas for partitions that exist, and anything at all: none ends in a
5xx.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_builders import Running, forecast_payload, key_of, regression_payload

from manymodels_spark.serving.http.app import create_app
from manymodels_spark.serving.models.sources import MemoryChampions

DOCUMENT = create_app(MemoryChampions()).openapi()
KNOWN = {"partition": {"store": 1, "item": "a"}}
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


def strategy_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a JSON schema of the document allows."""
    if "$ref" in schema:
        return strategy_of(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return st.one_of(*map(strategy_of, schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object" if "properties" in schema:
            required = {
                name: strategy_of(part)
                for name, part in schema["properties"].items()
                if name in schema.get("required", ())
            }
            optional = {
                name: strategy_of(part) for name, part in schema["properties"].items() if name not in required
            }
            return st.fixed_dictionaries(required, optional=optional)
        case "object":
            names = st.sampled_from(["store", "item", "date", "age", "temperature"]) | st.text(
                "ab/'", max_size=3
            )
            return st.dictionaries(names, strategy_of(schema["additionalProperties"]), max_size=4)
        case "array":
            return st.lists(strategy_of(schema["items"]), min_size=schema.get("minItems", 0), max_size=3)
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            return st.floats(allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case _:
            dates = st.datetimes().map(lambda moment: moment.isoformat()) | st.sampled_from(
                [key_of(1).id, key_of(3).id, "date", "age"]
            )
            return dates | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


ITEM = strategy_of({"$ref": "#/components/schemas/Item"})


@pytest.fixture(scope="module")
def api() -> Iterator[httpx.Client]:
    source = MemoryChampions()
    source.put(key_of(1), forecast_payload(), "m-1", family="seasonal_naive")
    source.put(
        key_of(2), forecast_payload(candidate="linear", known_future=["promotion"]), "m-2", family="linear"
    )
    source.put(key_of(3), regression_payload(), "m-3", family="linear")
    running = Running(source)
    with httpx.Client(base_url=running.url, timeout=30) as client:
        yield client
    running.end()


def ask(api: httpx.Client, body: Any) -> None:
    """Score, and see that the answer is an answer or a refusal with a reason."""
    answer = api.post("/v1/score", json=body)
    assert answer.status_code in (200, 400, 404, 413, 422), (body, answer.text)
    results = answer.json().get("results", [answer.json()])
    assert all("predictions" in one or len(one["error"]["message"]) > 10 for one in results), answer.text
    assert all(one.get("status", 200) < 500 for one in results), (body, answer.text)


QUIET = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@QUIET
@given(item=ITEM, store=st.sampled_from([1, 2, 3]))
def test_anything_asked_of_a_known_partition_is_answered_or_refused(api, item, store):
    rest = {name: value for name, value in item.items() if name != "partition_id"}
    ask(api, {**rest, "partition": {"store": store, "item": "a"}})


@QUIET
@given(body=ANYTHING)
def test_any_json_at_all_is_refused_with_a_reason(api, body):
    ask(api, body) if isinstance(body, dict) else ask(api, {"items": [body]})


@QUIET
@given(
    values=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5), ANYTHING, max_size=3
    )
)
def test_any_key_in_an_address_is_found_or_refused(api, values):
    import json
    from urllib.parse import quote

    assert api.get("/v1/models/" + quote(json.dumps(values), safe="")).status_code in (200, 404, 422)
