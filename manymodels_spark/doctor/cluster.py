"""What only a session knows: do the executors have the packages,
and may the session write where the tables go?
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from manymodels_spark.doctor.findings import Finding, failed, first_line, ok, skipped
from manymodels_spark.doctor.needs import unset
from manymodels_spark.families import registry
from manymodels_spark.lake.tables import Lake
from manymodels_spark.spec import Spec

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PROBE = "doctor"


def cluster(spark: SparkSession, spec: Spec) -> Iterator[Finding]:
    """The executors' Python and packages, and a table of one row in the lake."""
    yield executors(spark, spec)
    yield lake(spark, spec)


def executors(spark: SparkSession, spec: Spec) -> Finding:
    """Whether a worker runs this package and the families' libraries under the driver's Python."""
    advice = (
        "Install the wheel with its requirements on every node: a cluster library, a workspace package, or "
        "a packed environment"
    )
    try:
        row = spark.range(1).mapInPandas(_probe(spec), "python string, missing string").first()
    except Exception as error:
        return failed("executors", first_line(error), advice)
    if row is None:
        return failed("executors", "no worker answered", advice)
    if row["missing"]:
        return failed("executors", f"lack {row['missing']}", advice)
    here = platform.python_version_tuple()[:2]
    if row["python"].split(".")[:2] != list(here):
        found = f"run Python {row['python']}, the driver {'.'.join(here)}"
        return failed("executors", found, "Set PYSPARK_PYTHON to the same Python on all nodes")
    return ok("executors", f"Python {row['python']}, with all packages")


def lake(spark: SparkSession, spec: Spec) -> Finding:
    """Whether a Delta table can be written and read in the lake. A small table `doctor` stays there."""
    if missing := unset(spec, ("lake",)):
        return skipped("write lake by Spark", f"requires {', '.join(missing)}")
    tables = Lake.of(spark, spec.lake, spec.name)
    try:
        tables.overwrite(PROBE, spark.range(1))
        rows = tables.read(PROBE).count()
    except Exception as error:
        advice = (
            "Give the session Delta, and its identity the right to write there: USE SCHEMA and CREATE "
            "TABLE in a catalog, "
            "Storage Blob Data Contributor in a lake"
        )
        return failed("write lake by Spark", f"{tables.location(PROBE)}: {first_line(error)}", advice)
    return ok("write lake by Spark", f"{rows} row in {tables.location(PROBE)}")


def _probe(spec: Spec) -> Any:
    """A function for `mapInPandas` that reports what a worker has."""
    named = [*spec.candidates, *([spec.fallback] if spec.fallback else [])]
    wanted = sorted({package for candidate in named for package in registry.build(candidate).packages})

    def answer(frames: Any) -> Any:
        import platform as own
        from importlib.metadata import PackageNotFoundError, version
        from importlib.util import find_spec

        import pandas as pd

        missing = [] if find_spec("manymodels_spark") else ["manymodels-spark"]
        for package in wanted:
            try:
                version(package)
            except PackageNotFoundError:
                missing.append(package)
        for _ in frames:
            yield pd.DataFrame({"python": [own.python_version()], "missing": [", ".join(missing)]})

    return answer
