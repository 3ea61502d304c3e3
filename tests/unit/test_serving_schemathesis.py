"""Schemathesis makes requests from the OpenAPI document, valid and not: each is answered as the document
says, none by a 5xx.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving_builders import Running, classification_payload, forecast_payload, key_of, regression_payload

from manymodels_spark.serving.http.app import create_app
from manymodels_spark.serving.models.sources import MemoryChampions

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
DOCUMENT = schemathesis.openapi.from_dict(create_app(MemoryChampions()).openapi())
OPERATIONS = {f"{found.ok().method} {found.ok().path}": found.ok() for found in DOCUMENT.get_all_operations()}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server with a forecast, one with known-future columns, and two table models, named as the document's
    examples are.
    """
    source = MemoryChampions()
    source.put(key_of(3, 7), forecast_payload(), "m-1", family="seasonal_naive")
    source.put(
        key_of(3, 8), forecast_payload(candidate="linear", known_future=["promotion"]), "m-2", family="linear"
    )
    source.put(key_of(4, 7), regression_payload(), "m-3", family="linear")
    source.put(key_of(4, 8), classification_payload(), "m-4", family="linear")
    running = Running(source)
    yield running.url
    running.end()


def test_the_document_has_every_operation() -> None:
    assert set(OPERATIONS) == {
        "post /v1/score",
        "get /v1/models",
        "get /v1/models/{partition}",
        "get /healthz",
        "get /readyz",
        "get /metrics",
    }


# Whatever text a partition's address holds is valid to the document.
ASKED = [
    (name, mode)
    for name in OPERATIONS
    for mode in GenerationMode
    if mode.is_positive or name in ("post /v1/score", "get /v1/models")
]


@pytest.mark.parametrize(("name", "mode"), ASKED)
def test_whatever_is_asked_is_answered_as_the_document_says(
    address: str, name: str, mode: GenerationMode
) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=OPERATIONS[name].as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.call_and_validate(base_url=address, checks=CHECKS)

    ask()
