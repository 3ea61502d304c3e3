"""What a load into Synapse calls its tables and how they are stored;
names, literals and places as T-SQL takes them.

This module must know no statement and no connection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from manymodels_spark.errors import WarehouseError

_NAME_LENGTH = 128
_ABFS = re.compile(r"abfss?://(?P<container>[^@/]+)@(?P<host>[^/:]+)(?::\d+)?/(?P<path>.*)\Z", re.DOTALL)
_DISTRIBUTION = re.compile(
    r"(?P<kind>ROUND_ROBIN|REPLICATE)\Z|HASH\s*\(\s*\[?(?P<column>[^\[\],()]+?)\]?\s*\)\Z", re.IGNORECASE
)


@dataclass(frozen=True)
class Layout:
    """How a table is stored. One with predictions grows without end: columnstore, distributed, bounded text.

    All others are small and may hold long JSON, which a columnstore of Synapse does not take: a heap.
    """

    distribution: str
    columnstore: bool
    bounded: bool

    @classmethod
    def of(cls, distribution: str | None, schema: pa.Schema) -> Layout:
        """From `warehouse.synapse.distribution`: HASH(column), ROUND_ROBIN or REPLICATE.
        Raises WarehouseError.
        """
        if "prediction" not in schema.names:
            return cls("ROUND_ROBIN", False, False)
        written = distribution or ("HASH(partition_id)" if "partition_id" in schema.names else "ROUND_ROBIN")
        found = _DISTRIBUTION.match(written.strip())
        if found is None:
            raise WarehouseError(
                f"warehouse.synapse.distribution: {written!r} cannot be read. Expected HASH(column), "
                "ROUND_ROBIN or REPLICATE"
            )
        if found["kind"]:
            return cls(found["kind"].upper(), True, True)
        if found["column"] not in schema.names:
            raise WarehouseError(
                f"warehouse.synapse.distribution: no column {found['column']!r}. It has: "
                f"{', '.join(schema.names)}"
            )
        return cls(f"HASH({name(found['column'])})", True, True)

    def staging(self, columns: Sequence[str]) -> Layout:
        """A heap with the same distribution as far as the columns allow,
        so that putting rows in place moves none.
        """
        same = any(self.distribution == f"HASH({name(column)})" for column in columns)
        return Layout(self.distribution if same else "ROUND_ROBIN", False, self.bounded)

    @property
    def options(self) -> str:
        """The table's WITH clause."""
        return (
            f"WITH (DISTRIBUTION = {self.distribution}, "
            f"{'CLUSTERED COLUMNSTORE INDEX' if self.columnstore else 'HEAP'})"
        )


@dataclass(frozen=True)
class Names:
    """The tables that one load works with, in one schema. `token` keeps two loads' work apart."""

    schema: str
    table: str
    token: str

    def __post_init__(self) -> None:
        longest = _NAME_LENGTH - len(f"__rows_{self.token}__claimed")
        if len(self.table) > longest:
            raise WarehouseError(
                f"table name {self.table!r} has {len(self.table)} characters; up to {longest} are expected"
            )

    def plain(self, kind: str) -> str:
        """The bare name of a work table: rows, keys, new, old, tried or claimed."""
        return f"{self.table}__{kind}_{self.token}"

    def __getitem__(self, kind: str) -> str:
        return qualified(self.schema, self.plain(kind))

    @property
    def target(self) -> str:
        """The table that people read."""
        return qualified(self.schema, self.table)


def name(identifier: str) -> str:
    """An identifier in brackets. Raises WarehouseError where SQL Server takes no such name."""
    if (
        not identifier
        or len(identifier) > _NAME_LENGTH
        or any(ord(character) < 32 for character in identifier)
    ):
        raise WarehouseError(
            f"column or table {identifier[:40]!r} ({len(identifier)} characters) is no name for Synapse. "
            f"Expected 1 to {_NAME_LENGTH} characters without control characters. Rename it in the source"
        )
    return "[" + identifier.replace("]", "]]") + "]"


def qualified(schema: str, table: str) -> str:
    """A table with its schema."""
    return f"{name(schema)}.{name(table)}"


def text(value: str) -> str:
    """A text literal. Raises WarehouseError for a NUL character, which would end the statement."""
    if "\x00" in value:
        raise WarehouseError(
            f"text {value[:40]!r} holds a NUL character, which Synapse does not take in a statement"
        )
    return "N'" + value.replace("'", "''") + "'"


def url(location: str) -> str:
    """A file or folder of the lake as COPY INTO and OPENROWSET take it:
    https://ACCOUNT.dfs.core.windows.net/...
    """
    if "?" in location:
        raise WarehouseError(
            "warehouse.synapse.staging holds a '?': a shared access signature is a secret and has no place "
            "in a spec"
        )
    if location.startswith("https://"):
        return location
    found = _ABFS.match(location)
    if found is None:
        raise WarehouseError(
            f"Synapse cannot read {location!r}: it reads from Azure storage only. Set "
            "warehouse.synapse.staging (or the lake) to a folder such as "
            "abfss://lake@ACCOUNT.dfs.core.windows.net/export"
        )
    return f"https://{found['host']}/{found['container']}/{found['path']}"


def require_distinct(schema: pa.Schema) -> None:
    """Raise WarehouseError where two columns differ in case only: Synapse takes them for one."""
    seen: dict[str, str] = {}
    for column in schema.names:
        other = seen.setdefault(column.lower(), column)
        if other != column:
            raise WarehouseError(
                f"columns {other!r} and {column!r} are one name to Synapse. Rename one in the source"
            )


def listed(columns: Sequence[str]) -> str:
    """Columns in brackets, with commas."""
    return ", ".join(name(column) for column in columns)
