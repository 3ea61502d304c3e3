"""Pins the Azure ML files to one wheel and one lock: a new wheel makes a new environment and new components.

Azure ML keeps a version of an environment or component as it first was, so what changed needs a new version:
the package's, and a digest of all that the environment installs and the components run.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from manymodels_spark._version import __version__
from manymodels_spark.errors import ManyModelsError

_DIGITS = 8
_ENVIRONMENT = re.compile(r"azureml:manymodels-spark[@:][\w.-]+")
_SHARED = re.compile(r"(azureml://registries/[\w-]+/components/\w+)/(?:versions|labels)/[\w.-]+")
_VERSION = re.compile(r"^version: .*$", re.MULTILINE)


def version_of(folder: Path) -> str:
    """The version that this wheel and this lock make, such as `0.1.0-1f3a9c77`."""
    text = "\n".join([*_installed(folder), *_scripts(folder)])
    return f"{__version__}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"


def pinned(folder: Path) -> dict[Path, str]:
    """Every file below the folder that names a version, as it should be: path to text."""
    version = version_of(folder)
    found = {
        folder / "conda.yml": _conda(folder),
        folder / "environment.yml": _own(folder / "environment.yml", version),
    }
    for path in sorted((folder / "components").glob("*.yml")):
        found[path] = _used(_own(path, version), version)
    for path in [*folder.glob("*.yml"), *folder.glob("production/*.yml"), *folder.glob("endpoint/*.yml")]:
        if path not in found:
            found[path] = _used(path.read_text(encoding="utf-8"), version)
    return found


def require_pinned(folder: Path) -> None:
    """Raise ManyModelsError where files name another wheel or lock than these."""
    if not (folder / "requirements.txt").exists():
        return
    if stale := [
        path.name for path, text in pinned(folder).items() if path.read_text(encoding="utf-8") != text
    ]:
        raise ManyModelsError(
            f"{', '.join(stale)} below {folder} are not pinned to {version_of(folder)}, the version of this "
            "wheel and lock. Run: manymodels deploy azureml --pin"
        )


def _installed(folder: Path) -> list[str]:
    """What the environment installs: the wheel, then the tested versions."""
    lock = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [f"manymodels-spark=={__version__}", *(line for line in lock if line and not line.startswith("#"))]


def _scripts(folder: Path) -> list[str]:
    """What the components run, and the components without the versions in them."""
    components = sorted((folder / "components").glob("*.yml"))
    texts = [_used(_own(path, ""), "") for path in components]
    return [*texts, *(path.read_text(encoding="utf-8") for path in sorted((folder / "src").glob("*.py")))]


def _conda(folder: Path) -> str:
    """conda.yml with its last list, what pip installs, replaced; lines before the first pin stay."""
    kept = (folder / "conda.yml").read_text(encoding="utf-8").partition("      - manymodels-spark")[0]
    return kept + "".join(f"      - {line}\n" for line in _installed(folder))


def _own(path: Path, version: str) -> str:
    return _VERSION.sub(f'version: "{version}"', path.read_text(encoding="utf-8"))


def _used(text: str, version: str) -> str:
    return _SHARED.sub(
        rf"\1/versions/{version}", _ENVIRONMENT.sub(f"azureml:manymodels-spark:{version}", text)
    )
