"""The HTTP interface, asked over real connections: what is answered, what is refused and how it is said."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from serving_builders import (
    CUTOFF,
    Running,
    classification_payload,
    forecast_payload,
    key_of,
    regression_payload,
)

from manymodels_spark.serving.http.telemetry import Gathered
from manymodels_spark.serving.models.sources import Champion, MemoryChampions


@pytest.fixture(scope="module")
def source() -> MemoryChampions:
    """A weekly repeater, one that requires `promotion`, a regression, a classification and a poisoned
    payload.
    """
    found = MemoryChampions()
    found.put(key_of(1), forecast_payload(), "m-week", family="seasonal_naive", created=1_790_000_000_000)
    found.put(
        key_of(2),
        forecast_payload(candidate="linear", known_future=["promotion"]),
        "m-promotion",
        family="linear",
    )
    found.put(key_of(3), regression_payload(), "m-regression", family="linear")
    found.put(key_of(4), classification_payload(), "m-classes", family="linear")
    found.put(key_of(5), forecast_payload(), "m-poison")
    found.payloads["m-poison"] = b"poison /etc/passwd"
    return found


@pytest.fixture(scope="module")
def api(source: MemoryChampions) -> Iterator[httpx.Client]:
    running = Running(source, body_mb=1, items=10, rows=500)
    with httpx.Client(base_url=running.url, timeout=30) as client:
        yield client
    running.end()


@pytest.fixture
def serve() -> Iterator[Callable[..., httpx.Client]]:
    """`serve(source, **settings)`: a client of a server of the test's own."""
    made: list[tuple[Running, httpx.Client]] = []

    def start(source: MemoryChampions, **settings: object) -> httpx.Client:
        running = Running(source, **settings)
        made.append((running, httpx.Client(base_url=running.url, timeout=30)))
        return made[-1][1]

    yield start
    for running, client in made:
        client.close()
        running.end()


def score(api: httpx.Client, store: int | None = None, **item: Any) -> httpx.Response:
    asked = item if store is None else {"partition": {"store": store, "item": "a"}, **item}
    return api.post("/v1/score", json=asked)


def refusal(response: httpx.Response) -> tuple[int, str, str]:
    error = response.json()["error"]
    return response.status_code, error["code"], error["message"]


def test_a_forecast_by_horizon_with_intervals_on_request(api):
    answer = score(api, 1, horizon=3, intervals=[80])

    assert answer.status_code == 200
    assert answer.json() == {
        "status": 200,
        "partition_id": key_of(1).id,
        "partition": {"store": 1, "item": "a"},
        "model_id": "m-week",
        "family": "seasonal_naive",
        "predictions": [
            {"date": "2026-03-12T00:00:00", "prediction": 10.0, "lower_80": 10.0, "upper_80": 10.0},
            {"date": "2026-03-13T00:00:00", "prediction": 11.0, "lower_80": 11.0, "upper_80": 11.0},
            {"date": "2026-03-14T00:00:00", "prediction": 12.0, "lower_80": 12.0, "upper_80": 12.0},
        ],
    }


def test_without_a_horizon_the_model_s_own_is_answered_without_intervals(api):
    predictions = score(api, 1).json()["predictions"]

    assert len(predictions) == 7
    assert list(predictions[0]) == ["date", "prediction"]


def test_a_forecast_of_given_times_in_their_order(api):
    rows = [{"date": "2026-03-14"}, {"date": "2026-03-12T00:00:00"}]

    predictions = score(api, 1, dataframe_records=rows).json()["predictions"]

    assert [(p["date"][:10], p["prediction"]) for p in predictions] == [
        ("2026-03-14", 12.0),
        ("2026-03-12", 10.0),
    ]


def test_split_and_records_say_the_same_in_both_directions(api):
    split = {"columns": ["age", "temperature"], "data": [[0.5, 0.25], [1, 1]], "index": [7, 8]}
    records = [{"age": 0.5, "temperature": 0.25}, {"age": 1, "temperature": 1}]

    by_split = score(api, 3, dataframe_split=split, orient="split").json()["predictions"]
    by_records = score(api, 3, dataframe_records=records).json()["predictions"]

    assert by_split["columns"] == ["prediction"]
    assert [[row["prediction"]] for row in by_records] == by_split["data"]
    assert [value for (value,) in by_split["data"]] == pytest.approx([1.75, 4.0], abs=0.01)


