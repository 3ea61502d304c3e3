"""A Spark session for the platform at hand: a laptop, Databricks, Synapse or Spark Connect.

On a platform that brings a session, that session is used as it is. Only the local platform is configured
here. This module must know no table, no model and no MLflow.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.spark.jars import jar_paths
from manymodels_spark.spark.storage import DRIVER, azure_settings, needs_azure

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from manymodels_spark.spec.model import Spec

_DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
_TIME_ZONE = "spark.sql.session.timeZone"
_EVERYWHERE = {
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "20000",
    _TIME_ZONE: "UTC",
}
# Java's JDBC takes a database's times, where they have no zone, to be on the clock of the machine that reads
# them.
_CLOCK = "-Duser.timezone=UTC"
_REDACTED = {"spark.redaction.regex": r"(?i)secret|password|token|access[.]?key|account[.]key"}
# Delta reads a snapshot in 50 tasks unless told otherwise: a cost of seconds a table where there are two
# cores. Executors elsewhere could not reach a driver that listens on the loopback address only. Plans that
# are made anew after every stage pay where stages are long: here they were a sixth of what Java took. Without
# its web pages nobody reads the thousand last queries, each with its plan, that Spark keeps for them.
_ONE_MACHINE = {
    "spark.sql.adaptive.enabled": "false",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.shuffle.partitions": "8",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",
    "spark.ui.enabled": "false",
    "spark.ui.retainedJobs": "50",
    "spark.ui.retainedStages": "50",
    "spark.ui.retainedTasks": "1000",
    "spark.sql.ui.retainedExecutions": "20",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.scheduler.mode": "FAIR",
}
# A stage is over before Java's second compiler has paid for itself: it waits until code is ten times as hot
# as usual.
_JAVA = (
    "-XX:+UseParallelGC -XX:+IgnoreUnrecognizedVMOptions -XX:Tier4InvocationThreshold=50000 "
    "-XX:Tier4MinInvocationThreshold=6000 -XX:Tier4CompileThreshold=150000 -XX:Tier4BackEdgeThreshold=400000"
)
# For jobs of seconds: plans are interpreted, and Java's second compiler stays out.
_QUICK = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
}
_QUICK_JAVA = "-XX:+UseSerialGC -XX:+IgnoreUnrecognizedVMOptions -XX:TieredStopAtLevel=1"
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "STAN_NUM_THREADS",
)
REMOTE_VARIABLE = "SPARK_REMOTE"


def session_of(spec: Spec, *, quick: bool = False) -> SparkSession:
    """The session to run a spec in: the platform's, or a local one with the libraries that its storage
    needs. A `quick` one is for a few small tables: it starts fast, and is slow with many rows.
    """
    from manymodels_spark.spec.source import Kafka

    settings = _quick() if quick and starts_java() else {}
    streamed = isinstance(spec.stream, Kafka)
    return get_session(spec.name, azure=needs_azure(spec), kafka=streamed, **settings)


def _quick() -> dict[str, str]:
    options = "spark.driver.extraJavaOptions"
    return {**_QUICK, options: _one_machine()[options].replace(_JAVA, _QUICK_JAVA)}


def sign_in(spark: SparkSession, spec: Spec) -> None:
    """Give the session what it needs to reach the spec's storage; settings that it has already stand."""
    if not needs_azure(spec):
        return
    for name, value in azure_settings().items():
        if _setting(spark, name) is None:
            spark.conf.set(name, value)


def require_utc(spark: SparkSession) -> None:
    """Set the session's time zone to UTC, in which the lake's times are kept.

    Raises ManyModelsError where the platform does not let it be set: all times would be moved.
    """
    from pyspark.errors import PySparkException

    with suppress(PySparkException):
        if spark.conf.get(_TIME_ZONE, None) == "UTC":
            return
        spark.conf.set(_TIME_ZONE, "UTC")
        if spark.conf.get(_TIME_ZONE, None) == "UTC":
            return
    raise ManyModelsError(
        f"{_TIME_ZONE} of the Spark session is {_setting(spark, _TIME_ZONE)!r} and cannot be set here. Times "
        f"are kept in UTC: set {_TIME_ZONE} to UTC where the session or cluster is configured"
    )


