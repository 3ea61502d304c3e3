"""The cache: bounds, single flight, memory of what is not there, swaps behind the scenes, and the disk
tier.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from serving_builders import champions, forecast_payload, key_of

from manymodels_spark.errors import PayloadError
from manymodels_spark.serving.models.cache import Busy, Entry, ModelCache
from manymodels_spark.serving.models.sources import (
    Champion,
    MemoryChampions,
    SourceDown,
    UnknownPartition,
    model_path,
)
from manymodels_spark.serving.settings import ServingSettings


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class SlowChampions(MemoryChampions):
    """Champions whose payloads are read only when the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def payload(self, champion: Champion) -> bytes:
        assert self.gate.wait(20)
        return super().payload(champion)


@pytest.fixture
def make_cache() -> Iterator[Callable[..., ModelCache]]:
    """`make_cache(source, clock=..., resident=..., **settings)`, closed after the test."""
    made: list[ModelCache] = []

    def make(
        source: MemoryChampions, clock: Clock | None = None, resident: Any = None, **settings: Any
    ) -> ModelCache:
        more = {"resident": resident} if resident else {}
        made.append(ModelCache(source, ServingSettings(**settings), clock or Clock(), **more))
        return made[-1]

    yield make
    for cache in made:
        cache.close()


def loaded(future: Future[Entry]) -> Entry:
    return future.result(20)


def refreshed(cache: ModelCache) -> None:
    """Wait until the refreshes asked for so far are done."""
    cache._background.submit(lambda: None).result(20)


def test_a_model_is_loaded_once_and_answers_from_memory_afterwards(make_cache):
    source, (champion,) = champions(1)
    cache = make_cache(source)

    first, second = loaded(cache.load(champion.partition_id)), loaded(cache.load(champion.partition_id))

    assert first is second
    assert (source.finds, source.reads, cache.counts["loads"], cache.counts["hits"]) == (1, 1, 1, 1)
    assert first.partition == {"store": 0, "item": "a"}


def test_a_thousand_simultaneous_requests_for_a_cold_model_load_it_once(make_cache):
    source = SlowChampions()
    champion = source.put(key_of(), forecast_payload(), "m-1")
    cache = make_cache(source)

    with ThreadPoolExecutor(32) as pool:
        futures = list(pool.map(lambda _: cache.load(champion.partition_id), range(1000)))
        source.gate.set()
        entries = {id(loaded(future)) for future in futures}

    assert (source.reads, cache.counts["loads"], len(entries)) == (1, 1, 1)


def test_a_client_that_goes_away_does_not_cancel_the_load_of_the_others(make_cache):
    source = SlowChampions()
    champion = source.put(key_of(), forecast_payload(), "m-1")
    cache = make_cache(source)

    leaving, staying = cache.load(champion.partition_id), cache.load(champion.partition_id)
    assert not leaving.cancel()
    source.gate.set()

    assert loaded(staying).champion.model_id == "m-1"


def test_the_least_recently_used_model_goes_first(make_cache):
    source, (a, b, c) = champions(3)
    cache = make_cache(source, cache_models=2)

    loaded(cache.load(a.partition_id))
    loaded(cache.load(b.partition_id))
    cache.get(a.partition_id)
    loaded(cache.load(c.partition_id))

    assert [one.model_id for one in cache.known()] == [a.model_id, c.model_id]
    assert cache.counts["evictions"] == 1


def test_the_measured_bytes_stay_within_the_bound(make_cache):
    source, found = champions(40)
    probe = loaded(make_cache(source).load(found[0].partition_id)).size
    cache = make_cache(source, cache_mb=10.5 * probe / 1024**2)

    for champion in found:
        loaded(cache.load(champion.partition_id))

    assert len(cache) == 10
    assert cache.bytes == sum(cache.get(champion.partition_id).size for champion in cache.known())


def test_a_model_larger_than_the_bound_is_still_served(make_cache):
    source, (champion,) = champions(1)
    cache = make_cache(source, cache_mb=1e-6)

    assert loaded(cache.load(champion.partition_id)).model.predict(horizon=1)["prediction"].tolist() == [10.0]


def test_models_are_dropped_while_the_process_takes_more_memory_than_it_may(make_cache):
    source, found = champions(11)
    used = {"bytes": 0}
    cache = make_cache(source, resident=lambda: used["bytes"], rss_mb=100)

    for champion in found[:10]:
        loaded(cache.load(champion.partition_id))
    used["bytes"] = 101 * 1024**2
    loaded(cache.load(found[10].partition_id))

    assert (len(cache), cache.counts["pressure"]) == (8, 1)
    assert found[10].partition_id in cache


