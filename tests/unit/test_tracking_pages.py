"""Reading many models from both ends at once: all of them, each page about once, whatever their times of
creation.
"""

from __future__ import annotations

import math
import re
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as some
from mlflow.exceptions import MlflowException

from manymodels_spark.tracking import pages
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.records import Registered, registered

PAGE = 5


class Server:
    """Answers searches as MLflow does: the models within the filter's times, in order, `PAGE` at a time."""

    def __init__(self, times: list[int]) -> None:
        self.models = [Registered(f"m-{n}", f"p-{n}", "", {}, {}, time, True) for n, time in enumerate(times)]
        self.sent = 0
        self.calls = 0

    def page(
        self, _: Any, __: str, query: str, token: str | None, *, oldest_first: bool = False
    ) -> pages.Page:
        oldest, newest = (int(number) for number in re.findall(r"creation_timestamp .= (\d+)", query))
        found = [model for model in self.models if oldest <= model.created <= newest]
        found.sort(key=lambda model: model.created, reverse=not oldest_first)
        start = int(token or 0)
        answer = found[start : start + PAGE]
        self.calls, self.sent = self.calls + 1, self.sent + len(answer)
        return answer, str(start + PAGE) if start + PAGE < len(found) else None

    def read(self, monkeypatch: pytest.MonkeyPatch) -> list[Registered]:
        monkeypatch.setattr(pages, "page", self.page)
        monkeypatch.setattr(pages, "HEAD_START", 0.0)
        return pages.from_both_ends(SimpleNamespace(map=_threads), "1", "tags.a = 'b'")  # type: ignore[arg-type]


def _threads(function: Any, items: Any) -> list[Any]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(function, items))


@settings(max_examples=200, deadline=None)
@given(some.lists(some.integers(1, 30), max_size=60))
def test_every_model_is_found_also_where_many_were_made_in_one_moment(times: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        server = Server(times)
        found = server.read(patch)
    assert sorted(model.model_id for model in found) == sorted(model.model_id for model in server.models)


@pytest.mark.parametrize("count", [0, 1, PAGE, PAGE + 1, 10 * PAGE, 10 * PAGE + 3])
def test_hardly_more_than_each_page_is_asked_for(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(list(range(1, count + 1)))
    assert len(server.read(monkeypatch)) == count
    assert server.calls <= count // PAGE + 5
    assert server.sent <= count + 4 * PAGE


def test_packed_metrics_that_json_does_not_know_are_read_too() -> None:
    packed = {t.METRICS: '{"mase": NaN, "wape": 0.25}', t.PARTITION: "p"}
    model = registered("m-1", "/models/m-1", packed, {"wape": 0.5}, 1, ready=True)
    assert model.metrics["wape"] == 0.5 and math.isnan(model.metrics["mase"])


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>proxy</html>", "valid JSON"),
        (400, b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "no such filter"}', "no such filter"),
    ],
)
def test_a_page_that_is_no_answer_is_told_as_mlflow_tells_it(
    monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, said: str
) -> None:
    from mlflow.utils import rest_utils

    response = requests.Response()
    response.status_code, response._content = status, body
    monkeypatch.setattr(rest_utils, "http_request", lambda *_, **__: response)
    with pytest.raises(MlflowException, match=said):
        pages.search_logged_models(SimpleNamespace(get_host_creds=lambda: None), "1", "", 10, None, [])
