"""Payloads made by somebody who wants this process to run their code, or to end it."""

from __future__ import annotations

import base64
import copy
import functools
import io
import operator
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
import skops.io
import yaml
from builders import make_spec
from serving_builders import champions, key_of
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import all_estimators

from manymodels_spark.errors import PayloadError
from manymodels_spark.families import skops as stored
from manymodels_spark.flavor import pyfunc
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.payload import open_payload, seal
from manymodels_spark.modeling.predict import LoadedPartition
from manymodels_spark.serving.models.cache import ModelCache
from manymodels_spark.serving.settings import ServingSettings
from manymodels_spark.tracking import artifacts

SMALL = {"linear": {}, "gradient_boosting": {"iterations": 3}, "random_forest": {"trees": 2}}
ROWS = 90


def run_in_a_shell(value: Any) -> Any:
    """What nothing must ever call."""
    return os.system("false")


CALLABLES = [
    np.vectorize(eval),
    os.system,
    run_in_a_shell,
    functools.partial(eval, "1"),
    operator.methodcaller("read"),
    StandardScaler().fit,
    np.exp,
]


def state_of(estimator: Any) -> dict[str, Any]:
    """The stored form of any estimator, made as an attacker would: without this package's checks."""
    import zipfile

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(estimator))) as archive:
        names = [name for name in archive.namelist() if name != "schema.json"]
        arrays = {name: base64.b64encode(archive.read(name)).decode() for name in names}
        return {"schema": orjson.loads(archive.read("schema.json")), "arrays": arrays}


def table() -> pd.DataFrame:
    generator, count = np.random.default_rng(0), np.arange(ROWS)
    frame = pd.DataFrame({"a": generator.random(ROWS), "b": np.array(["x", "y", None])[count % 3]})
    frame["c"] = np.where(count % 4, count, np.nan)
    return frame.assign(
        y=frame["a"] * 3, two=np.where(frame["a"] > 0.5, "yes", "no"), three=np.array(list("uvw"))[count % 3]
    )


@functools.cache
def payload_of(family: str, target: str | None = None) -> bytes:
    """A small model of a family: a forecast, or a table model of `target`."""
    days = pd.DataFrame(
        {
            "date": pd.date_range("2026-01-01", periods=ROWS),
            "units": np.arange(ROWS) % 7 + 1.0,
            "promotion": 1,
        }
    )
    changes: dict[str, Any] = {
        "task": "forecast" if target is None else "regression" if target == "y" else "classification",
        "columns": {"time": "date", "target": "units", "known_future": ["promotion"]}
        if target is None
        else {"target": target, "features": ["a", "b", "c"]},
        "candidates": [{family: SMALL[family]}],
    }
    rows = days if target is None else table()
    result = fit_partition(rows, make_spec(Path("unused"), **changes), key_of())
    assert result.payload is not None, result.failure
    return result.payload


def members_of(payload: bytes) -> list[dict[str, Any]]:
    states = [member["state"] for member in open_payload(payload)["members"]]
    return [state["skops"] for state in states if "skops" in state]


def nodes_of(schema: Any) -> Iterator[dict[str, Any]]:
    yield from stored._nodes(schema)


def test_the_allowed_classes_are_exactly_those_that_this_package_s_pipelines_hold():
    held: dict[str, set[str]] = {}
    for family in SMALL:
        for target in (None, "y", "two", "three"):
            for state in members_of(payload_of(family, target)):
                for node in nodes_of(state["schema"]):
                    held.setdefault(node["__loader__"], set()).add(stored._name(node))

    assert {loader: frozenset(names) for loader, names in held.items()} == stored.ALLOWED


def test_a_pipeline_with_eval_that_was_logged_by_somebody_else_is_not_served(tmp_path: Path):
    touched = tmp_path / "touched"
    attack = make_pipeline(FunctionTransformer(np.vectorize(eval)), FunctionTransformer())
    document = open_payload(payload_of("linear", "y"))
    document["members"][0]["state"]["skops"] = state_of(attack)
    payload = seal({name: value for name, value in document.items() if name != "manymodels"})
    source, (champion,) = champions(1, payload)
    cache = ModelCache(source, ServingSettings())

    with pytest.raises(PayloadError, match="numpy.vectorize"):
        cache.load(champion.partition_id).result(30)
    with pytest.raises(PayloadError, match="which is not loaded"):
        LoadedPartition(payload)

    cache.close()
    assert not touched.exists()


def hostile() -> list[tuple[str, dict[str, Any]]]:
    """Every estimator of scikit-learn with a parameter that may be callable, and every kind of callable."""
    found = []
    for name, cls in all_estimators():
        constraints = getattr(cls, "_parameter_constraints", {})
        taking = [key for key, kinds in constraints.items() if isinstance(kinds, list) and callable in kinds]
        for parameter in taking:
            for number, function in enumerate(CALLABLES):
                try:
                    made = cls.__new__(cls)
                    made.__dict__[parameter] = function
                    found.append((f"{name}.{parameter} {number}", state_of(make_pipeline(made))))
                except Exception:
                    continue
    return found


