"""Exports: one exact version of a lake table as Parquet files that a warehouse reads.

A Delta folder also holds files that the table's log has removed, so it is never handed over as it lies. This
module must know no warehouse's SQL.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.lake.local_log import Detail
from manymodels_spark.lake.tables import Lake
from manymodels_spark.spark.names import quote
from manymodels_spark.spark.workers import mapped
from manymodels_spark.warehouse.base import Export
from manymodels_spark.warehouse.checksum import Checksum
from manymodels_spark.warehouse.digest import batch_checksum, total

ROWS_PER_FILE = 1_000_000
_MARKS = ("run_id", "scored_at")


@dataclass
class Exporter:
    """Writes exports below a staging folder and takes them away again. `staging` must be reached by all
    executors.

    With `local` the files must lie on this machine: they are fetched one by one where the staging folder does
    not.
    """

    lake: Lake
    staging: str | None = None
    local: bool = True
    _temporary: list[str] = field(default_factory=list)
    _details: dict[str, Detail] = field(default_factory=dict)

    def whole(self, table: str, version: int, leave_out: Sequence[str] = ()) -> Export:
        """All rows of a version. A plain table on this machine's disk is given as the files of its
        snapshot.
        """
        raw = self.lake.read(table, version)
        rows = plain(raw, leave_out)
        files = self._snapshot(table, raw) if self.local and rows.columns == raw.columns else None
        checksum = None
        if files is None:
            folder = f"{table}/v{version}/rows"
            files = self._written(rows, folder)
            checksum = self._checksum(folder, arrow_schema(rows))
        count = _rows_in(files) if self.local else raw.count()
        return Export(self.identity(table), version, arrow_schema(rows), count, files, checksum=checksum)

    def in_lake(self, table: str, version: int) -> Export:
        """The Delta table itself, for a warehouse that reads it where it lies; its only file is its
        folder.
        """
        raw = self.lake.read(table, version)
        _require_first_reader(table, self._detail(table))
        place = self._detail(table).location
        return Export(self.identity(table), version, arrow_schema(plain(raw)), raw.count(), (place,))

    def changed(self, table: str, version: int, base: int, key: tuple[str, ...]) -> Export | None:
        """The rows of the keys that differ between two versions; None where this is not known any more."""
        rows = plain(self.lake.read(table, version))
        folder = f"{table}/v{version}-from-v{base}"
        try:
            before = plain(self.lake.read(table, base))
            if before.schema != rows.schema:
                return None
            replaces = self._written(_differing(before, rows, key), f"{folder}/keys")
        except PySparkException:
            return None  # the older version's files are gone (VACUUM): the whole version is loaded
        keys = self.lake.spark.read.parquet(self._folder(f"{folder}/keys")).alias("k")
        same = [rows[name].eqNullSafe(keys[name]) for name in key]
        chosen = rows.join(keys, same, "left_semi")
        files = self._written(chosen, f"{folder}/rows")
        written = self.lake.spark.read.parquet(self._folder(f"{folder}/rows"))
        count = _rows_in(files) if self.local else written.count()
        checksum = self._checksum(f"{folder}/rows", arrow_schema(rows))
        return Export(
            self.identity(table), version, arrow_schema(rows), count, files, key, replaces, base, checksum
        )

    def exists(self, table: str) -> bool:
        """Whether the table has been written."""
        return self._looked_up(table) is not None

    def identity(self, table: str) -> str:
        """The table's own id, which changes when the table is created anew."""
        return self._detail(table).id

    def clear(self) -> None:
        """Remove what was written: files on this machine; elsewhere the rows, leaving an empty file."""
        for folder in self._temporary:
            if "://" not in folder:
                shutil.rmtree(folder, ignore_errors=True)
                _remove_empty(Path(folder).parents[:3])
            else:
                self.lake.spark.range(0).write.mode("overwrite").parquet(folder)
        self._temporary.clear()

    def _detail(self, table: str) -> Detail:
        detail = self._looked_up(table)
        if detail is None:
            raise ManyModelsError(f"table {self.lake.location(table)} does not exist any more")
        return detail

    def _looked_up(self, table: str) -> Detail | None:
        """What the table is, asked once; None where it has not been written yet."""
        if table not in self._details and (detail := self.lake.detail(table)):
            self._details[table] = detail
        return self._details.get(table)

    def _snapshot(self, table: str, raw: DataFrame) -> tuple[str, ...] | None:
        """The files of a version, where they hold just its rows and columns: no partitions, no row marked
        deleted.
        """
        detail = self._detail(table)
        special = {"deletionVectors", "columnMapping", "typeWidening"} & detail.features
        mapped = detail.properties.get("delta.columnMapping.mode", "none") != "none"
        is_here = detail.location.startswith("file:")
        if special or mapped or _has_nested(raw) or detail.partition_columns or not is_here:
            return None
        return tuple(_local_path(uri) for uri in raw.inputFiles())

    def _folder(self, name: str) -> str:
        if self.staging is None and self.lake.is_catalog:
            raise ManyModelsError(
                f"the lake {self.lake.root} is a catalog, and a load needs a folder to export to. Say where, "
                "e.g. warehouse: {...: {staging: /Volumes/main/forecasts/export}}, or an abfss:// path"
            )
        return f"{self.staging or f'{self.lake.root}/{self.lake.spec}/_export'}/{name}"

    def _written(self, rows: DataFrame, name: str) -> tuple[str, ...]:
        folder = self._folder(name)
        self._temporary.append(folder)
        rows.write.mode("overwrite").option("maxRecordsPerFile", ROWS_PER_FILE).parquet(folder)
        if "://" not in folder:
            return tuple(sorted(str(path) for path in Path(folder).glob("*.parquet")))
        return self._fetched(folder) if self.local else (f"{folder}/*.parquet",)

    def _checksum(self, name: str, schema: pa.Schema) -> Checksum | None:
        """The checksum of what was written, by executors, where a warehouse reads the files without us."""
        if self.local:
            return None
        rows = self.lake.spark.read.parquet(self._folder(name))
        parts = mapped(rows, _digests(schema), "numbers array<bigint>").collect()
        return total((Checksum.of(part["numbers"]) for part in parts), schema)

    def _fetched(self, folder: str) -> tuple[str, ...]:
        """Copies of remote files on this machine, one in memory at a time."""
        spark = self.lake.spark
        target = tempfile.mkdtemp(prefix="manymodels-export-")
        self._temporary.append(target)
        files = []
        for number, uri in enumerate(spark.read.parquet(folder).inputFiles()):
            part = spark.read.parquet(uri)
            files.append(f"{target}/{number:05d}.parquet")
            pq.write_table(_arrow(part), files[-1])
        return tuple(files)