def test_a_classification_answers_class_and_probability(api):
    low, high = score(api, 4, dataframe_records=[{"age": 0.0}, {"age": 1.0}]).json()["predictions"]

    assert (low["prediction"], high["prediction"]) == ("no", "yes")
    assert min(low["probability"], high["probability"]) > 0.9


def test_known_future_columns_are_taken_per_step(api):
    rows = [{"date": f"2026-03-{day}", "promotion": day % 2} for day in (12, 13)]

    assert len(score(api, 2, dataframe_records=rows, horizon=2).json()["predictions"]) == 2
    assert refusal(score(api, 2, horizon=2))[:2] == (422, "invalid")


def test_every_item_of_a_batch_succeeds_or_fails_on_its_own(api):
    items = [
        {"partition_id": key_of(1).id},
        {"partition_id": key_of(99).id},
        {"partition_id": "../x"},
        {"horizon": 0},
        {"partition": {"store": 1, "item": "a"}, "horizon": 2},
    ]

    answer = api.post("/v1/score", json={"items": items})

    assert answer.status_code == 200
    assert [result["status"] for result in answer.json()["results"]] == [200, 404, 422, 422, 200]
    assert answer.json()["results"][1]["partition_id"] == key_of(99).id


def test_a_partition_is_one_of_typed_values(api):
    assert score(api, partition={"item": "a", "store": 1}).status_code == 200
    assert refusal(score(api, partition={"store": "1", "item": "a"})) == (
        422,
        "invalid",
        "partition.store: a whole number is expected",
    )
    assert refusal(score(api, partition={"store": 1})) == (
        422,
        "invalid",
        "partition: columns item, store are expected, each once, and no others",
    )


@pytest.mark.parametrize(
    "item", ["../../etc/passwd", "'; DROP TABLE models; --", "a\u0000b", "é" * 500, "%2e%2e/", "{}"]
)
def test_a_key_made_of_path_or_sql_characters_is_just_an_unknown_partition(api, item):
    assert refusal(score(api, partition={"store": 1, "item": item}))[:2] == (404, "unknown_partition")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b'{"horizon": NaN}', 400, "malformed_json"),
        (b"\xff\xfe", 400, "malformed_json"),
        (b"[" * 50_000, 400, "malformed_json"),
        (b"[]", 422, "invalid"),
        (b"null", 422, "invalid"),
        (b"{}", 422, "invalid"),
        (b'{"items": []}', 422, "invalid"),
        (b'{"items": {}}', 422, "invalid"),
        (b'{"items": [1], "horizon": 2}', 422, "invalid"),
        (b'{"partition": {"store": "\\ud800", "item": "a"}}', 400, "malformed_json"),
        (b'{"partition": {"store": 1e999, "item": "a"}}', 400, "malformed_json"),
        (b'{"partition": {"store": 123456789012345678901234567890, "item": "a"}}', 422, "invalid"),
        (b'{"partition": {}}', 422, "invalid"),
        (json.dumps({"items": [{}] * 11}).encode(), 413, "too_many_items"),
        (b" " * (1024 * 1024 + 1), 413, "body_too_large"),
    ],
)
def test_a_body_that_is_no_request_is_refused_with_a_reason(api, body, status, code):
    answer = api.post("/v1/score", content=body)

    assert refusal(answer)[:2] == (status, code)
    assert len(refusal(answer)[2]) > 10


