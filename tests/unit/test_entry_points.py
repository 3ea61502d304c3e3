"""A family that an installed package brings by an entry point: found by its name, sealed by it, and loaded
again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from builders import make_spec

from manymodels_spark.errors import ManyModelsError, PayloadError
from manymodels_spark.families import registry
from manymodels_spark.keys import PartitionKey
from manymodels_spark.modeling.fit import fit_partition
from manymodels_spark.modeling.payload import open_payload
from manymodels_spark.modeling.predict import LoadedPartition, predict_partition

KEY = PartitionKey.of({"store": 1})
CODE = """
from manymodels_spark.families.base import Options
from manymodels_spark.families.naive import Mean, Naive

class ShiftedOptions(Options):
    by: float = 10.0

class Shifted(Mean):
    name = "{name}"
    Options = ShiftedOptions

    def predict(self, model, future, problem):
        return super().predict(model, future, problem) + self.options.by

class Nameless(Naive):
    pass
"""
ENTRIES = """[manymodels.families]
shifted_mean = acme_families:Shifted [extra]
naive = acme_families:Nameless
gone = acme_families:Gone
"""


def installed(folder: Path, entries: str = ENTRIES, name: str = "shifted_mean") -> None:
    (folder / "acme_families.py").write_text(CODE.format(name=name))
    info = folder / "acme_families-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-families\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entries)


def forget() -> None:
    """As a process that has asked for no family yet."""
    registry.addresses.cache_clear()
    sys.modules.pop("acme_families", None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield tmp_path
    forget()


def rows() -> pd.DataFrame:
    return pd.DataFrame({"date": pd.date_range("2026-01-01", periods=60), "units": np.arange(60.0)})


def test_a_family_of_an_installed_package_is_checked_fitted_sealed_and_loaded_by_its_name(
    folder: Path,
) -> None:
    installed(folder)
    listed = {"candidates": [{"shifted_mean": {"by": 2.5}}], "fallback": "shifted_mean"}
    assert list(registry.candidate_mistakes(listed, "forecast")) == []
    result = fit_partition(rows(), make_spec(Path("unused"), candidates=listed["candidates"]), KEY)
    assert result.payload is not None, result.failure
    member = open_payload(result.payload)["members"][0]
    assert (member["family"], member["options"], result.families) == (
        "shifted_mean",
        {"by": 2.5},
        ("shifted_mean",),
    )
    forget()
    np.testing.assert_array_equal(predict_partition(result.payload)["prediction"], np.full(7, 29.5 + 2.5))


def test_mistakes_in_its_options_and_its_task_are_told_as_those_of_built_in_families(folder: Path) -> None:
    installed(folder)
    (option,) = registry.candidate_mistakes({"candidates": [{"shifted_mean": {"bye": 2}}]}, "forecast")
    assert "Did you mean 'by'?" in option.message
    (task,) = registry.candidate_mistakes({"candidates": ["shifted_mean"]}, "classification")
    assert "does not do classification" in task.message
    with pytest.raises(ManyModelsError, match="Did you mean 'shifted_mean'"):
        registry.family("shifted_men")
    with pytest.raises(ManyModelsError, match=r"acme_families:Gone\) cannot be imported"):
        registry.family("gone")


def test_a_package_cannot_put_its_class_in_the_place_of_a_built_in_one(folder: Path) -> None:
    installed(folder)
    assert registry.family("naive").__module__ == "manymodels_spark.families.naive"
    spec = make_spec(Path("unused"), candidates=["acme_families:Nameless"])
    result = fit_partition(rows(), spec, KEY)
    assert result.payload is not None, result.failure
    assert open_payload(result.payload)["members"][0]["family"] == "acme_families:Nameless"


@pytest.mark.parametrize("name", ["gone", "theta", "unheard_of"])
def test_a_name_that_leads_elsewhere_or_nowhere_is_not_what_its_class_is_stored_by(
    folder: Path, name: str
) -> None:
    installed(folder, name=name)
    result = fit_partition(rows(), make_spec(Path("unused"), candidates=["acme_families:Shifted"]), KEY)
    assert result.payload is not None, result.failure
    assert open_payload(result.payload)["members"][0]["family"] == "acme_families:Shifted"
    forget()
    predicted = predict_partition(result.payload, families=["acme_families:Shifted"])
    np.testing.assert_array_equal(predicted["prediction"], np.full(7, 39.5))


def test_a_payload_imports_no_module_that_neither_the_spec_nor_the_environment_names(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(folder)
    spec = make_spec(Path("unused"), candidates=["acme_families:Nameless"])
    payload = fit_partition(rows(), spec, KEY).payload
    assert payload is not None
    forget()
    with pytest.raises(
        PayloadError, match=r"'acme_families:Nameless', which is neither registered nor named"
    ):
        LoadedPartition(payload)
    other = registry.importable(make_spec(Path("unused"), candidates=["naive", "acme_families:Shifted"]))
    with pytest.raises(PayloadError, match="put it into MANYMODELS_FAMILIES"):
        LoadedPartition(payload, families=other)
    assert "acme_families" not in sys.modules

    assert LoadedPartition(payload, families=registry.importable(spec)).problem.target == "units"
    monkeypatch.setenv("MANYMODELS_FAMILIES", "acme_families:Old, acme_families:Nameless")
    changed = registry.importable(make_spec(Path("unused"), candidates=["naive"], fallback="acme_families:B"))
    assert changed == ("acme_families:B", "acme_families:Old", "acme_families:Nameless")
    assert LoadedPartition(payload, families=changed).problem.target == "units"
