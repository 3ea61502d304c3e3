"""Champions out of a real production MLflow (SQLite and a folder of artifacts)."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import make_spec
from serving_builders import forecast_payload, key_of

from manymodels_spark.keys import PartitionKey
from manymodels_spark.payload import sha256
from manymodels_spark.serving.cache import ModelCache
from manymodels_spark.serving.mlflow_source import MlflowChampions
from manymodels_spark.serving.settings import ServingSettings
from manymodels_spark.serving.sources import SourceDown, UnknownPartition
from manymodels_spark.spec import Spec
from manymodels_spark.tracking import artifacts
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.repository import ModelRecord, ModelRepository


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    """A spec whose production MLflow holds an experiment and nothing else yet."""
    made = make_spec(tmp_path_factory.mktemp("mlflow"))
    ModelRepository.open(made.mlflow.production, made)
    return made


def promote(spec: Spec, key: PartitionKey, payload: bytes, *, role: str = t.CHAMPION, ready: bool = True) -> str:
    """Log a model as promotion does; its id."""
    repository = ModelRepository.open(spec.mlflow.production, spec)
    tags = {**t.partition_tags(key), t.SPEC: spec.name, t.ROLE: role, t.SHA256: sha256(payload), t.FAMILY: "seasonal_naive"}
    model = repository.create([ModelRecord(key.id, f"{key.slug}--{key.id}", tags)], None)[key.id]
    artifacts.write(model.location, {t.PAYLOAD_FILE: payload})
    if ready:
        repository.finalize([model.model_id])
    return model.model_id


def test_a_champion_is_found_by_its_tags_and_its_payload_read(spec: Spec):
    key, payload = key_of(1, "it's / a \"quote\" % ü"), forecast_payload()
    model_id = promote(spec, key, payload)
    source = MlflowChampions.of(spec)

    champion = source.find(key.id)

    assert champion is not None
    assert (champion.model_id, champion.key, champion.sha256) == (model_id, key.canonical, sha256(payload))
    assert champion.partition == {"store": 1, "item": "it's / a \"quote\" % ü"}
    assert source.payload(champion) == payload


def test_only_ready_champions_count_and_the_newest_of_two(spec: Spec):
    key = key_of(2)
    promote(spec, key, forecast_payload())
    newest = promote(spec, key, forecast_payload(add=1))
    promote(spec, key, forecast_payload(add=2), role=t.PREVIOUS)
    promote(spec, key, forecast_payload(add=3), ready=False)

    champion = MlflowChampions.of(spec).find(key.id)

    assert champion is not None
    assert champion.model_id == newest


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
    assert found("nothing of the kind") == []
    assert len(found("'; DROP TABLE logged_models; --")) == 0


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path):
    empty = make_spec(tmp_path)

    with pytest.raises(SourceDown):
        MlflowChampions.of(empty).find(key_of().id)
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_that_is_not_there_yet_means_no_champion(spec: Spec):
    other = spec.model_copy(update={"name": "other"})

    assert MlflowChampions.of(other).find(key_of().id) is None


def test_after_a_failure_further_questions_fail_at_once_until_the_pause_is_over(spec: Spec, monkeypatch):
    source = MlflowChampions(spec.mlflow.production, spec, pause=3600)
    asked = []

    def refuse(repository: ModelRepository, query: str) -> None:
        asked.append(query)
        raise ConnectionError("nobody there")

    monkeypatch.setattr(ModelRepository, "search", refuse)
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