def test_an_unknown_partition_is_asked_for_once_and_again_after_its_time(make_cache):
    source, clock = MemoryChampions(), Clock()
    cache = make_cache(source, clock, negative_ttl=30)

    for _ in range(5):
        with pytest.raises(UnknownPartition):
            loaded(cache.load(key_of().id))
    assert source.finds == 1

    source.put(key_of(), forecast_payload(), "m-1")
    clock.now += 31
    assert loaded(cache.load(key_of().id)).champion.model_id == "m-1"


def test_a_new_champion_replaces_the_old_one_without_any_request_waiting(make_cache):
    source, clock = MemoryChampions(), Clock()
    source.put(key_of(), forecast_payload(), "old")
    cache = make_cache(source, clock, ttl=60)
    loaded(cache.load(key_of().id))

    source.put(key_of(), forecast_payload(add=100), "new")
    assert cache.get(key_of().id).champion.model_id == "old"
    clock.now += 61
    assert cache.get(key_of().id).champion.model_id == "old"
    refreshed(cache)

    assert cache.get(key_of().id).model.predict(horizon=1)["prediction"].tolist() == [110.0]
    assert (cache.counts["swaps"], cache.counts["misses"]) == (1, 1)


def test_a_rollback_is_taken_over_like_a_promotion(make_cache):
    source, clock = MemoryChampions(), Clock()
    source.put(key_of(), forecast_payload(), "first")
    source.put(key_of(), forecast_payload(add=5), "second")
    cache = make_cache(source, clock, ttl=60)
    loaded(cache.load(key_of().id))

    source.put(key_of(), forecast_payload(), "first")
    clock.now += 61
    cache.get(key_of().id)
    refreshed(cache)

    assert cache.get(key_of().id).champion.model_id == "first"


def test_a_retired_champion_is_gone_after_its_time(make_cache):
    source, clock = MemoryChampions(), Clock()
    source.put(key_of(), forecast_payload(), "m-1")
    cache = make_cache(source, clock, ttl=60)
    loaded(cache.load(key_of().id))

    source.remove(key_of().id)
    clock.now += 61
    cache.get(key_of().id)
    refreshed(cache)

    with pytest.raises(UnknownPartition):
        loaded(cache.load(key_of().id))


def test_models_in_memory_outlive_their_source(make_cache):
    source, clock = MemoryChampions(), Clock()
    source.put(key_of(), forecast_payload(), "m-1")
    cache = make_cache(source, clock, ttl=60)
    loaded(cache.load(key_of().id))

    source.down = True
    clock.now += 3600
    cache.get(key_of().id)
    refreshed(cache)

    assert cache.get(key_of().id).champion.model_id == "m-1"
    assert cache.loader.trouble == "the champions were made unreachable"
    with pytest.raises(SourceDown):
        loaded(cache.load(key_of(2).id))

    source.down = False
    with pytest.raises(UnknownPartition):
        loaded(cache.load(key_of(2).id))
    assert cache.loader.trouble is None


def test_a_poisoned_payload_is_refused_and_remembered(make_cache):
    source, (champion,) = champions(1)
    source.payloads[champion.model_id] = b"poison"
    cache = make_cache(source)

    for _ in range(3):
        with pytest.raises(PayloadError, match="SHA-256"):
            loaded(cache.load(champion.partition_id))
    assert source.reads == 1


def test_a_poisoned_new_champion_leaves_the_old_one_in_place(make_cache):
    source, clock = MemoryChampions(), Clock()
    source.put(key_of(), forecast_payload(), "old")
    cache = make_cache(source, clock, ttl=60)
    loaded(cache.load(key_of().id))

    source.put(key_of(), forecast_payload(add=1), "new")
    source.payloads["new"] = b"poison"
    clock.now += 61
    cache.get(key_of().id)
    refreshed(cache)

    assert cache.get(key_of().id).champion.model_id == "old"
    assert cache.counts["refresh_failures"] == 1


def test_too_many_loads_at_once_are_refused_instead_of_piling_up(make_cache):
    source = SlowChampions()
    found = [source.put(key_of(store), forecast_payload(), f"m-{store}") for store in range(3)]
    cache = make_cache(source, pending_loads=2)

    waiting = [cache.load(champion.partition_id) for champion in found[:2]]
    with pytest.raises(Busy):
        loaded(cache.load(found[2].partition_id))
    source.gate.set()

    assert [loaded(future).champion.model_id for future in waiting] == ["m-0", "m-1"]


