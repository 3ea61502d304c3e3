"""Is this machine fit for the spec: Python, Java, the pair of Spark and Delta,
packages with their versions, Stan.

Nothing here starts a session or opens a connection.
"""

from __future__ import annotations

import ctypes.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from manymodels_spark.doctor.findings import Finding, failed, first_line, ok, skipped
from manymodels_spark.errors import ManyModelsError
from manymodels_spark.families import registry
from manymodels_spark.spark.jars import coordinates, jars_folder
from manymodels_spark.spark.session import is_provided, require_java, starts_java
from manymodels_spark.spec import Spec

DISTRIBUTION = "manymodels-spark"
JAVA = 17
_EXTRA = re.compile(r'extra == "([^"]+)"')
_DRIVERS = {"duckdb": ("duckdb",), "postgres": ("psycopg",), "synapse": ("mssql-python", "azure-identity")}


def python() -> Iterator[Finding]:
    """The interpreter against what the package asks for."""
    found, wanted = platform.python_version(), ">=3.11"
    try:
        wanted = str(metadata(DISTRIBUTION).json.get("requires_python") or wanted)
    except PackageNotFoundError:
        yield skipped(
            "package", f"{DISTRIBUTION} is not installed but on the path, so its requirements are not known"
        )
    if SpecifierSet(wanted).contains(found):
        yield ok("python", f"{found} at {sys.executable}")
    else:
        yield failed(
            "python",
            f"{found}, and {wanted} is needed",
            "Use a newer Python, or a runtime of the platform that brings one",
        )


def java() -> Iterator[Finding]:
    """The Java that a session of our own would start."""
    if not starts_java():
        yield skipped("java", "the platform or the Spark Connect server brings it")
        return
    try:
        require_java(JAVA)
        found = java_version()
    except (ManyModelsError, OSError, subprocess.SubprocessError) as error:
        yield failed(
            "java",
            first_line(error),
            f"Install Java {JAVA} (Debian, Ubuntu: apt-get install openjdk-{JAVA}-jre-headless)",
        )
        return
    if found >= JAVA:
        yield ok("java", str(found))
    else:
        advice = f"Install openjdk-{JAVA}-jre-headless, or set JAVA_HOME to a newer one"
        yield failed("java", f"{found}, and {JAVA} or newer is needed", advice)


def java_version() -> int:
    """The major version of the Java that Spark would take. Raises OSError where none starts."""
    home = os.environ.get("JAVA_HOME")
    inside = Path(home, "bin", "java") if home else None
    command = str(inside) if inside is not None and inside.exists() else shutil.which("java") or "java"
    answer = subprocess.run([command, "-version"], capture_output=True, text=True, timeout=15, check=False)
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    return int(found.group(1)) if found else 0


def spark() -> Iterator[Finding]:
    """Whether pyspark is a supported one and Delta's release is the one that goes with it."""
    release = _version("pyspark")
    if release is None:
        if is_provided():
            yield skipped("spark", "the platform brings its own")
        else:
            yield failed("spark", "pyspark is not installed", f"Run: pip install '{DISTRIBUTION}[local]'")
        return
    try:
        pair = coordinates(spark=".".join(release.split(".")[:2]))
    except ManyModelsError as error:
        yield failed("spark", first_line(error), f"Run: pip install '{DISTRIBUTION}[local]'")
        return
    yield ok("spark", f"pyspark {release}")
    yield from _delta(release, pair)


def _delta(release: str, pair: list[str]) -> Iterator[Finding]:
    """Delta's Python package, where there is one, and the jars."""
    wanted, installed = pair[0].rsplit(":", 1)[1], _version("delta-spark")
    if installed is not None and installed != wanted:
        found = f"delta-spark {installed} is installed, and {wanted} goes with pyspark {release}"
        yield failed("delta", found, f"Run: pip install delta-spark=={wanted}")
        return
    if not starts_java():
        yield skipped("delta", "its jars are the platform's or the server's")
        return
    missing = [name for name in map(_jar, pair) if not (jars_folder() / name).exists()]
    where = (
        f"{wanted} in {jars_folder()}"
        if not missing
        else f"{wanted}: {len(missing)} jars are fetched at the first start"
    )
    yield ok("delta", where)


def packages(spec: Spec | None, *, warehouse: bool = True) -> Iterator[Finding]:
    """Every package that this one, the spec's families and, if asked,
    its warehouse need, with its version.
    """
    needed = dict(_of_families(spec))
    drivers = _DRIVERS[spec.warehouse.kind] if spec is not None and warehouse else ()
    wrong = list(_requirements({*needed, *drivers}))
    named = {finding.check for finding in wrong}
    for package, family in needed.items():
        if _version(package) is None and f"package {package}" not in named:
            wrong.append(
                failed(
                    f"package {package}",
                    f"is not installed, and {family} needs it",
                    f"Run: pip install {package}",
                )
            )
    yield from wrong or [ok("packages", "all that is required")]


def _requirements(needed: set[str]) -> Iterator[Finding]:
    """What the package itself requires, and of its extras what is needed, against what is installed."""
    try:
        listed = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return
    seen: set[str] = set()
    for wanted in map(Requirement, listed):
        extra = _EXTRA.search(str(wanted.marker or ""))
        if wanted.name in seen or (extra and wanted.name not in needed) or (extra and extra[1] == "dev"):
            continue
        seen.add(wanted.name)
        found = _version(wanted.name)
        if found is None or not wanted.specifier.contains(found, prereleases=True):
            state = "is not installed" if found is None else f"is {found}"
            target = f"{DISTRIBUTION}[{extra[1]}]" if extra else DISTRIBUTION
            needs = f"{state}, and {wanted.name}{wanted.specifier} is needed"
            yield failed(f"package {wanted.name}", needs, f"Run: pip install '{target}'")


def _of_families(spec: Spec | None) -> Iterator[tuple[str, str]]:
    """(distribution, family) of the libraries that the spec's families load."""
    named = [] if spec is None else [*spec.candidates, *([spec.fallback] if spec.fallback else [])]
    for candidate in named:
        for package in registry.build(candidate).packages:
            yield package, candidate.family


def native(spec: Spec | None) -> Iterator[Finding]:
    """Libraries of the system that a wheel cannot bring."""
    if (
        spec is not None
        and spec.warehouse.kind == "synapse"
        and sys.platform == "linux"
        and ctypes.util.find_library("ltdl") is None
    ):
        yield failed(
            "libltdl",
            "the driver of SQL Server needs it and it is not there",
            "Run: apt-get install libltdl7",
        )


def stan(spec: Spec | None) -> Iterator[Finding]:
    """Whether Prophet's compiled model runs here: a fit of a few rows."""
    if spec is None or all(candidate.family != "prophet" for candidate in spec.candidates):
        return
    import pandas as pd
    from prophet import Prophet

    rows = pd.DataFrame(
        {"ds": pd.date_range("2026-01-01", periods=14), "y": [float(day % 7) for day in range(14)]}
    )
    try:
        Prophet(weekly_seasonality=False, yearly_seasonality=False).fit(rows)
    except Exception as error:
        advice = "Install prophet from its wheel: pip install --force-reinstall prophet"
        yield failed("stan", f"Prophet's compiled model does not run: {first_line(error)}", advice)
        return
    yield ok("stan", f"prophet {_version('prophet')} fits")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _jar(coordinate: str) -> str:
    _, name, release = coordinate.split(":")
    return f"{name}-{release}.jar"