@pytest.mark.parametrize(
    ("store", "item", "message"),
    [
        (1, {"horizon": 0}, "horizon: Input should be greater than or equal to 1"),
        (1, {"horizon": 1_000_000}, "horizon: 1000000 is too large. At most 10000 steps are answered"),
        (1, {"horizon": "7"}, "horizon: Input should be a valid integer"),
        (1, {"horizon": 7.5}, "horizon: Input should be a valid integer"),
        (1, {"intervals": [0]}, "intervals.0: Input should be greater than or equal to 1"),
        (1, {"steps": 7}, "steps: Extra inputs are not permitted"),
        (1, {"partition_id": "x"}, "give either `partition` (column to value) or `partition_id`"),
        (
            1,
            {"dataframe_records": []},
            "the rows are empty: give at least one row with the model's columns, or leave them out",
        ),
        (1, {"dataframe_records": [{"day": "2026-03-12"}]}, "unknown column 'day'. The model takes 'date'"),
        (
            1,
            {"dataframe_records": [{"date": "2026-03-12", "x": 1}]},
            "unknown column 'x'. The model takes 'date'",
        ),
        (
            1,
            {"dataframe_records": [{"date": CUTOFF}]},
            "no step after the cutoff 2026-03-11 00:00:00 is asked for",
        ),
        (
            1,
            {"dataframe_records": [{"date": "soon"}]},
            "column 'date': times are expected as ISO 8601 text, e.g. 2026-11-24T03:00:00",
        ),
        (
            1,
            {"dataframe_records": [{"date": 5}]},
            "column 'date': times are expected as ISO 8601 text, e.g. 2026-11-24T03:00:00",
        ),
        (
            1,
            {"dataframe_records": [{"date": "9999-01-01"}]},
            "column 'date': times between the years 1678 and 2262 are expected",
        ),
        (
            1,
            {"dataframe_records": [{"date": "2200-01-01"}]},
            "column 'date': 2200-01-01 00:00:00 is too far ahead. The last step answered is 2053-07-27 "
            "00:00:00",
        ),
        (
            1,
            {"dataframe_records": [{"date": "2026-03-12T05:00:00"}]},
            "2026-03-12 05:00:00 is no step of the model, which has frequency D after its cutoff",
        ),
        (
            2,
            {"dataframe_records": [{"date": "2026-03-12"}]},
            "missing column 'promotion'. The model takes 'date', 'promotion'",
        ),
        (
            2,
            {"dataframe_records": [{"date": "2026-03-12", "promotion": None}]},
            "column 'promotion': a number in every row is expected",
        ),
        (
            2,
            {"dataframe_records": [{"date": "2026-03-12", "promotion": "yes"}]},
            "column 'promotion': a number in every row is expected",
        ),
        (3, {}, "rows: a regression model requires dataframe_split or dataframe_records"),
        (3, {"horizon": 7}, "horizon: a regression model predicts rows. Give them and leave horizon out"),
        (
            3,
            {"dataframe_records": [{"age": 1}]},
            "missing column 'temperature'. The model takes 'age', 'temperature'",
        ),
        (
            3,
            {"dataframe_records": [{"age": "old", "temperature": 1}]},
            "column 'age': a number or null in every row is expected",
        ),
        (
            3,
            {"dataframe_split": {"columns": ["age", "age"], "data": [[1, 2]]}},
            "repeated column 'age'. Each column is expected once",
        ),
        (
            3,
            {"dataframe_split": {"columns": ["age"], "data": [[1, 2]]}},
            "dataframe_split.data: 1 values are expected in every row, one per column",
        ),
        (3, {"dataframe_records": [{"age": {"deep": 1}, "temperature": 1}]}, None),
    ],
)
def test_an_item_that_cannot_be_answered_says_why(api, store, item, message):
    status, code, said = refusal(score(api, store, **item))

    assert (status, code) == (422, "invalid")
    assert message is None or said == message


def test_too_many_rows_are_refused(api):
    rows = [{"age": 1, "temperature": 2}] * 501

    assert refusal(score(api, 3, dataframe_records=rows))[:2] == (413, "too_many_rows")


def test_a_poisoned_payload_is_never_opened_and_its_content_never_shown(api):
    status, code, message = refusal(score(api, 5))

    assert (status, code) == (424, "model_unusable")
    assert "passwd" not in message


def test_one_model_s_facts_by_id_and_by_key(api):
    by_id = api.get(f"/v1/models/{key_of(1).id}").json()
    by_key = api.get("/v1/models/" + '{"store": 1, "item": "a"}').json()

    assert by_id == by_key
    assert (by_id["task"], by_id["horizon"], by_id["frequency"], by_id["cutoff"]) == (
        "forecast",
        7,
        "D",
        CUTOFF,
    )
    assert by_id["history"][-1] == {"time": CUTOFF, "value": 16.0}
    assert len(by_id["history"]) == 21
    assert (by_id["next"][0], len(by_id["next"])) == ("2026-03-12T00:00:00", 7)
    assert by_id["promoted_at"] == "2026-09-21T14:13:20+00:00"


@pytest.mark.parametrize(
    "path", ["nobody", "../../etc/passwd", "{", "{}", "[1]", "%00", '{"store": [1], "item": 2}']
)
def test_a_model_s_address_that_is_no_partition_is_refused(api, path):
    assert api.get("/v1/models/" + path).status_code in (404, 422)


