"""Java's class data sharing archive: Spark's classes as they lie in memory, so that Java starts sooner.

    python -m manymodels_spark.spark.class_archive    make it where it is missing, as `make env` does

Java 13 and newer write one as a process ends (JEP 350) and map it into later processes of the same Java and
class path; any other Java goes without it and says nothing. The file lies beside the jars.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manymodels_spark.spark.jars import jars_folder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_QUIET = "-Xshare:auto -Xlog:cds=off -Xlog:cds+dynamic=off -Xlog:class+path=off"


def java_options() -> str:
    """Java's options that use the archive; empty where there is none."""
    path = _path()
    # Spark cuts options at spaces.
    return f"-XX:SharedArchiveFile={path} {_QUIET}" if path.exists() and " " not in str(path) else ""


def make() -> Path | None:
    """Make the archive where it is missing; None where this Java writes none."""
    path = _path()
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        command = [sys.executable, "-m", "manymodels_spark.spark.class_archive", str(made)]
        # Java writes the archive after Python has ended, and holds this pipe until then.
        subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
        return made.replace(path) if made.exists() else None


def record(made: Path) -> None:
    """Do the usual work in a session whose Java leaves its classes in `made` when this process has ended."""
    from manymodels_spark.spark.session import get_session, own_settings

    name = "spark.driver.extraJavaOptions"
    own: dict[str, Any] = {name: f"{own_settings()[name]} {_QUIET} -XX:ArchiveClassesAtExit={made}"}
    _usual_work(get_session("class-archive", "local[1]", **own), f"{made}.table")


def _path() -> Path:
    return jars_folder() / f"spark-{version('pyspark')}-java-{_java()}.jsa"


def _java() -> str:
    """What tells one Java from another, by its file `release`: each needs an archive of its own."""
    home = os.environ.get("JAVA_HOME")
    java = Path(home) / "bin" / "java" if home else Path(shutil.which("java") or "java")
    release = java.resolve().parents[1] / "release"
    found = (
        re.search(r'^JAVA_RUNTIME_VERSION="(.+)"', release.read_text(), re.M) if release.exists() else None
    )
    return re.sub(r"[^\w.]+", "-", found[1]) if found else "unknown"


def _usual_work(spark: SparkSession, table: str) -> None:
    """What every stage does: write and read a Delta table, merge into it, go through Arrow."""
    rows = spark.range(1_000).selectExpr("id", "id % 7 AS k", "current_timestamp() AS at")
    rows.write.format("delta").mode("append").option("txnAppId", "a").option("txnVersion", 1).save(table)
    rows.createOrReplaceTempView("newer")
    spark.sql(
        f"MERGE INTO delta.`{table}` t USING newer s ON t.id = s.id WHEN MATCHED THEN UPDATE SET * "
        "WHEN NOT MATCHED THEN INSERT *"
    )
    read = spark.read.format("delta").load(table)
    read.groupBy("k").applyInPandas(lambda frame: frame.head(1), read.schema).collect()
    read.join(spark.createDataFrame([(1, "a")], "k bigint, name string"), "k").toPandas()
    spark.sql(f"DESCRIBE DETAIL delta.`{table}`").collect()


if __name__ == "__main__":
    record(Path(sys.argv[1])) if len(sys.argv) > 1 else make()
