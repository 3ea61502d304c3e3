"""Champions out of a real production MLflow (SQLite and a folder of artifacts), in both forms that they have
there.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from builders import make_spec
from mlflow import MlflowClient
from serving_builders import forecast_payload, key_of

from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.payload import sha256
from manymodels_spark.serving.models.cache import ModelCache
from manymodels_spark.serving.models.mlflow_source import MlflowChampions
from manymodels_spark.serving.models.sources import SourceDown, UnknownPartition
from manymodels_spark.serving.settings import ServingSettings
from manymodels_spark.spec import Spec
from manymodels_spark.stages.promote.copying import champion_record
from manymodels_spark.tracking import artifacts
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.opening import open_production

FORMS = ("logged_models", "registered_models")


@pytest.fixture(scope="module", params=FORMS)
def spec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Spec:
    """A spec whose production MLflow holds an experiment and nothing else yet."""
    made = make_spec(tmp_path_factory.mktemp("mlflow"), promote={"form": request.param})
    open_production(made)
    return made


def promote(
    spec: Spec, key: PartitionKey, payload: bytes, *, role: str = t.CHAMPION, ready: bool = True
) -> str:
    """Make a model as promotion does; its id."""
    repository = open_production(spec)
    tags = {t.SPEC: spec.name, t.ROLE: role, t.SHA256: sha256(payload), t.FAMILY: "seasonal_naive"}
    run = repository.start_run("promotion", {t.SPEC: spec.name})
    model = repository.create([champion_record(key, tags, {"wape": 0.25}, "wape")], run)[key.id]
    artifacts.write(model.location, {t.PAYLOAD_FILE: payload})
    if ready:
        repository.finalize([model.model_id])
    return model.model_id


def contents(spec: Spec) -> tuple[list[str], list[str]]:
    """The names of all experiments and registered models of the production MLflow."""
    client = MlflowClient(spec.mlflow.production.tracking, spec.mlflow.production.registry)
    return sorted(one.name for one in client.search_experiments()), sorted(
        one.name for one in client.search_registered_models()
    )


def test_a_champion_is_found_by_its_tags_and_its_payload_read(spec: Spec):
    key, payload = key_of(1, 'it\'s / a "quote" % ü'), forecast_payload()
    model_id = promote(spec, key, payload)
    source = MlflowChampions.of(spec)

    champion = source.find(key.id)

    assert champion is not None
    assert (champion.model_id, champion.key, champion.sha256) == (model_id, key.canonical, sha256(payload))
    assert champion.partition == {"store": 1, "item": 'it\'s / a "quote" % ü'}
    assert (champion.family, dict(champion.metrics)) == ("seasonal_naive", {"wape": 0.25})
    assert source.payload(champion) == payload


def test_only_ready_champions_count_and_the_newest_of_two(spec: Spec):
    key = key_of(2)
    promote(spec, key, forecast_payload())
    newest = promote(spec, key, forecast_payload(add=1))
    promote(spec, key, forecast_payload(add=2), role=t.PREVIOUS)
    promote(spec, key, forecast_payload(add=3), ready=False)

    source = MlflowChampions.of(spec)
    champion = source.find(key.id)

    assert champion is not None
    assert champion.model_id == newest
    shown = [one for one in source.search("store=2", 10) if one.partition_id == key.id]
    assert [one.model_id for one in shown] == [newest], "a list shows the model that answers"
    assert key.id in source.partition_ids()


def test_a_partition_without_a_champion_is_none(spec: Spec):
    assert MlflowChampions.of(spec).find(key_of(404).id) is None


def test_champions_are_searched_by_part_of_their_key(spec: Spec):
    for store in (31, 32, 41):
        promote(spec, key_of(store, "sugar"), forecast_payload())
    source = MlflowChampions.of(spec)

    def found(text: str, limit: int = 10) -> list[str | None]:
        return sorted(str(champion.partition["store"]) for champion in source.search(text, limit))

    assert found("store=3") == ["31", "32"]
    assert found("sugar") == ["31", "32", "41"]
    assert found("store=31, sugar") == found("sugar store=31") == ["31"]
    assert found("store=31 salt") == []
    assert len(found("", 2)) == 2
    assert found(spec.name) == []  # which the names of registered models begin with
    assert found("nothing of the kind") == []
    assert len(found("'; DROP TABLE logged_models; --")) == 0


def test_a_word_with_an_accent_is_found_in_the_name_that_has_none(spec: Spec):
    promote(spec, key_of(51, "Zürich Süd"), forecast_payload())

    assert [
        champion.partition["store"] for champion in MlflowChampions.of(spec).search("zürich süd", 10)
    ] == [51]


def test_a_search_asks_for_no_more_than_a_page_can_show(spec: Spec, monkeypatch: pytest.MonkeyPatch):
    asked = []
    for name in ("search_logged_models", "search_model_versions"):
        real = getattr(MlflowClient, name)

        def search(self: MlflowClient, *args: Any, real: Any = real, **more: Any) -> Any:
            asked.append(more["max_results"])
            return real(self, *args, **more)

        monkeypatch.setattr(MlflowClient, name, search)
    MlflowChampions.of(spec).search("", 50)

    assert asked == [200]


@pytest.mark.parametrize("form", FORMS)
def test_a_database_that_is_not_there_is_not_made(tmp_path: Path, form: str):
    empty = make_spec(tmp_path, promote={"form": form})

    with pytest.raises(SourceDown):
        MlflowChampions.of(empty).find(key_of().id)
    assert list(tmp_path.iterdir()) == []


def with_registry(folder: Path, registry: str) -> Spec:
    """A spec of the form that has a registry, which is elsewhere than the runs are."""
    production = {"tracking": f"sqlite:///{folder}/prod.db", "registry": registry}
    return make_spec(folder, mlflow={"production": production}, promote={"form": "registered_models"})


def test_a_registry_of_its_own_is_read_and_not_made_where_it_is_missing(tmp_path: Path):
    spec = with_registry(tmp_path, f"sqlite:///{tmp_path}/registry.db")
    model_id = promote(spec, key_of(), forecast_payload())

    champion = MlflowChampions.of(spec).find(key_of().id)
    assert champion is not None and champion.model_id == model_id
    with pytest.raises(SourceDown):
        MlflowChampions.of(with_registry(tmp_path, f"sqlite:///{tmp_path}/missing.db")).find(key_of().id)
    assert not (tmp_path / "missing.db").exists()


def test_what_is_not_there_yet_means_no_champion_and_is_not_made(spec: Spec):
    other = spec.model_copy(update={"name": "other"})
    before, source = contents(spec), MlflowChampions.of(other)

    assert source.find(key_of().id) is None
    assert source.search("store", 10) == []
    source.ping()
    assert contents(spec) == before


def test_a_registry_that_does_not_answer_costs_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    spec = with_registry(tmp_path, "http://127.0.0.1:9")
    open_production(spec)

    begin = time.monotonic()
    with pytest.raises(SourceDown):
        MlflowChampions.of(spec).find(key_of().id)
    assert time.monotonic() - begin < 12


def test_after_a_failure_further_questions_fail_at_once_until_the_pause_is_over(
    spec: Spec, monkeypatch: pytest.MonkeyPatch
):
    source = MlflowChampions(spec.mlflow.production, spec, pause=3600)
    asked = []

    def refuse(repository: object, query: str) -> None:
        asked.append(query)
        raise ConnectionError("nobody there")

    monkeypatch.setattr(type(open_production(spec)), "search", refuse)
    for _ in range(3):
        with pytest.raises(SourceDown, match="MLflow did not answer"):
            source.find(key_of().id)

    assert len(asked) == 1


def test_the_cache_serves_models_from_mlflow(spec: Spec):
    key = key_of(7, "whole way")
    promote(spec, key, forecast_payload(add=1))
    cache = ModelCache(MlflowChampions.of(spec), ServingSettings())
    try:
        entry = cache.load(key.id).result(30)
        assert entry.model.predict(horizon=2)["prediction"].tolist() == [11.0, 12.0]
        assert cache.loader.kinds == {"store": "int", "item": "string"}
        with pytest.raises(UnknownPartition):
            cache.load(key_of(405).id).result(30)
    finally:
        cache.close()


def test_many_champions_are_found_by_reading_pages_of_all_as_each_is_found(
    spec: Spec, monkeypatch: pytest.MonkeyPatch
):
    some = [key_of(100 + number) for number in range(6)]
    for number, key in enumerate(some):
        promote(spec, key, forecast_payload(add=number))
    newest = promote(spec, some[0], forecast_payload(add=50))
    ids = [key.id for key in some] + [key_of(999).id]
    one_by_one = MlflowChampions.of(spec).find_many(ids)
    monkeypatch.setattr("manymodels_spark.serving.models.mlflow_source.FEW", 2)
    asked: list[str] = []
    monkeypatch.setattr(MlflowChampions, "find", lambda self, one: asked.append(one))

    in_bulk = MlflowChampions.of(spec).find_many(ids)

    assert asked == [] and list(in_bulk) and in_bulk == one_by_one
    assert set(in_bulk) == {key.id for key in some} and in_bulk[some[0].id].model_id == newest