def get_session(
    app: str = "manymodels",
    master: str | None = None,
    *,
    azure: bool = False,
    kafka: bool = False,
    **settings: str,
) -> SparkSession:
    """The platform's active session, or a new local one with Delta, which with `azure` reads `abfs://` too,
    and with `kafka` topics.

    `master` is a Spark master (`local[2]`, `spark://...`) for a new session; by default `MANYMODELS_MASTER`
    or all cores of this machine. Raises ManyModelsError where Java is missing or too old.
    """
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    if is_provided():
        return SparkSession.builder.appName(app).getOrCreate()
    remote, master = os.environ.get(REMOTE_VARIABLE), _patient(master)
    if not _is_server(remote):
        require_java()
    for name in _THREADS:
        os.environ.setdefault(name, "1")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(app)
    builder = builder.remote(remote) if remote else builder.master(master)
    for key, value in {**own_settings(remote or master, azure=azure, kafka=kafka), **settings}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def own_settings(master: str = "local", *, azure: bool = False, kafka: bool = False) -> dict[str, str]:
    """Spark's settings where the platform brings none: Delta with its jars, quiet logs, one thread a task.

    For a local master also few partitions and bounded memory; for a Spark Connect server that is there
    already, only what a session may set.
    """
    if _is_server(master):
        return dict(_EVERYWHERE)
    groups = ["core", *(["azure"] if azure else []), *(["kafka"] if kafka else [])]
    jars = ",".join(str(path) for group in groups for path in jar_paths(group))
    executors = {f"spark.executorEnv.{name}": "1" for name in _THREADS} | {
        "spark.executor.extraJavaOptions": _CLOCK
    }
    quiet = {"spark.jars": jars, "spark.ui.showConsoleProgress": "false"}
    settings = {**_DELTA, **_EVERYWHERE, **_REDACTED, **executors, **quiet, **(DRIVER if azure else {})}
    return {**settings, **_one_machine()} if master.startswith("local") else settings


def _one_machine() -> dict[str, str]:
    memory = {"spark.driver.memory": os.environ.get("MANYMODELS_DRIVER_MEMORY", "4g")}
    scratch = {"spark.sql.warehouse.dir": str(Path(".manymodels/spark-warehouse").absolute())}
    files = resources.files(__package__)
    logs, pools = (Path(str(files.joinpath(name))) for name in ("log4j2.properties", "pools.xml"))
    # Java cannot read what is inside a zip.
    quiet = f"-Dlog4j2.configurationFile={logs} " if logs.exists() else ""
    java = {"spark.driver.extraJavaOptions": f"{quiet}{_JAVA} {_CLOCK}"}
    fair = {"spark.scheduler.allocation.file": str(pools)} if pools.exists() else {}
    return {**_ONE_MACHINE, **memory, **scratch, **java, **fair}


def require_java(minimum: int = 17) -> None:
    """Raise ManyModelsError with what to install unless a Java that Spark can use is found."""
    home = os.environ.get("JAVA_HOME")
    found = home and (Path(home) / "bin" / "java").exists()
    if not found and shutil.which("java") is None:
        raise ManyModelsError(
            f"Spark needs Java {minimum} or newer and none was found on PATH or in JAVA_HOME. "
            f"Install it (Debian, Ubuntu: apt-get install openjdk-{minimum}-jre-headless) and run again"
        )


def cores(spark: SparkSession) -> int:
    """How many fits may run at once: the cores of this machine or of the cluster (works on Spark Connect
    too).
    """
    master = _setting(spark, "spark.master") or ""
    if master.startswith("local"):
        inside = master.partition("[")[2].rstrip("]").split(",")[0]
        return int(inside) if inside.isdigit() else os.cpu_count() or 1
    instances = int(_setting(spark, "spark.executor.instances") or 0)
    asked_for = instances * int(_setting(spark, "spark.executor.cores") or 1)
    return max(asked_for, _parallelism(spark))


def shuffle_partitions(spark: SparkSession) -> int:
    """Partitions after a shuffle, by the session's settings; four a core where the platform chooses by
    itself.
    """
    wanted = _setting(spark, "spark.sql.shuffle.partitions") or "auto"
    return int(wanted) if wanted.isdigit() else 4 * cores(spark)


def _parallelism(spark: SparkSession) -> int:
    """Into how many partitions Spark cuts what has no partitions of its own: as many as its executors have
    cores.
    """
    from pyspark.sql import functions as F

    return spark.range(100_000).select(F.spark_partition_id()).distinct().count()


def _setting(spark: SparkSession, name: str) -> str | None:
    """A setting of the session; None where it is not set, or not to be seen, as on Databricks serverless."""
    from pyspark.errors import PySparkException

    try:
        return spark.conf.get(name, None)
    except PySparkException:
        return None


def _is_server(remote: str | None) -> bool:
    """Whether it is the address of a Spark Connect server that runs elsewhere, to which no Java is needed."""
    return (remote or "").startswith("sc://")


def starts_java() -> bool:
    """Whether a session would start a Java of this machine: not on a platform that brings one, nor through
    Connect.
    """
    remote = os.environ.get(REMOTE_VARIABLE, "")
    return not is_provided() and (not remote or remote.startswith("local"))


def is_provided() -> bool:
    """Whether the platform brings its own session: Databricks and Synapse do, and so does spark-submit."""
    markers = ("DATABRICKS_RUNTIME_VERSION", "AZURE_SERVICE", "PYSPARK_GATEWAY_PORT")
    return any(name in os.environ for name in markers)


def _patient(master: str | None) -> str:
    """A local master that retries a failed task as a cluster would: `local[2]` as `local[2,4]`."""
    master = master or os.environ.get("MANYMODELS_MASTER") or "local[*]"
    if master.startswith("local[") and "," not in master:
        return f"{master[:-1]},4]"
    return "local[1,4]" if master == "local" else master
