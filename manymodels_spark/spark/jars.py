"""The few Java libraries that a local session needs: which they are, where they lie, and how they get there.

They are fetched once by the Ivy that ships inside pyspark, with settings and a home of their own: an Ivy or
Maven folder in the user's home, in whatever state, is never looked at. A platform that brings its own session
needs none.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from xml.sax.saxutils import quoteattr

from manymodels_spark.errors import ManyModelsError

FOLDER_VARIABLE = "MANYMODELS_JARS"
MIRROR_VARIABLE = "MANYMODELS_MAVEN_URL"
_DELTA = {"4.2": ("delta-spark_4.2_2.13", "4.4.0"), "3.5": ("delta-spark_2.12", "3.3.2")}


def coordinates(group: str = "core", spark: str | None = None) -> list[str]:
    """`organisation:name:version` of the jars of a group (`core`, `azure`, `kafka`) for a Spark version such
    as `4.2`.

    Raises:
        ManyModelsError: The version is not supported, or not for this group.

    """
    spark = spark or ".".join(version("pyspark").split(".")[:2])
    if spark not in _DELTA:
        raise ManyModelsError(
            f"pyspark {spark} is not among the supported versions {', '.join(_DELTA)}. Install pyspark 4.2"
        )
    delta, release = _DELTA[spark]
    core = [
        f"io.delta:{delta}:{release}",
        f"io.delta:delta-storage:{release}",
        "org.duckdb:duckdb_jdbc:2.0.0.0",
        "org.postgresql:postgresql:42.7.7",
    ]
    azure = [
        "org.apache.hadoop:hadoop-azure:3.5.0",
        "com.microsoft.azure:azure-storage:7.0.1",
        "org.wildfly.openssl:wildfly-openssl:2.1.4.Final",
        "com.microsoft.azure:azure-keyvault-core:1.0.0",
    ]
    kafka = [
        "org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0",
        "org.apache.spark:spark-token-provider-kafka-0-10_2.13:4.2.0",
        "org.apache.kafka:kafka-clients:3.9.2",
        "org.apache.commons:commons-pool2:2.13.1",
    ]
    if group == "kafka" and spark != "4.2":
        raise ManyModelsError(
            f"a local session reads Kafka with pyspark 4.2, not {spark}. Install 4.2, or run on a "
            "platform, which brings spark-sql-kafka-0-10"
        )
    groups = {"core": core, "azure": azure, "kafka": kafka}
    return groups[group]


def jar_paths(group: str = "core") -> list[Path]:
    """The jars' paths, fetched first where one is missing. Raises ManyModelsError where that cannot be
    done.
    """
    return fetched(jars_folder(), coordinates(group))


def fetched(folder: Path, wanted: list[str]) -> list[Path]:
    """The paths of these jars in a folder, fetched first where one is missing.

    Args:
        folder: Where they are to be.
        wanted: `organisation:name:version` of each; what they depend on is not looked for.

    Raises:
        ManyModelsError: One cannot be fetched, or is not the file that this release was tested with.

    """
    paths = [folder / _file(coordinate) for coordinate in wanted]
    if not all(path.exists() for path in paths):
        _fetch(folder, wanted)
    return paths


def jars_folder() -> Path:
    """`$MANYMODELS_JARS`, else `.jars` here where there is one, else a cache of the user's."""
    if given := os.environ.get(FOLDER_VARIABLE):
        return Path(given)
    here = Path(".jars").absolute()
    return here if here.is_dir() else Path.home() / ".cache" / "manymodels" / "jars"


def checksums() -> dict[str, str]:
    """File name to the SHA-256 that it must have, of all jars that this release was tested with."""
    text = resources.files(__package__).joinpath("jars.lock.json").read_text()
    return dict(json.loads(text))


def _fetch(folder: Path, wanted: list[str]) -> None:
    """Fetch into a folder beside the target, check, and move: a jar that is there is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [coordinate for coordinate in wanted if not (folder / _file(coordinate)).exists()]
        if not missing:
            return
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            _resolve(Path(temporary), missing, folder)
            for coordinate in missing:
                found = Path(temporary) / "jars" / _file(coordinate)
                _verify(found, coordinate)
                shutil.move(found, folder / found.name)


def _resolve(work: Path, wanted: list[str], folder: Path) -> None:
    """Fetch the wanted coordinates into `work/jars` by Ivy. Raises ManyModelsError where it cannot."""
    _write_ivy_files(work, wanted)
    command = ["java", f"-Divy.home={work}", "-jar", str(_ivy()), "-settings", str(work / "settings.xml")]
    command += ["-ivy", str(work / "ivy.xml"), "-types", "jar", "bundle"]
    command += ["-retrieve", f"{work}/jars/[artifact]-[revision].jar"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, cwd=work)
    if answer.returncode != 0:
        lines = [line.strip() for line in answer.stdout.splitlines()]
        reasons = [line for line in lines if "not found" in line or "ERROR" in line.upper()]
        raise ManyModelsError(
            f"the jars {', '.join(wanted)} could not be fetched: "
            f"{'; '.join(reasons[:3]) or answer.stderr[-300:]}. "
            f"Without internet, put them into {folder} (or a folder named by {FOLDER_VARIABLE}), or name a "
            f"Maven mirror in {MIRROR_VARIABLE}"
        )


def _write_ivy_files(work: Path, wanted: list[str]) -> None:
    """Ivy's settings (one repository, a cache of its own) and a module that depends on each coordinate."""
    root = os.environ.get(MIRROR_VARIABLE)
    resolver = f"<ibiblio name='central' m2compatible='true'{f' root={quoteattr(root)}' if root else ''}/>"
    (work / "settings.xml").write_text(
        "<ivysettings><settings defaultResolver='central'/>"
        f"<caches defaultCacheDir={quoteattr(str(work / 'cache'))}/>"
        f"<resolvers>{resolver}</resolvers></ivysettings>"
    )
    parts = [coordinate.split(":") for coordinate in wanted]
    dependencies = "".join(
        f"<dependency org='{org}' name='{name}' rev='{rev}' transitive='false' conf='default->master'/>"
        for org, name, rev in parts
    )
    (work / "ivy.xml").write_text(
        "<ivy-module version='2.0'><info organisation='manymodels' module='jars'/>"
        "<configurations><conf name='default'/></configurations>"
        f"<dependencies>{dependencies}</dependencies></ivy-module>"
    )


def _verify(path: Path, coordinate: str) -> None:
    expected = checksums().get(path.name)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if expected is not None and found != expected:
        raise ManyModelsError(
            f"{coordinate} was fetched with SHA-256 {found[:12]}…, and {expected[:12]}… is expected: it "
            "was altered on "
            "its way, or the mirror holds another file. Nothing was installed"
        )


def _ivy() -> Path:
    """Ivy's jar among those of pyspark."""
    import pyspark

    found = sorted((Path(pyspark.__file__).parent / "jars").glob("ivy-*.jar"))
    if not found:
        raise ManyModelsError(
            "pyspark carries no Ivy here; put the jars into the folder that MANYMODELS_JARS names"
        )
    return found[-1]


def _file(coordinate: str) -> str:
    _, name, release = coordinate.split(":")
    return f"{name}-{release}.jar"