def _require_first_reader(table: str, detail: Detail) -> None:
    """Raise ManyModelsError where Delta's first reader version cannot read the table, which is the only one
    that Synapse's serverless endpoint knows.
    """
    found = detail.reader_version
    if found > 1:
        features = ", ".join(sorted(detail.features)) or "column mapping"
        raise ManyModelsError(
            f"table {table} has Delta reader version {found} ({features}), and Synapse's serverless endpoint "
            "reads version 1 only. Rename columns that hold spaces or any of ,;{}()= (source: rename), and "
            "write the lake anew: with warehouse.synapse.serverless it has no deletion vectors"
        )


def plain(rows: DataFrame, leave_out: Sequence[str] = ()) -> DataFrame:
    """Columns that every warehouse holds: instants as UTC without a zone, nested values as JSON text."""
    kept = [item for item in rows.schema.fields if item.name not in leave_out]
    return rows.select(*(_cell(rows, item.name, item.dataType).alias(item.name) for item in kept))


def arrow_schema(rows: DataFrame) -> pa.Schema:
    """The Arrow schema of rows that are plain."""
    schema: pa.Schema = to_arrow_schema(rows.schema)
    return pa.schema([pa.field(item.name, item.type) for item in schema])


def _cell(rows: DataFrame, name: str, kind: Any) -> Column:
    cell = rows[quote(name)]
    if isinstance(kind, T.TimestampType):
        local = cell.cast("timestamp_ntz")
        return F.convert_timezone(F.current_timezone(), F.lit("UTC"), local)
    if isinstance(kind, (T.ArrayType, T.MapType, T.StructType)):
        return F.to_json(cell)
    return cell


def _digests(schema: pa.Schema) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """One row per batch: its count, a sum per column and the mixed one. Text is hashed as UTF-16, as SQL
    Server has it.
    """

    def digests(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found = batch_checksum(
                pa.Table.from_batches([batch]).select(schema.names).cast(schema), "utf-16-le"
            )
            numbers = pa.array([[found.rows, *found.columns, found.mixed]], pa.list_(pa.int64()))
            yield pa.RecordBatch.from_arrays([numbers], ["numbers"])

    return digests


def _has_nested(rows: DataFrame) -> bool:
    return any(
        isinstance(item.dataType, (T.ArrayType, T.MapType, T.StructType)) for item in rows.schema.fields
    )


def _differing(before: DataFrame, after: DataFrame, key: tuple[str, ...]) -> DataFrame:
    """The keys whose rows came, went or were written again: those that another run wrote, or whose count
    differs.
    """
    marks = [*key, *(name for name in _MARKS if name in after.columns)]
    was, now = before.groupBy(*marks).count(), after.groupBy(*marks).count()
    return was.exceptAll(now).unionByName(now.exceptAll(was)).select(*key).distinct()


def _arrow(part: DataFrame) -> pa.Table:
    if hasattr(part, "toArrow"):
        return part.toArrow()
    return pa.Table.from_pandas(part.toPandas(), schema=arrow_schema(part), preserve_index=False)


def _rows_in(files: Sequence[str]) -> int:
    """The rows of Parquet files on this machine, as their footers say."""
    return sum(pq.read_metadata(file).num_rows for file in files)


def _local_path(uri: str) -> str:
    return unquote(urlparse(uri).path)


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove the folders above an export, up to `_export`, as far as nobody else has something in them."""
    for folder in folders:
        if any(folder.glob("*")) or not folder.exists():
            return
        folder.rmdir()
        if folder.name == "_export":
            return