def test_no_estimator_with_a_callable_parameter_gets_a_function_past_the_door():
    attacks, loaded = hostile(), []
    for name, state in attacks:
        try:
            stored.load(state)
        except PayloadError:
            continue
        loaded.append(name)

    assert loaded == []
    assert len(attacks) >= 200 and len({name.split(".")[0] for name, _ in attacks}) >= 30


@pytest.mark.parametrize("family", SMALL)
def test_no_node_of_a_real_pipeline_can_be_made_into_a_function(family: str):
    (state,) = members_of(payload_of(family, "y"))
    total = sum(1 for _ in nodes_of(state["schema"]))
    for number in sorted({0, total // 3, total // 2, total - 1, *range(0, total, max(1, total // 25))}):
        for loader, module, name in (
            ("FunctionNode", "os", "system"),
            ("TypeNode", "builtins", "eval"),
            ("ObjectNode", "subprocess", "Popen"),
            ("ConstructorFromReduceNode", "builtins", "bytearray"),
            ("ObjectNode", "sklearn.preprocessing._function_transformer", "FunctionTransformer"),
        ):
            altered = copy.deepcopy(state)
            node = list(nodes_of(altered["schema"]))[number]
            node.update(__loader__=loader, __module__=module, __class__=name)
            with pytest.raises(PayloadError, match=f"{module}.{name}"):
                stored.load(altered)


@pytest.mark.parametrize(
    ("family", "field", "value"),
    [
        ("gradient_boosting", "left", 2**30),
        ("gradient_boosting", "right", 0),
        ("gradient_boosting", "feature_idx", 9999),
        ("random_forest", "left_child", 2**40),
        ("random_forest", "right_child", 0),
        ("random_forest", "feature", -7),
        ("random_forest", "feature", 2**40),
    ],
)
def test_a_tree_whose_indices_point_outside_it_is_refused_and_never_followed(
    family: str, field: str, value: int
):
    (state,) = members_of(payload_of(family))
    altered, changed = copy.deepcopy(state), 0
    for name, text in altered["arrays"].items():
        array = np.load(io.BytesIO(base64.b64decode(text)))
        if array.dtype.names and field in array.dtype.names:
            array[field][0] = value
            buffer = io.BytesIO()
            np.save(buffer, array)
            altered["arrays"][name] = base64.b64encode(buffer.getvalue()).decode()
            changed += 1

    assert changed
    stored.load(state)
    with pytest.raises(PayloadError, match="points outside itself"):
        stored.load(altered)


@pytest.mark.parametrize("schema", [None, [], {}, {"__loader__": "ObjectNode"}, {"__loader__": ["a"]}])
def test_what_is_no_schema_at_all_is_a_payload_error(schema: Any):
    with pytest.raises(PayloadError):
        stored.load({"schema": schema, "arrays": {}})


def test_arrays_that_are_missing_or_no_arrays_are_a_payload_error():
    (state,) = members_of(payload_of("linear", "y"))
    name = next(iter(state["arrays"]))
    for arrays in ({}, {**state["arrays"], name: "!!"}, {**state["arrays"], name: "AAAA"}):
        with pytest.raises(PayloadError):
            stored.load({**state, "arrays": arrays})


def test_a_family_s_own_pipeline_may_name_more_classes_and_no_functions():
    from sklearn.svm import SVR

    fitted = make_pipeline(StandardScaler(), SVR()).fit(np.eye(4), np.arange(4.0))

    with pytest.raises(PayloadError, match=r"sklearn\.svm\._classes\.SVR"):
        stored.dump(fitted)
    again = stored.load(stored.dump(fitted, {"sklearn.svm._classes.SVR"}), {"sklearn.svm._classes.SVR"})
    assert again.predict(np.eye(4)).tolist() == fitted.predict(np.eye(4)).tolist()


@pytest.mark.parametrize("as_yaml", [False, True])
def test_the_loader_of_plain_mlflow_refuses_a_payload_that_is_not_the_one_logged(
    tmp_path: Path, as_yaml: bool
):
    template = artifacts.Template("{}", (), "3.17.0", "2026-01-01 00:00:00")
    for name, content in template.files("m-1", payload_of("linear")).items():
        (tmp_path / name).write_bytes(content)
    if as_yaml:  # as MLflow writes it again when a model is registered
        described = yaml.safe_load((tmp_path / "MLmodel").read_text())
        (tmp_path / "MLmodel").write_text(yaml.safe_dump(described))
    payload = tmp_path / artifacts.PAYLOAD_FILE

    before = pyfunc._load_pyfunc(str(payload)).payload
    payload.write_bytes(payload_of("random_forest"))

    assert before == payload_of("linear")
    with pytest.raises(PayloadError, match="SHA-256"):
        pyfunc._load_pyfunc(str(payload))


def test_a_model_logged_before_its_description_had_a_checksum_is_still_loaded(tmp_path: Path):
    (tmp_path / "payload.bin").write_bytes(payload_of("linear"))
    (tmp_path / "MLmodel").write_text('{"flavors": {}}')

    assert pyfunc._load_pyfunc(str(tmp_path / "payload.bin")).payload == payload_of("linear")
