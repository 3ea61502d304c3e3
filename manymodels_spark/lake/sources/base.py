"""What all sources share: the batch that they give, and how their errors are shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from manymodels_spark.spark.names import quote
from manymodels_spark.spec.source import Jdbc, Source, resolve

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SOURCE, BATCH, INGESTED_AT = "_source", "_batch", "_ingested_at"
AUDIT = (SOURCE, BATCH, INGESTED_AT)
_ADVICE = {
    "TIMESTAMP(NANOS": "Spark reads no times in nanoseconds, which is how pandas writes them: "
    "set `time_format: nanoseconds` below the source",
}


@dataclass(frozen=True)
class Batch:
    """Rows to copy, with `_source` and `_batch`, and what they do to those that are there.

    `append` adds them, `replace` takes the place of everything, `files` of the rows of the named `_source`s.
    """

    rows: DataFrame
    mode: Literal["append", "replace", "files"]
    sources: tuple[str, ...] = ()


def digest(rows: DataFrame) -> tuple[int, int]:
    """Row count and a sum of row hashes: equal for equal rows in any order (one pass, no shuffle of rows)."""
    from pyspark.sql import functions as F

    columns = sorted(name for name in rows.columns if name not in AUDIT)
    hashed = F.pmod(F.xxhash64(*(F.col(quote(name)).cast("string") for name in columns)), F.lit(2**31))
    row = rows.agg(F.count("*").alias("n"), F.sum(hashed).alias("h")).first()
    return (int(row["n"]), int(row["h"] or 0)) if row else (0, 0)


def first_line(error: Exception, source: Source) -> str:
    """The line of a long trace that says what happened, with the source's secrets blotted out and, where it
    is known, what to do.
    """
    text = f"{error}\n{getattr(error, '_stackTrace', '') or ''}"
    causes = re.findall(
        r"(?:Caused by: )?[\w.$]*(?:SQLException|PSQLException|SQLTransientException|UnknownHost\w*): (.+)",
        text,
    )
    line = (
        causes[-1]
        if causes
        else next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    )
    if isinstance(source, Jdbc):
        for secret in (source.password, source.user):
            if secret:
                line = line.replace(resolve(secret), "***")
    advice = "".join(f" {what}" for sign, what in _ADVICE.items() if sign in line)
    return re.sub(r"(?i)(password|pwd)=[^;&\s]+", r"\1=***", line)[:500] + advice
