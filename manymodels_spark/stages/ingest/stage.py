"""Ingest: copy what is new at the source into the lake, every row with its source, batch and time.

Nothing is typed or corrected here. What the spec needs must be there, and a column must not change its type.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from manymodels_spark.errors import SourceError
from manymodels_spark.lake.sources import Batch, describe, new_rows, read
from manymodels_spark.lake.sources.base import AUDIT, BATCH, INGESTED_AT, SOURCE, digest
from manymodels_spark.lake.tables import BRONZE, CALENDAR, Lake
from manymodels_spark.spark.names import literal, quote
from manymodels_spark.spec.model import Spec
from manymodels_spark.stages.runs.job import Job, StageReport


def ingest(
    job: Job, *, full_refresh: bool = False, narrow: Callable[[DataFrame], DataFrame] | None = None
) -> StageReport:
    """Bring table `bronze` up to date with the source, and `calendar` where the spec has one. `narrow`
    chooses among the source's rows, for a trial on some of them.

    Counts: rows (all), new. Raises SourceError where the source cannot be read, is empty, lacks a column of
    the spec, or changed a column's type; nothing is written then.
    """
    lake, spec = job.lake, job.spec
    with job.stage("ingest") as report:
        version = lake.version(BRONZE) if lake.exists(BRONZE) and not full_refresh else None
        seen = None if version is None else lake.read(BRONZE, version)
        batch = new_rows(job.spark, spec.source, seen, _times(spec))
        if batch is not None:
            check_columns(spec, batch.rows.columns)
            rows = batch.rows if narrow is None else narrow(batch.rows)
            _write(lake, _like(replace(batch, rows=rows), seen), full_refresh, version)
        new = 0 if batch is None else lake.written(BRONZE)
        # What was just written is the whole table, where Delta says how much that was; else it is counted.
        known = seen is None and (batch is None or new > 0)
        total = new if known else lake.read(BRONZE).count()
        if total == 0:
            raise SourceError(
                f"source {describe(spec.source)} is empty: no row to train on. "
                "Check the table or path, and the query"
            )
        _refresh_calendar(job)
        report.counts.update(rows=total, new=new)
        report.note = f"{total:,} rows, {new:,} new"
    return report


def check_columns(spec: Spec, present: list[str]) -> None:
    """Raise SourceError naming every column of the spec that the source lacks, with the nearest that it
    has.
    """
    columns = spec.columns
    roles = {f"partition_by[{number}]": name for number, name in enumerate(spec.partition_by)}
    roles |= {"columns.target": columns.target}
    single = {"time": columns.time, "id": columns.id, "group": columns.group}
    roles |= {f"columns.{role}": name for role, name in single.items() if name is not None}
    if spec.prepare.closed.column and spec.prepare.calendar is None:
        roles["prepare.closed.column"] = spec.prepare.closed.column
    for part in ("known_future", "features", "static"):
        roles |= {f"columns.{part}[{number}]": name for number, name in enumerate(getattr(columns, part))}
    missing = {role: name for role, name in roles.items() if name not in present}
    if missing:
        lines = [f"  {role}: no column {name!r}.{_nearest(name, present)}" for role, name in missing.items()]
        has = ", ".join(name for name in present if name not in AUDIT)
        raise SourceError(
            f"source {describe(spec.source)} lacks columns of the spec\n"
            + "\n".join(lines)
            + f"\nIt has: {has}"
        )


def _times(spec: Spec) -> tuple[str, ...]:
    return (spec.columns.time,) if spec.columns.time else ()


def _nearest(name: str, present: list[str]) -> str:
    close = difflib.get_close_matches(name, present, 1, 0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def _like(batch: Batch, seen: DataFrame | None) -> Batch:
    """The batch with the types that bronze has. A new column is kept; one that vanished or changed is an
    error.
    """
    if seen is None or batch.mode == "replace":
        return batch
    changed = [*_vanished(batch.rows.columns, seen.columns), *_retyped(batch.rows.schema, seen.schema)]
    if changed:
        raise SourceError(
            "the source is not what it was\n"
            + "\n".join(f"  {line}" for line in changed)
            + "\nCorrect the source, or copy it anew as it is with `manymodels ingest SPEC --full`"
        )
    known = {field.name: field.dataType for field in seen.schema}
    rows = batch.rows.select(
        *(
            batch.rows[quote(name)].cast(known[name]).alias(name)
            if name in known
            else batch.rows[quote(name)]
            for name in batch.rows.columns
        )
    )
    return Batch(rows, batch.mode, batch.sources)


def _vanished(now: list[str], before: list[str]) -> list[str]:
    return [f"column {name!r} vanished" for name in before if name not in now and name not in AUDIT]


def _retyped(now: StructType, before: StructType) -> list[str]:
    """Columns whose values would not survive a cast into the type that bronze has."""
    known = {field.name: field.dataType.simpleString() for field in before}
    return [
        f"column {field.name!r} was {known[field.name]} and is {field.dataType.simpleString()} now"
        for field in now
        if field.name in known and not _fits(field.dataType.simpleString(), known[field.name])
    ]


def _fits(new: str, old: str) -> bool:
    wider = {
        "int": {"bigint", "double"},
        "bigint": {"double"},
        "float": {"double"},
        "smallint": {"int", "bigint", "double"},
        "date": {"timestamp"},
        # Version 0.1.0 copied a database's times without zone as instants in UTC.
        "timestamp_ntz": {"timestamp"},
        "void": {old},
    }
    return new == old or old in wider.get(new, set()) or old == "string"


def _write(lake: Lake, batch: Batch, full_refresh: bool, version: int | None) -> None:
    """Write what is new beside `version` of the table, None where there is none; of two that add to the same
    one, one does.
    """
    rows = batch.rows.withColumn(INGESTED_AT, F.current_timestamp())
    ordered = rows.select(
        *(quote(name) for name in rows.columns if name not in AUDIT), SOURCE, BATCH, INGESTED_AT
    )
    if batch.mode == "replace" or full_refresh:
        lake.overwrite(BRONZE, ordered)
    elif batch.mode == "files":
        names = ", ".join(literal(name) for name in batch.sources)
        lake.overwrite(BRONZE, ordered, where=f"{SOURCE} IN ({names})")
    else:
        lake.append(BRONZE, ordered, once="ingest", number=0 if version is None else version + 1)


def _refresh_calendar(job: Job) -> None:
    """Copy what is known of the days to come, where that changed."""
    spec, lake = job.spec, job.lake
    if spec.prepare.calendar is None:
        return
    time = str(spec.columns.time)
    rows = read(job.spark, spec.prepare.calendar, _times(spec))
    required = [time, *spec.columns.known_future]
    if spec.prepare.closed.column not in (None, *lake.read(BRONZE).columns):
        required.append(str(spec.prepare.closed.column))
    missing = [name for name in required if name not in rows.columns]
    if missing:
        raise SourceError(
            f"prepare.calendar: {describe(spec.prepare.calendar)} lacks {', '.join(missing)}. It must have "
            f"{time}, every column of columns.known_future, and that of prepare.closed.column where the "
            f"source has none. It has: "
            f"{', '.join(n for n in rows.columns if n not in AUDIT)}"
        )
    keys = [name for name in spec.partition_by if name in rows.columns]
    also = [name for name in [spec.prepare.closed.column] if name in rows.columns]
    names = dict.fromkeys([*keys, time, *spec.columns.known_future, *also])
    wanted = rows.select(*(quote(str(name)) for name in names))
    found = str(digest(wanted))
    if found != lake.note(CALENDAR):
        lake.overwrite(CALENDAR, wanted, note=found)