def test_a_restart_with_the_disk_tier_is_warm_without_the_source(make_cache, tmp_path: Path):
    source, (champion,) = champions(1)
    loaded(make_cache(source, disk=tmp_path).load(champion.partition_id))

    source.down = True
    reborn = make_cache(source, disk=tmp_path)
    entry = loaded(reborn.load(champion.partition_id))

    assert entry.champion == champion
    assert (source.finds, source.reads) == (1, 1)


def test_a_payload_on_disk_that_outlived_its_time_is_confirmed_first_and_used_when_nobody_answers(
    make_cache, tmp_path
):
    source, (champion,) = champions(1)
    loaded(make_cache(source, disk=tmp_path).load(champion.partition_id))
    newer = source.put(key_of(0), forecast_payload(add=1), "newer")

    stale = make_cache(source, disk=tmp_path, ttl=1e-9)
    source.down = True
    assert loaded(stale.load(champion.partition_id)).champion == champion
    source.down = False
    assert loaded(make_cache(source, disk=tmp_path, ttl=1e-9).load(champion.partition_id)).champion == newer


def test_a_damaged_file_of_the_disk_tier_is_replaced_from_the_source(make_cache, tmp_path):
    source, (champion,) = champions(1)
    loaded(make_cache(source, disk=tmp_path).load(champion.partition_id))
    path = model_path(tmp_path, champion.partition_id)
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    assert loaded(make_cache(source, disk=tmp_path).load(champion.partition_id)).champion == champion
    assert source.reads == 2
    assert path.read_bytes().endswith(source.payloads[champion.model_id])


def test_the_disk_tier_stays_within_its_bytes(make_cache, tmp_path):
    source, found = champions(6)
    size = len(source.payloads["m-0"])
    cache = make_cache(source, disk=tmp_path, disk_mb=3.9 * size / 1024**2)

    for champion in found:
        loaded(cache.load(champion.partition_id))

    kept = {path.name for path in tmp_path.glob("*/*.model")}
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*.model")) == cache.disk.bytes <= 3.9 * size
    assert f"{found[-1].partition_id}.model" in kept
    assert f"{found[0].partition_id}.model" not in kept


def test_a_disk_that_cannot_be_written_is_no_reason_to_refuse(make_cache, tmp_path):
    source, (champion,) = champions(1)
    (tmp_path / "file").write_text("in the way")

    assert loaded(make_cache(source, disk=tmp_path / "file").load(champion.partition_id)).champion == champion


def test_many_models_whose_time_is_over_are_asked_for_in_one_go_and_swapped(make_cache):
    source, found = champions(60)
    clock = Clock()
    cache = make_cache(source, clock, ttl=100)
    for champion in found:
        loaded(cache.load(champion.partition_id))
    asked = source.finds
    for store in (3, 5):
        source.put(key_of(store), forecast_payload(add=100.0), f"m-new-{store}")
    source.remove(found[7].partition_id)

    clock.now += 101
    for champion in found[:4]:
        assert cache.get(champion.partition_id) is not None, "what is stale answers meanwhile"
    refreshed(cache)
    refreshed(cache)

    assert source.finds == asked and source.bulk_finds <= 3
    held = {one.partition_id: one.model_id for one in cache.known()}
    assert (held[found[3].partition_id], held[found[5].partition_id]) == ("m-new-3", "m-new-5")
    assert found[7].partition_id not in held
    assert (cache.counts["swaps"], cache.counts["refreshes"]) == (2, 59)
    assert loaded(cache.load(found[5].partition_id)).model.predict(horizon=1)["prediction"].tolist() == [
        110.0
    ]


def test_a_source_that_is_down_costs_one_question_for_all_and_all_keep_answering(make_cache):
    source, found = champions(40)
    clock = Clock()
    cache = make_cache(source, clock, ttl=100, retry_after=5)
    for champion in found:
        loaded(cache.load(champion.partition_id))
    clock.now += 101
    source.down = True

    for champion in found:
        assert cache.get(champion.partition_id) is not None
    refreshed(cache)
    refreshed(cache)
    source.down = False
    source.put(key_of(0), forecast_payload(add=100.0), "m-new")
    clock.now += 6
    cache.get(found[0].partition_id)
    refreshed(cache)

    assert len(cache) == 40 and cache.counts["refresh_failures"] >= 40
    assert {one.model_id for one in cache.known()} >= {"m-new", "m-39"}
