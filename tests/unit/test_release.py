"""What a release is made of: one version everywhere, extras that are named, slim images without root."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from deploy_files import DEPLOY, ROOT

from manymodels_spark._version import __version__
from manymodels_spark.cli import main
from manymodels_spark.cli.extras import EXTRAS, explained

IMAGES = sorted(DEPLOY.rglob("Dockerfile"))


def test_the_changelog_s_head_and_every_deployed_file_have_the_package_s_version() -> None:
    (head, *_) = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert head == __version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    environment = yaml.safe_load((DEPLOY / "azureml" / "environment.yml").read_text())
    assert str(environment["version"]).split("-")[0] == __version__
    for path in (DEPLOY / "aks").glob("*.yaml"):
        for version in re.findall(r"manymodels-spark:([\d.]+)", path.read_text()):
            assert version == __version__, path.name


def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'pyspark'", name="pyspark.sql")

    monkeypatch.setattr("manymodels_spark.families.checked_spec.load_spec", missing)
    done = CliRunner().invoke(main, ["check", str(ROOT / "conf" / "retail.yaml")])
    assert done.exit_code == 1
    assert "requires pyspark, which is not installed. Run: pip install 'manymodels-spark[local]'" in " ".join(
        done.output.split()
    )


def test_a_module_that_no_extra_brings_is_not_explained_away() -> None:
    assert explained(ModuleNotFoundError("No module named 'nothing'", name="nothing")) is None


def test_the_extras_that_errors_name_are_those_of_setup() -> None:
    declared = set(re.findall(r'^        "([\w.-]+)": ', (ROOT / "setup.py").read_text(), re.MULTILINE))
    assert set(EXTRAS) <= declared


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.parent.name)
def test_an_image_is_slim_pinned_and_not_root(path: Path) -> None:
    text = path.read_text()
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"python:3.11-slim"}
    assert "USER 10001\n" in text
    assert all("-c " in line for line in re.findall(r"pip install .*", text))
    assert all("--no-install-recommends" in line for line in re.findall(r"apt-get install .*", text))
    if path.parent.name != "mlflow":
        assert "COPY --from=build /dist/*.whl" in text, "built from the wheel"