def test_partitions_are_found_by_part_of_their_key(api):
    found = api.get("/v1/models", params={"q": "STORE=3"}).json()

    assert [model["partition"] for model in found["models"]] == [{"store": 3, "item": "a"}]
    assert api.get("/v1/models", params={"q": "store=3, item=a"}).json() == found
    assert api.get("/v1/models", params={"q": "store=3 item=b"}).json()["models"] == []
    assert api.get("/v1/models", params={"limit": 0}).status_code == 422


def test_health_metrics_and_the_document_are_there(api):
    score(api, 1)

    assert api.get("/healthz").json() == {"status": "alive"}
    assert api.get("/readyz").json()["status"] == "ready"
    lines = api.get("/metrics").text.splitlines()
    assert any(line.startswith('manymodels_requests_total{route="/v1/score",status="200"}') for line in lines)
    assert "manymodels_source_up 1.0" in lines
    paths = api.get("/openapi.json").json()["paths"]
    assert sorted(paths) == [
        "/healthz",
        "/metrics",
        "/readyz",
        "/v1/models",
        "/v1/models/{partition}",
        "/v1/score",
    ]


def test_the_examples_of_the_document_are_valid_requests(api):
    from manymodels_spark.serving.schemas import items_of

    content = api.get("/openapi.json").json()["paths"]["/v1/score"]["post"]["requestBody"]["content"]
    examples = [example["value"] for example in content["application/json"]["examples"].values()]

    assert [len(items_of(example, 10, 10)[0]) for example in examples] == [1, 1, 1, 2]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nope", 404), ("PUT", "/v1/score", 405), ("GET", "/page/x", 404)]
)
def test_other_addresses_and_methods_are_refused_in_the_same_form(api, method, path, status):
    assert refusal(api.request(method, path))[0] == status


def test_an_answer_carries_the_client_s_request_id_unless_it_is_harmful(api):
    kept = api.get("/healthz", headers={"X-Request-ID": "abc-1.2"}).headers["X-Request-ID"]
    replaced = api.get("/healthz", headers={"X-Request-ID": "a b{}"}).headers["X-Request-ID"]

    assert kept == "abc-1.2"
    assert len(replaced) == 32


def test_the_log_has_a_line_a_request_and_no_payload(api, caplog):
    with caplog.at_level(logging.INFO, "manymodels_spark.serving.access"):
        score(api, 1, horizon=3)
        api.get(f"/v1/models/{key_of(1).id}")
        # A line is written after its answer is sent, and before the next request is taken.
        api.get("/healthz")

    lines = [json.loads(record.message) for record in caplog.records if record.name.endswith("access")]
    assert [(line["route"], line["status"]) for line in lines[:2]] == [
        ("/v1/score", 200),
        ("/v1/models/{partition:path}", 200),
    ]
    assert set(lines[0]) == {"request_id", "method", "route", "status", "ms"}


def test_with_keys_only_their_bearers_are_served(serve):
    source = MemoryChampions()
    source.put(key_of(1), forecast_payload(), "m-1")
    api = serve(source, keys=("first key", "second"))

    assert refusal(score(api, 1))[:2] == (401, "unauthorized")
    for header, status in (
        ("Bearer second", 200),
        ("bearer first key", 200),
        ("Bearer third", 401),
        ("Basic second", 401),
    ):
        answer = api.post("/v1/score", json={"partition_id": key_of(1).id}, headers={"Authorization": header})
        assert answer.status_code == status
    assert api.get("/v1/models").status_code == 401
    assert [api.get(path).status_code for path in ("/", "/healthz", "/readyz", "/metrics")] == [200] * 4


def test_without_the_source_models_in_memory_answer_and_cold_ones_ask_for_patience(serve):
    source = MemoryChampions()
    source.put(key_of(1), forecast_payload(), "m-1")
    source.put(key_of(2), forecast_payload(), "m-2")
    api = serve(source, retry_after=7, sample=0)
    assert score(api, 1).status_code == 200

    source.down = True
    cold = score(api, 2)

    assert score(api, 1).status_code == 200
    assert refusal(cold)[:2] == (503, "source_down")
    assert cold.headers["Retry-After"] == "7"
    assert (api.get("/readyz").status_code, api.get("/readyz").json()["status"]) == (200, "degraded")
    assert api.get("/v1/models").json()["complete"] is False


def test_a_server_without_source_and_models_is_not_ready(serve):
    source = MemoryChampions()
    source.down = True
    api = serve(source)
    score(api, 1)

    assert (api.get("/readyz").status_code, api.get("/readyz").json()["status"]) == (503, "unavailable")


