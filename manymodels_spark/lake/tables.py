"""The Delta tables of one spec in the lake: their names, and reads and writes that may be repeated safely.

A lake is a path (`/data/lake`, `abfss://...`) or a schema of a catalog (`main.forecasts`).
Everything goes through DataFrames and SQL, so that Spark Connect runs all of it.
This module must know no stage and no MLflow.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manymodels_spark.errors import ConcurrentWrite, ManyModelsError
from manymodels_spark.lake.local_log import Detail, LocalLog
from manymodels_spark.spark.names import quote
from manymodels_spark.spec.source import resolve

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BRONZE = "bronze"
CALENDAR = "calendar"
SILVER = "silver"
PARTITIONS = "partitions"
QUALITY = "quality"
FITS = "fits"
MODELS = "models"
QUARANTINE = "quarantine"
PROMOTIONS = "promotions"
CHAMPIONS = "champions"
PREDICTIONS = "predictions"
UNSCORED = "unscored"
STREAMED = "streamed"
RUNS = "runs"
MONITORING = "monitoring"
ALERTS = "alerts"
ACTUALS = "actuals"
METRICS = "metrics"
PROGRESS = "progress"
SCORING = "scoring"
# Every table, and the stage that writes it.
WRITERS = {
    BRONZE: "ingest",
    CALENDAR: "ingest",
    SILVER: "prepare",
    PARTITIONS: "prepare",
    QUALITY: "prepare",
    FITS: "train",
    MODELS: "train",
    QUARANTINE: "train",
    PROGRESS: "train",
    PROMOTIONS: "promote",
    CHAMPIONS: "promote",
    PREDICTIONS: "score",
    UNSCORED: "score",
    SCORING: "score",
    STREAMED: "stream-score",
    MONITORING: "monitor",
    ALERTS: "monitor",
    ACTUALS: "load",
    METRICS: "load",
    RUNS: "run",
}

_CONFLICT = re.compile(
    r"DELTA_(CONCURRENT_|METADATA_CHANGED|PROTOCOL_CHANGED)|Concurrent(Append|Delete|Write|Transaction)\w*Exception"
)
_UNUSUAL = re.compile(r"[ ,;{}()\n\t=]")
_CATALOG = re.compile(r"\w+(\.\w+)?\Z")


@dataclass(frozen=True)
class Lake:
    """The tables of one spec. `root` is resolved: no variable is left in it."""

    spark: SparkSession
    root: str
    spec: str
    _found: set[str] = field(default_factory=set, compare=False, repr=False)

    @classmethod
    def of(cls, spark: SparkSession, location: str, spec: str) -> Lake:
        """The lake of a spec, from the `lake:` line as written."""
        root = resolve(location)
        if not _CATALOG.match(root) and "://" not in root and not root.startswith("/"):
            root = str(Path(root).absolute())
        return cls(spark, root.rstrip("/"), spec)

    @property
    def is_catalog(self) -> bool:
        """Whether tables have names in a catalog instead of paths."""
        return _CATALOG.match(self.root) is not None

    def location(self, table: str) -> str:
        """The path of a table, or its name in the catalog."""
        return f"{self.root}.{self.spec}_{table}" if self.is_catalog else f"{self.root}/{self.spec}/{table}"

    def ref(self, table: str) -> str:
        """The table as SQL names it."""
        if self.is_catalog:
            return ".".join(quote(part) for part in self.location(table).split("."))
        return f"delta.{quote(self.location(table))}"

    def exists(self, table: str) -> bool:
        """Whether the table has been written. Asked of the lake until it says yes:
        tables are never taken away.
        """
        if table not in self._found and self._is_there(table):
            self._found.add(table)
        return table in self._found

    def _is_there(self, table: str) -> bool:
        if self.is_catalog:
            return bool(self.spark.catalog.tableExists(self.location(table)))
        return self.detail(table) is not None

    def detail(self, table: str) -> Detail | None:
        """What the table is now; None where it has not been written."""
        if (log := self._local_log(table)) and not log.is_there:
            return None
        found = (log.detail() if log else None) or self._described(table)
        if found is not None:
            self._found.add(table)
        return found

    def _described(self, table: str) -> Detail | None:
        from pyspark.errors import AnalysisException

        try:
            row = self.spark.sql(f"DESCRIBE DETAIL {self.ref(table)}").first()
        except AnalysisException as error:
            if "DELTA" in str(error) or "NOT_FOUND" in str(error):
                return None
            raise
        if row is None:
            return None
        return Detail(
            row["id"],
            row["location"],
            tuple(row["partitionColumns"]),
            dict(row["properties"] or {}),
            frozenset(row["tableFeatures"] or ()),
            row["minReaderVersion"],
        )

    def read(self, table: str, version: int | None = None) -> DataFrame:
        """The table, at a version where one is given.
        Raises ManyModelsError naming the stage to run first.
        """
        self._require(table)
        reader = self.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        return reader.table(self.location(table)) if self.is_catalog else reader.load(self.location(table))

    def _require(self, table: str) -> None:
        if not self.exists(table):
            raise ManyModelsError(
                f"table {self.location(table)} does not exist yet. Run the stage that writes it: "
                f"{_writer(table)}"
            )

    def ensure(self, table: str, schema: str) -> None:
        """Create the table, empty, where it does not exist:
        the first writers at work at once must not race for it.
        """
        if not self.exists(table):
            self.append(table, self.spark.createDataFrame([], schema))

    def append(
        self,
        table: str,
        rows: DataFrame,
        *,
        once: str | None = None,
        number: int = 1,
        by: Sequence[str] = (),
        note: str | None = None,
    ) -> None:
        """Add rows. With `once` (a token of the writer) a call with a number that is
        not above the last adds nothing.
        """
        writer = rows.write.format("delta").mode("append").option("mergeSchema", "true")
        if by:
            writer = writer.partitionBy(*by)
        if once is not None:
            writer = writer.option("txnAppId", once).option("txnVersion", number)
        self._save(writer, table, note, _needs_mapping(rows))

    def overwrite(
        self,
        table: str,
        rows: DataFrame,
        *,
        where: str | None = None,
        by: Sequence[str] = (),
        note: str | None = None,
    ) -> None:
        """Replace the whole table, or only the rows that `where` (SQL) selects, in one commit."""
        writer = rows.write.format("delta").mode("overwrite")
        if by:
            writer = writer.partitionBy(*by)
        if where is not None and self.exists(table):
            writer = writer.option("replaceWhere", where).option("mergeSchema", "true")
        else:
            writer = writer.option("overwriteSchema", "true")
        self._save(writer, table, note, _needs_mapping(rows))

    def merge(
        self,
        table: str,
        rows: DataFrame,
        keys: Sequence[str],
        *,
        delete_where: str | None = None,
        only_new: bool = False,
    ) -> None:
        """Update the rows with equal keys (null-safe) and insert the others, in one commit;
        `only_new` inserts alone.

        `delete_where` names a boolean column of `rows` (not of the table):
        rows of the table that it marks go. Raises ConcurrentWrite where another writer was quicker:
        unlike two appends, two merges never both succeed unseen.
        """
        if not self.exists(table):
            self.append(table, rows)
            return
        present = set(self.read(table).columns)
        if any(name not in present for name in rows.columns if name != delete_where):
            self.append(
                table, rows.drop(*([delete_where] if delete_where else [])).limit(0)
            )  # a new column is kept
        view = f"merge_{uuid.uuid4().hex}"  # another thread may be merging too
        rows.createOrReplaceTempView(view)
        on = " AND ".join(f"t.{quote(key)} <=> s.{quote(key)}" for key in keys)
        columns = [quote(name) for name in rows.columns if name != delete_where]
        update = ", ".join(f"t.{name} = s.{name}" for name in columns)
        insert = f"({', '.join(columns)}) VALUES ({', '.join(f's.{name}' for name in columns)})"
        delete = f"WHEN MATCHED AND s.{quote(delete_where)} THEN DELETE " if delete_where else ""
        change = "" if only_new else f"{delete}WHEN MATCHED THEN UPDATE SET {update} "
        with write_lock(table):
            self.spark.sql(
                f"MERGE INTO {self.ref(table)} t USING {view} s ON {on} {change}WHEN NOT MATCHED THEN "
                f"INSERT {insert}"
            )
        self.spark.catalog.dropTempView(view)

    def version(self, table: str) -> int:
        """The newest version of the table. Raises ManyModelsError naming the stage to run first."""
        self._require(table)
        if log := self._local_log(table):
            return log.version
        row = self.spark.sql(f"DESCRIBE HISTORY {self.ref(table)} LIMIT 1").first()
        return int(row["version"]) if row else 0

    def note(self, table: str) -> str | None:
        """What the newest commit that says anything says of itself (see `note` of the writers)."""
        if not self.exists(table):
            return None
        return next((note for _, note in self._notes(table, 50)), None)

    def notes(self, table: str, since: int) -> list[str]:
        """What the commits after version `since` say of themselves, in the order in which they were made."""
        return [note for version, note in reversed(self._notes(table, 100)) if version > since]

    def _notes(self, table: str, count: int) -> list[tuple[int, str]]:
        """Version and note of those of the last commits that have one, the newest first."""
        if log := self._local_log(table):
            commits = [(version, info.get("userMetadata")) for version, info in log.commits(count)]
        else:
            history = self.spark.sql(f"DESCRIBE HISTORY {self.ref(table)} LIMIT {count}")
            rows = history.select("version", "userMetadata").collect()
            commits = sorted(((int(row[0]), row[1]) for row in rows), reverse=True)
        return [(version, str(note)) for version, note in commits if note is not None]

    def written(self, table: str) -> int:
        """Rows that the newest commit wrote, as Delta counted them."""
        if log := self._local_log(table):
            metrics = log.commits(1)[0][1].get("operationMetrics", {})
            return int(metrics.get("numOutputRows", 0))
        row = self.spark.sql(f"DESCRIBE HISTORY {self.ref(table)} LIMIT 1").select("operationMetrics").first()
        return int(row["operationMetrics"].get("numOutputRows", 0)) if row else 0

    def _local_log(self, table: str) -> LocalLog | None:
        return None if self.is_catalog else LocalLog.of(self.spark, self.location(table))

    def _save(self, writer: Any, table: str, note: str | None, mapped: bool) -> None:
        if note is not None:
            writer = writer.option("userMetadata", note)
        if mapped:
            writer = writer.option("delta.columnMapping.mode", "name")
        with write_lock(table):
            if self.is_catalog:
                writer.saveAsTable(self.location(table))
            else:
                writer.save(self.location(table))
        self._found.add(table)


@contextmanager
def write_lock(table: str) -> Iterator[None]:
    """Delta's refusal of the later of two writes, as ConcurrentWrite."""
    try:
        yield
    except Exception as error:  # PySpark's own, or Py4J's where PySpark does not know the Java class
        if not _CONFLICT.search(str(error)):
            raise
        raise ConcurrentWrite(
            f"table {table} was written by another process at the same moment, and this write was not made. "
            "Wait for the other to end and run again"
        ) from error


def union(frames: Sequence[DataFrame]) -> DataFrame:
    """Frames below each other, by column name."""
    return reduce(lambda left, right: left.unionByName(right, allowMissingColumns=True), frames)


def _needs_mapping(rows: DataFrame) -> bool:
    """Whether a column's name holds a character that Parquet takes only under another name,
    which Delta then maps.
    """
    return any(_UNUSUAL.search(name) for name in rows.columns)


def _writer(table: str) -> str:
    return f"manymodels {WRITERS.get(table, 'run')} SPEC"
