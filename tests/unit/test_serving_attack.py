"""The endpoint under attack and under load: what is refused, what stops, and what healthy requests notice."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import orjson
import pytest
from serving_builders import Running, champions, forecast_payload, key_of, regression_payload

from manymodels_spark.families import deadline as deadlines
from manymodels_spark.families.deadline import Deadline, DeadlinePassed
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.predict import LoadedPartition
from manymodels_spark.serving.failures import ScoreError
from manymodels_spark.serving.lanes import Lane
from manymodels_spark.serving.models.cache import ModelCache
from manymodels_spark.serving.models.sources import MemoryChampions
from manymodels_spark.serving.schemas import decoded
from manymodels_spark.serving.service import ScoringService
from manymodels_spark.serving.settings import ServingSettings


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[httpx.Client, Running]]]:
    made: list[tuple[httpx.Client, Running]] = []

    def start(source: MemoryChampions, **settings: object) -> tuple[httpx.Client, Running]:
        running = Running(source, **settings)
        made.append((httpx.Client(base_url=running.url, timeout=60), running))
        return made[-1]

    yield start
    for client, running in made:
        client.close()
        running.end()


def warm(client: httpx.Client, count: int = 1) -> list[str]:
    ids = [key_of(store).id for store in range(count)]
    for one in ids:
        assert client.post("/v1/score", json={"partition_id": one, "horizon": 1}).status_code == 200
    return ids


def is_json_with_a_code(answer: httpx.Response) -> bool:
    return isinstance(answer.json()["error"]["code"], str) and "Traceback" not in answer.text


def test_an_answer_is_bounded_by_its_values_and_not_by_three_bounds_that_multiply():
    source, found = champions(20)
    settings = ServingSettings()
    cache = ModelCache(source, settings)
    for champion in found:
        cache.load(champion.partition_id).result(30)
    item = {"horizon": 10_000, "intervals": list(range(1, 21))}
    body = orjson.dumps({"items": [{"partition_id": one.partition_id, **item} for one in found]})
    before = cache.counts.copy()

    tracemalloc.start()
    answer = ScoringService(cache, settings).score(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    cache.close()

    error = orjson.loads(answer.body)["error"]
    assert (answer.status, error["code"]) == (413, "answer_too_large")
    assert "8,200,000 values" in error["message"] and answer.model_seconds == 0
    assert len(body) < 4000 and peak < 2 * 1024**2 and before["loads"] == 20


@pytest.mark.parametrize(
    ("item", "cells"),
    [
        ({"horizon": 100}, 100),
        ({"horizon": 20, "intervals": [50, 80]}, 100),
        ({}, 7),
        ({"dataframe_records": [{"date": "2026-03-12"}, {"date": "2026-03-13"}], "intervals": [80]}, 6),
    ],
)
def test_values_are_steps_or_rows_with_the_bounds_of_intervals(item: dict[str, Any], cells: int):
    source, (champion,) = champions(1)
    for bound, status in ((cells, 200), (cells - 1, 413)):
        settings = ServingSettings(cells=bound)
        cache = ModelCache(source, settings)
        answer = ScoringService(cache, settings).score(
            orjson.dumps({"partition_id": champion.partition_id, **item})
        )
        cache.close()
        assert answer.status == status, answer.body


def test_a_prediction_that_nobody_waits_for_stops_between_its_steps(monkeypatch):
    steps: list[int] = []
    model = LoadedPartition(forecast_payload(candidate={"gradient_boosting": {}}))
    deadline = Deadline(60)

    class Slow:
        def predict(self, rows: Any) -> Any:
            steps.append(len(rows))
            if len(steps) == 5:
                deadline.cancel()
            return rows[:, 0]

    monkeypatch.setattr(type(model._members[0][1]), "quick", Slow())
    with deadlines.until(deadline), pytest.raises(DeadlinePassed):
        model.forecast(None, 5000, None, [])

    assert len(steps) == 5
    deadlines.check()  # outside, nothing has a deadline


def slow_predictions(monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[float]:
    """Make forecasts of more than 50 steps take that long a step; when each step was made."""
    steps: list[float] = []
    whole = LoadedPartition.forecast

    def forecast(self: Any, rows: Any, horizon: Any, since: Any, levels: Any) -> Any:
        for _ in range(horizon if horizon and horizon > 50 else 0):
            deadlines.check()
            steps.append(time.monotonic())
            time.sleep(seconds)
        return whole(self, rows, horizon, since, levels)

    monkeypatch.setattr(LoadedPartition, "forecast", forecast)
    return steps


def test_after_a_time_out_the_predictor_is_free_again(serve, monkeypatch):
    client, running = serve(champions(2)[0], request_seconds=0.5, predictors=2)
    ids = warm(client, 2)
    steps = slow_predictions(monkeypatch, 0.05)

    with ThreadPoolExecutor(4) as pool:
        long = {"partition_id": ids[0], "horizon": 2000}
        refused = list(pool.map(lambda _: client.post("/v1/score", json=long), range(4)))
    ended = time.monotonic()
    time.sleep(0.5)
    begin = time.perf_counter()
    healthy = client.post("/v1/score", json={"items": [{"partition_id": one} for one in ids]})

    assert [answer.json()["error"]["code"] for answer in refused] == ["timeout"] * 4
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert max(steps) < ended + 0.3, "nothing is computed for those who were refused"
    assert healthy.status_code == 200 and time.perf_counter() - begin < 0.5
    assert (running.server._small.taken, running.server._large.taken) == (0, 0)


def test_a_client_that_goes_away_takes_its_work_along(serve, monkeypatch):
    client, running = serve(champions(1)[0])
    ids = warm(client)
    steps = slow_predictions(monkeypatch, 0.05)

    with pytest.raises(httpx.ReadTimeout):
        client.post("/v1/score", json={"partition_id": ids[0], "horizon": 2000}, timeout=0.5)
    time.sleep(0.5)
    seen = len(steps)
    time.sleep(0.5)

    assert 0 < seen == len(steps)
    assert running.server._large.taken + running.server._small.taken == 0


def test_a_full_queue_refuses_early_and_large_batches_do_not_keep_small_requests_waiting(serve, monkeypatch):
    client, _ = serve(champions(20)[0], queue=1, predictors=2, request_seconds=3)
    ids = warm(client, 20)
    slow_predictions(monkeypatch, 0.02)
    batch = {"items": [{"partition_id": one, "horizon": 60} for one in ids]}

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(client.post, "/v1/score", json=batch) for _ in range(6)]
        time.sleep(0.3)
        seconds = []
        for _ in range(10):
            begin = time.perf_counter()
            small = client.post("/v1/score", json={"items": [{"partition_id": ids[0]}]})
            seconds.append(time.perf_counter() - begin)
            assert small.status_code == 200
        answers = [one.result() for one in waiting]

    early = [one for one in answers if one.json()["error"]["code"] == "overloaded"]
    assert len(early) == 4 and {answer.headers["retry-after"] for answer in early} == {"1"}
    assert max(answer.elapsed.total_seconds() for answer in early) < 1
    assert max(seconds) < 1


def test_a_body_of_seven_mebibytes_does_not_hold_up_the_probes(serve):
    source = MemoryChampions()
    source.put(key_of(0), regression_payload(), "m-0")
    client, running = serve(source)
    rows = [[0.123456, 0.654321]] * 330_000
    body = orjson.dumps(
        {"partition_id": key_of(0).id, "dataframe_split": {"columns": ["age", "temperature"], "data": rows}}
    )
    assert 6 * 2**20 < len(body) < 8 * 2**20
    stop, seconds = threading.Event(), list[float]()

    def probe() -> None:
        with httpx.Client(base_url=running.url) as own:
            while not seconds or not stop.is_set():
                begin = time.perf_counter()
                assert own.get("/healthz").json() == {"status": "alive"}
                seconds.append(time.perf_counter() - begin)

    thread = threading.Thread(target=probe)
    thread.start()
    answer = client.post("/v1/score", content=body)
    stop.set()
    thread.join()

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_many_values")
    assert max(seconds) < 0.25, sorted(seconds)[-5:]


@pytest.mark.parametrize("name", ["dataframe_split", "dataframe_records"])
@pytest.mark.parametrize("bad", [{"a": 1}, [1], 2**80 and [[]]])
def test_a_bad_value_among_many_rows_is_named_by_its_row(serve, name: str, bad: Any):
    source = MemoryChampions()
    source.put(key_of(0), regression_payload(), "m-0")
    client, _ = serve(source)
    row: Any = [0.5, 0.5] if name == "dataframe_split" else {"age": 0.5, "temperature": 0.5}
    worse: Any = [0.5, bad] if name == "dataframe_split" else {"age": 0.5, "temperature": bad}
    rows = [row] * 1700 + [worse] + [row] * 10
    given = {"columns": ["age", "temperature"], "data": rows} if name == "dataframe_split" else rows

    answer = client.post("/v1/score", json={"partition_id": key_of(0).id, name: given})

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid")
    assert "1700" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Decimal("1.5"), "sNaN"),
        (Decimal("1.5"), "NaN"),
        (Decimal("1.5"), "-Infinity"),
        (Decimal("1.5"), "1E+999999999"),
        (Decimal("1.5"), "1E-999999999"),
        (Decimal("1.5"), "1" * 5000),
    ],
)
def test_one_bad_item_fails_alone(serve, kind: Any, value: str):
    source = MemoryChampions()
    good = PartitionKey.of({"price": kind})
    source.put(good, forecast_payload(), "m-0")
    client, _ = serve(source)
    assert client.get("/v1/models").status_code == 200  # so that the column's type is known

    answer = client.post(
        "/v1/score", json={"items": [{"partition": {"price": value}}, {"partition": {"price": "1.50"}}]}
    )

    assert answer.status_code == 200
    bad, fine = answer.json()["results"]
    assert (bad["status"], bad["error"]["code"], fine["status"]) == (422, "invalid", 200)


def test_a_moment_before_the_first_year_fails_alone(serve):
    from datetime import UTC, datetime

    source = MemoryChampions()
    source.put(PartitionKey.of({"at": datetime(2026, 1, 1, tzinfo=UTC)}), forecast_payload(), "m-0")
    client, _ = serve(source)
    client.get("/v1/models")

    answer = client.post("/v1/score", json={"items": [{"partition": {"at": "0001-01-01T00:00:00+23:59"}}]})

    assert [one["status"] for one in answer.json()["results"]] == [422]


def test_whatever_goes_wrong_is_json_with_a_code_and_without_a_trace(serve, monkeypatch):
    client, running = serve(champions(2)[0])
    ids = warm(client, 2)

    def broken(*_: Any) -> Any:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("manymodels_spark.serving.service.partition_id_of", broken)
    one = client.post("/v1/score", json={"partition_id": ids[0]})
    assert one.status_code == 500 and is_json_with_a_code(one)
    monkeypatch.undo()
    monkeypatch.setattr(running.server.service, "begin", broken)
    whole = client.post("/v1/score", json={"partition_id": ids[0]})
    monkeypatch.setattr(running.server.catalogue, "search", broken)
    other = client.get("/v1/models")

    for answer in (one, whole, other):
        assert answer.status_code == 500 and is_json_with_a_code(answer)
        assert answer.json()["error"]["code"] == "internal" and "secret" not in answer.text
        assert answer.headers["x-request-id"]


def test_a_routing_model_refuses_a_key_without_a_form_row_by_row():
    import pandas as pd

    from manymodels_spark.flavor.route_table import Route, Routes, Shape
    from manymodels_spark.flavor.routed_models import RoutedModels

    key = PartitionKey.of({"price": Decimal("1.5")})
    shape = Shape("s", "forecast", ("price",), {"price": "decimal"}, "date", 7, ())
    routes = Routes.of(shape, [Route(key.id, key.canonical, "m", "0" * 64, "/nowhere")])

    answer = RoutedModels(routes, read=lambda location, checksum: b"").predict(
        pd.DataFrame({"price": ["sNaN", "1.5"]})
    )

    assert answer["error"].str.len().gt(0).tolist() == [True, True]


def test_what_is_too_much_by_its_own_words_is_refused_before_a_model_is_loaded_for_it(tmp_path):
    source, found = champions(20)
    settings = ServingSettings()
    cache = ModelCache(source, settings)
    service = ScoringService(cache, settings)
    ids = [one.partition_id for one in found]
    levels = list(range(1, 21))
    batch = {"items": [{"partition_id": one, "horizon": 10_000, "intervals": levels} for one in ids]}
    numbers = {"partition_id": ids[0], "dataframe_split": {"columns": ["a"], "data": [[1]] * 500_002}}

    asked, given = service.score(orjson.dumps(batch)), service.score(orjson.dumps(numbers))

    assert (asked.status, orjson.loads(asked.body)["error"]["code"]) == (413, "answer_too_large")
    assert (given.status, orjson.loads(given.body)["error"]["code"]) == (413, "too_many_values")
    assert cache.counts["misses"] == 0 and source.reads == 0
    lone = service.score(orjson.dumps({"items": [{"partition_id": ids[0], "horizon": 10**9}, {}]}))
    assert [one["status"] for one in orjson.loads(lone.body)["results"]] == [422, 422]
    cache.close()


def test_what_a_request_took_is_free_when_it_is_answered_and_not_when_the_garbage_is_collected():
    """Circles of errors, frames and requests kept 7 MB bodies, and made full collections of half a second."""
    source, found = champions(1)
    settings = ServingSettings()
    cache = ModelCache(source, settings)
    cache.load(found[0].partition_id).result(30)
    service = ScoringService(cache, settings)
    unknown = [{"partition_id": key_of(store).id} for store in range(1000, 1998)]
    body = orjson.dumps({"items": [{"partition_id": found[0].partition_id}, *unknown, {"horizon": 1}]})
    service.score(body)

    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        answers = [service.score(body) for _ in range(5)]
        kept = len(gc.get_objects()) - before
    finally:
        gc.enable()
        cache.close()

    codes = [one.get("error", {}).get("code", "ok") for one in orjson.loads(answers[-1].body)["results"]]
    assert codes == ["ok", *["unknown_partition"] * 998, "invalid"]
    assert kept < 500, "of five times 1,000 items"


def test_a_lane_forgets_a_request_that_fails():
    class Body:
        """What a request brings."""

    async def fail() -> weakref.ref[Body]:
        lane, body = Lane("test", 1, 1), Body()
        seen = weakref.ref(body)

        def work(body: Body = body) -> None:
            raise ScoreError(422, "invalid", str(body))

        del body
        with pytest.raises(ScoreError):
            await lane.run(work)
        del work
        await asyncio.sleep(0.05)  # the lane's thread ends its round
        lane.close()
        return seen

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(fail())() is None
    finally:
        gc.enable()


def test_values_that_no_model_takes_are_refused_before_they_are_decoded():
    with pytest.raises(ScoreError) as refused:
        decoded(b'"' + b"x" * 2_000_000 + b'"', 500_000)

    assert (refused.value.status, refused.value.code) == (413, "values_too_long")
    assert decoded(b'"' + b"x" * 900_000 + b'"', 500_000) == "x" * 900_000
    rows = [["x" * 900]] * 2000
    assert decoded(orjson.dumps(rows), 500_000) == rows


@pytest.mark.parametrize(
    ("item", "least", "most"),
    [({"horizon": 28}, 0.0, 0.005), ({"horizon": 10_000}, 0.01, 0.05)],
)
def test_a_long_forecast_is_never_taken_for_a_quick_one_however_fast_its_model_is(item, least, most):
    source, found = champions(1)
    settings = ServingSettings()
    cache = ModelCache(source, settings)
    entry = cache.load(found[0].partition_id).result(30)
    service = ScoringService(cache, settings)
    entry.pace = 0.0001

    seconds = service.expected_seconds(
        service.begin(orjson.dumps({"partition_id": found[0].partition_id, **item}))
    )

    assert least <= seconds < most
    cache.close()


def test_five_thousand_columns_of_one_name_are_refused_as_quickly_as_five():
    source = MemoryChampions()
    source.put(key_of(0), regression_payload(), "m-0")
    settings = ServingSettings()
    cache = ModelCache(source, settings)
    cache.load(key_of(0).id).result(30)
    rows = {"columns": ["a"] * 5000, "data": [[1] * 5000]}
    body = orjson.dumps({"partition_id": key_of(0).id, "dataframe_split": rows})

    begin = time.thread_time()
    answer = ScoringService(cache, settings).score(body)
    seconds = time.thread_time() - begin
    cache.close()

    assert answer.status == 422 and b"repeated column 'a'" in answer.body
    assert seconds < 0.05


def test_an_answer_that_is_written_in_parts_is_the_same_json():
    source, (champion,) = champions(1)
    cache = ModelCache(source, ServingSettings())
    service = ScoringService(cache, ServingSettings())

    def answered(horizon: int, orient: str) -> Any:
        asked = {
            "partition_id": champion.partition_id,
            "horizon": horizon,
            "orient": orient,
            "intervals": [80],
        }
        found = orjson.loads(service.score(orjson.dumps(asked)).body)["predictions"]
        return found if orient == "records" else found["data"]

    long, short = answered(1000, "records"), answered(7, "records")
    cache.close()
    assert len(long) == 1000 and long[:7] == short
    assert [row["prediction"] for row in long[7:14]] == [row["prediction"] for row in short]
    assert [list(row.values()) for row in long] == answered(1000, "split")


def test_a_flood_of_unknown_partitions_is_answered_from_one_bulk_read():
    source, found = champions(3)
    settings = ServingSettings(negative_ttl=0.5)
    cache = ModelCache(source, settings)

    def ask(first: int, count: int) -> list[str]:
        futures = [cache.load(key_of(store).id) for store in range(first, first + count)]
        return [type(future.exception(30)).__name__ for future in futures]

    assert ask(1000, 60) == ["UnknownPartition"] * 60
    cache._background.submit(lambda: None).result(30)
    asked = source.finds
    assert ask(2000, 200) == ["UnknownPartition"] * 200
    assert (source.finds, source.bulk_finds) == (asked, 1)
    assert cache.load(found[0].partition_id).result(30).champion.model_id == "m-0"
    assert source.finds == asked + 1

    source.put(key_of(2500), forecast_payload(), "m-new")
    time.sleep(0.6)
    assert cache.load(key_of(2500).id).result(30).champion.model_id == "m-new"
    cache.close()
