"""The form with a registered model per partition: versions
found by tags in bulk, aliases, rollback and removal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from builders import make_spec
from integration import mlflow_server
from integration.mlflow_server import MlflowServer
from integration.tracking_models import keys, payloads, records

from manymodels_spark.errors import PayloadError, TrackingError
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.maintain.retire import expired, protected
from manymodels_spark.stages.packaging.requirements import template_of
from manymodels_spark.stages.promote.champions_index import current_champions, taken_back
from manymodels_spark.stages.promote.rollback import Change, by_partition, swap, target_of
from manymodels_spark.tracking import artifacts
from manymodels_spark.tracking import tags as t
from manymodels_spark.tracking.opening import open_production, reach_production
from manymodels_spark.tracking.registry import RegistryRepository
from manymodels_spark.tracking.repository import ModelRepository, Registered

pytestmark = pytest.mark.services
FORMS = ("registered_models", "logged_models")


@pytest.fixture(
    scope="module", params=[pytest.param("direct", marks=pytest.mark.slow), "proxied", "in-process"]
)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MlflowServer | None]:
    if request.param == "in-process":
        yield None
        return
    folder = tmp_path_factory.mktemp(f"mlflow-{request.param}")
    running = mlflow_server.start(folder, proxied=request.param == "proxied")
    yield running
    running.stop()


@pytest.fixture
def spec(server: MlflowServer | None, tmp_path: Path, request: pytest.FixtureRequest) -> Spec:
    """A spec of its own name for every test: on a server they share one registry."""
    where = {"tracking": server.url if server else f"sqlite:///{tmp_path}/prod.db"}
    name = "s" + "".join(character for character in request.node.name.lower() if character.isalnum())[-50:]
    places = {"development": {**where, "experiment": "development"}, "production": where}
    return make_spec(tmp_path, name=name, mlflow=places, promote={"form": "registered_models"})


def promote(
    repository: ModelRepository, spec: Spec, count: int, promotion: str, proxied: bool = False
) -> dict[str, Registered]:
    """What the promotion does with `count` models that passed, the former champions stepping down."""
    some = keys(count)
    former = current_champions(repository)
    sealed, template = payloads(spec, some), template_of(spec)
    made = [
        record.__class__(
            record.partition_id,
            record.name,
            {**record.tags, t.PROMOTION: promotion, t.SOURCE_MODEL: f"m-{promotion}-{record.partition_id}"}
            | ({t.REPLACES: former[record.partition_id].model_id} if record.partition_id in former else {}),
            record.params,
            record.metrics,
        )
        for record in records(spec, some, sealed, f"train-{promotion}")
    ]
    run = repository.start_run(promotion, {t.SPEC: spec.name, t.JOB: promotion})
    models = repository.create(made, run)
    for model in models.values():
        files = template.files(model.model_id, sealed[model.partition_id])
        if proxied:
            repository.upload(model.model_id, files)
        else:
            artifacts.write(model.location, files)
    repository.log_metrics(run, [(models[record.partition_id].model_id, record.metrics) for record in made])
    repository.finalize(model.model_id for model in models.values())
    for partition in models.keys() & former.keys():
        repository.set_tags(former[partition].model_id, {t.ROLE: t.PREVIOUS})
    return models


def is_proxied(server: MlflowServer | None) -> bool:
    return server is not None and server.proxied


def test_the_form_follows_from_the_spec(tmp_path: Path) -> None:
    forms = [type(open_production(make_spec(tmp_path, promote={"form": form}))) for form in FORMS]
    assert forms == [RegistryRepository, ModelRepository]


@pytest.mark.parametrize("written", ["sqlite:///{}/one.db", "${{MANYMODELS_ONE:-sqlite:///{}/one.db}}"])
def test_development_and_production_in_one_experiment_are_refused_before_anything_is_touched(
    tmp_path: Path, written: str
) -> None:
    where, other = {"tracking": f"sqlite:///{tmp_path}/one.db"}, {"tracking": written.format(tmp_path)}
    with pytest.raises(TrackingError, match=r"mlflow\.production\.experiment: sales_production"):
        reach_production(make_spec(tmp_path, mlflow={"development": where, "production": other}))
    assert not (tmp_path / "one.db").exists()
    reach_production(
        make_spec(
            tmp_path, mlflow={"development": where, "production": {**other, "experiment": "sales_production"}}
        )
    )
    elsewhere = {"tracking": "${MANYMODELS_NOT_SET}"}
    reach_production(make_spec(tmp_path, mlflow={"development": elsewhere, "production": where}))


def test_champions_are_found_in_one_call_with_their_metrics(spec: Spec, server: MlflowServer | None) -> None:
    repository = open_production(spec)
    promote(repository, spec, 12, "p1", is_proxied(server))
    fresh = open_production(spec)
    fresh.client.calls.clear()
    champions = current_champions(fresh)
    assert fresh.client.calls == {"search_model_versions": 1}
    assert champions.keys() == {key.id for key in keys(12)}
    assert [champions[key.id].metrics["wape"] for key in keys(12)] == [number / 100 for number in range(12)]
    assert {key.id: fresh.read(champions[key.id]) for key in keys(12)} == payloads(spec, keys(12))


def test_a_promotion_takes_at_most_five_calls_a_model(spec: Spec, server: MlflowServer | None) -> None:
    for promotion, most in (("p1", 4), ("p2", 5)):
        repository = open_production(spec)
        repository.client.calls.clear()
        promote(repository, spec, 20, promotion, is_proxied(server))
        calls = {name: count for name, count in repository.client.calls.items() if name != "log_artifacts"}
        assert sum(calls.values()) <= most * 20 + 5, calls


def test_a_staged_version_is_no_champion(spec: Spec) -> None:
    repository = open_production(spec)
    some = keys(2)
    run = repository.start_run("p1", {t.SPEC: spec.name, t.JOB: "p1"})
    repository.create(records(spec, some, payloads(spec, some), "p1"), run)
    assert current_champions(open_production(spec)) == {}


def test_the_alias_loads_the_champion_and_the_former_one(
    spec: Spec, server: MlflowServer | None, mlflow_at: Callable[[str], None]
) -> None:
    repository = open_production(spec)
    promote(repository, spec, 3, "p1", is_proxied(server))
    second = promote(open_production(spec), spec, 3, "p2", is_proxied(server))
    key = keys(3)[2]
    name = second[key.id].model_id.rpartition("/")[0]
    assert name == f"{spec.name}--{key.slug}--{key.id}"
    mlflow_at(repository.client.uri)
    for uri in (f"models:/{name}@champion", f"models:/{name}@previous", f"models:/{second[key.id].model_id}"):
        model = mlflow.pyfunc.load_model(uri)
        assert model.predict(pd.DataFrame(), params={"horizon": 2})["prediction"].tolist() == [2.0, 3.0]
    by_alias = repository.client.mlflow.get_model_version_by_alias
    assert [int(by_alias(name, alias).version) for alias in ("champion", "previous")] == [2, 1]


@pytest.mark.parametrize("form", FORMS)
def test_a_rollback_brings_the_former_champion_back_and_remembers_the_other(
    spec: Spec, server: MlflowServer | None, form: str
) -> None:
    spec = spec.model_copy(update={"promote": spec.promote.model_copy(update={"form": form})})
    first = promote(open_production(spec), spec, 4, "p1", is_proxied(server))
    second = promote(open_production(spec), spec, 3, "p2", is_proxied(server))
    repository = open_production(spec)
    champions = current_champions(repository)
    history = by_partition(repository.search(t.where(SPEC=spec.name)))
    targets = {
        partition: target_of(champions[partition], history[partition], "previous") for partition in champions
    }
    assert {p: m.model_id for p, m in targets.items() if m} == {p: first[p].model_id for p in second}
    swap(repository, [Change(champions[p], model) for p, model in targets.items() if model is not None], "r1")
    after = current_champions(open_production(spec))
    assert {p: m.model_id for p, m in after.items()} == {p: m.model_id for p, m in first.items()}
    assert taken_back(repository) == {f"m-p2-{partition}" for partition in second}
    history = by_partition(repository.search(t.where(SPEC=spec.name)))
    again = [target_of(after[p], history[p], "p2") for p in second]
    assert [model.model_id for model in again if model] == [second[p].model_id for p in second]


@pytest.mark.parametrize("form", FORMS)
def test_retention_removes_files_and_models_but_no_champion_and_no_predecessor(
    spec: Spec, server: MlflowServer | None, form: str
) -> None:
    from datetime import UTC, datetime

    spec = spec.model_copy(update={"promote": spec.promote.model_copy(update={"form": form})})
    made = [promote(open_production(spec), spec, 2, f"p{number}", is_proxied(server)) for number in range(4)]
    repository = open_production(spec)
    safe = {model.model_id for model in protected(repository)}
    assert safe == {model.model_id for models in made[2:] for model in models.values()}
    everything = list(repository.search(t.where(SPEC=spec.name)))
    gone = [m for m in expired(everything, 1, None, datetime.now(UTC)) if m.model_id not in safe]
    assert {model.model_id for model in gone} == {
        model.model_id for models in made[:2] for model in models.values()
    }
    repository.remove(gone)
    left = {model.model_id for model in repository.search(t.where(SPEC=spec.name))}
    assert left == safe
    repository.remove(gone)
    for model in gone:
        with pytest.raises(PayloadError, match="artifacts were deleted"):
            repository.read(model)
    sealed = payloads(spec, keys(2))
    assert {m.model_id: repository.read(m) for m in made[3].values()} == {
        m.model_id: sealed[p] for p, m in made[3].items()
    }
