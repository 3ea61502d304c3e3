"""Where rows come from: the `source:` of a spec and its forms, and values taken from the environment.

Secrets are never resolved when a spec is read: `${NAME}` stays as written until the moment of use, so that no
log, tag or dump of a spec can hold one.
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from manymodels_spark.errors import ManyModelsError

Environ = Annotated[
    str, Field(min_length=1, description="May hold ${NAME}, taken from the environment at use.")
]
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def resolve(value: str) -> str:
    """The text with each `${NAME}` or `${NAME:-default}` replaced from the environment.

    Raises ManyModelsError naming the variable (never a value) where it is not set and has no default.
    """

    def lookup(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        found = os.environ.get(name, default)
        if found is None:
            raise ManyModelsError(
                f"environment variable {name} is not set, and the spec uses ${{{name}}}. Set it and run again"
            )
        return found

    return _VARIABLE.sub(lookup, value)


def variables(value: str) -> list[tuple[str, str | None]]:
    """The (name, default) of each `${NAME}` or `${NAME:-default}` in a text; None where there is no
    default.
    """
    return [(match.group(1), match.group(2)) for match in _VARIABLE.finditer(value)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    watermark: str | None = None
    rename: Annotated[
        dict[str, str], Field(description="The source's name of a column, and the one that the lake gets.")
    ] = {}


class Jdbc(_Form):
    """A database table or query, read in parallel on `partition_column` and incrementally by `watermark`."""

    kind: Literal["jdbc"] = "jdbc"
    url: Environ
    table: str | None = None
    query: str | None = None
    driver: str | None = None
    user: Environ | None = None
    password: Environ | None = None
    partition_column: str | None = None
    partitions: Annotated[int, Field(ge=1, le=1000)] = 8
    fetch_size: Annotated[int, Field(ge=1)] = 10_000
    late: Annotated[str, Field(pattern=r"^\d+[smhd]$")] = "0s"


class Melt(BaseModel):
    """A file with one column per series, or per time: the columns in `keep` stay, and each other column
    becomes rows of their own, with its name in column `name` and its value in column `values`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    keep: list[str] = []
    name: str = "series"
    values: str = "value"


class _Rows(_Form):
    """How a source writes its rows.

    `time_format` is a pattern of Spark's, `epoch_seconds`, `epoch_milliseconds`, `quarter` (2024Q3), `week`
    (2024-W05), or `nanoseconds` of a Parquet file. Columns in `decimal_comma` write 1.234,5.
    """

    melt: Melt | None = None
    time_format: str | None = None
    decimal_comma: list[str] = []


class Wide(BaseModel):
    """A file with one row per series: its id in column `id`, its values in all other columns, the oldest
    first.

    It becomes one row per value: columns `name` (the id), `time` (from `start` on, a step of `frequency`
    each) and `values`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str
    name: str = "series"
    time: str = "time"
    values: str = "value"
    start: str = "2000-01-01"
    frequency: str = "D"


class Files(_Rows):
    """CSV, JSON or Parquet files; `path` may be a file, a folder or a glob."""

    kind: Literal["csv", "json", "parquet"]
    path: Environ
    options: dict[str, str] = {}
    wide: Wide | None = None


class Delta(_Rows):
    """A Delta table by path or by `catalog.schema.table`."""

    kind: Literal["delta"] = "delta"
    path: Environ | None = None
    table: str | None = None
    version: int | None = None


class StreamFiles(BaseModel):
    """A folder that files with rows to predict arrive in; each is read once."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["csv", "json", "parquet"]
    path: Environ
    options: dict[str, str] = {}
    checkpoint: Environ | None = None


class Kafka(BaseModel):
    """A Kafka topic, or an Event Hub by its Kafka endpoint, whose messages are JSON objects with a row each.

    `options` go to Spark's Kafka source; a value may hold ${NAME}.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["kafka"] = "kafka"
    servers: Environ
    topic: str
    options: dict[str, str] = {}
    checkpoint: Environ | None = None


def _form(value: Any) -> Any:
    """`{csv: path}` or `{jdbc: {...}}` as the form that it names."""
    if isinstance(value, dict) and len(value) == 1 and "kind" not in value:
        ((kind, options),) = value.items()
        if isinstance(options, str):
            options = {"url" if kind == "jdbc" else "path": options}
        return {"kind": kind, **(options or {})}
    return value


Source = Annotated[
    Annotated[Jdbc | Files | Delta, Field(discriminator="kind")],
    BeforeValidator(_form),
]
Stream = Annotated[
    Annotated[StreamFiles | Kafka, Field(discriminator="kind")],
    BeforeValidator(_form),
]