def test_the_warm_list_is_loaded_before_the_server_is_ready(serve):
    source = MemoryChampions()
    for store in range(3):
        source.put(key_of(store), forecast_payload(), f"m-{store}")
    api = serve(source, warm=(key_of(0).id, '{"store": 1, "item": "a"}', "nonsense"), sample=0)

    assert api.get("/readyz").json() == {"status": "ready", "models": 2, "on_disk": 0}


def test_one_champion_of_each_family_is_loaded_at_the_start(serve):
    source = MemoryChampions()
    for store, family in enumerate(("naive", "naive", "linear", "linear")):
        source.put(key_of(store), forecast_payload(), f"m-{store}", family=family)

    assert serve(source).get("/readyz").json()["models"] == 2


def test_a_slow_client_is_cut_off(serve):
    api = serve(MemoryChampions(), body_seconds=0.2)

    with socket.create_connection((api.base_url.host, api.base_url.port), timeout=20) as connection:
        connection.sendall(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        answer = ""
        while "slow_body" not in answer and (part := connection.recv(65536)):
            answer += part.decode()

    assert answer.startswith("HTTP/1.1 408 ")
    assert "slow_body" in answer


def test_a_model_that_takes_too_long_to_load_is_a_matter_of_patience(serve):
    class Stuck(MemoryChampions):
        def payload(self, champion: Champion) -> bytes:
            gate.wait(20)
            return super().payload(champion)

    import threading

    gate, source = threading.Event(), Stuck()
    source.put(key_of(1), forecast_payload(), "m-1")
    api = serve(source, load_seconds=0.1, sample=0)
    early = score(api, 1)
    gate.set()

    assert refusal(early)[:2] == (503, "timeout")
    assert early.headers["Retry-After"] == "5"


def test_no_request_fails_while_champions_are_swapped(serve):
    source = MemoryChampions()
    payloads = [forecast_payload(), forecast_payload(add=100)]
    source.put(key_of(1), payloads[0], "m-0")
    api = serve(source, ttl=0.001)

    def ask(_: int) -> tuple[str, float]:
        answer = score(api, 1, horizon=1).json()
        return answer["model_id"], answer["predictions"][0]["prediction"]

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(ask, number) for number in range(200)]
        for number in range(1, 40):
            source.put(key_of(1), payloads[number % 2], f"m-{number}")
        seen = [future.result() for future in futures]

    assert all(value == (110.0 if int(model[2:]) % 2 else 10.0) for model, value in seen)


def test_lines_of_the_log_are_written_together_and_none_is_lost():
    stream = io.StringIO()
    handler = Gathered(stream)

    for number in range(3):
        handler.handle(logging.LogRecord("x", logging.INFO, "", 0, f"line {number}", None, None))
    before = stream.getvalue()
    handler.flush()

    assert (before, stream.getvalue()) == ("", "line 0\nline 1\nline 2\n")
    handler.flush()
    assert stream.getvalue().count("\n") == 3


def test_a_body_of_a_hundred_megabytes_is_refused_before_it_has_come(api):
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1024 * 1024

    with socket.create_connection((api.base_url.host, api.base_url.port), 10) as peer:
        peer.sendall(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n")
        assert b" 413 " in peer.recv(200)
    try:
        chunked = api.post("/v1/score", content=endless())
    except (httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadError):
        return  # the server had said all and hung up
    assert refusal(chunked)[:2] == (413, "body_too_large")


def test_a_thousand_simultaneous_requests_for_a_cold_model_load_it_once_and_are_all_answered(serve):
    class Slow(MemoryChampions):
        def payload(self, champion: Champion) -> bytes:
            time.sleep(1.5)
            return super().payload(champion)

    source = Slow()
    source.put(key_of(1), forecast_payload(), "m-1")
    api = serve(source, sample=0)

    async def all_at_once() -> set[int]:
        limits = httpx.Limits(max_connections=1000)
        async with httpx.AsyncClient(base_url=str(api.base_url), timeout=60, limits=limits) as client:
            asked = [
                client.post("/v1/score", json={"partition_id": key_of(1).id, "horizon": 2})
                for _ in range(1000)
            ]
            return {answer.status_code for answer in await asyncio.gather(*asked)}

    assert (asyncio.run(all_at_once()), source.reads) == ({200}, 1)
