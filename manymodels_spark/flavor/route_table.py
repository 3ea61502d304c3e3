"""The routes of a spec: for every partition its champion, as two small files that any machine can read.

`routes.parquet` has a row per partition (partition_id, key, model_id, sha256, location),
sorted by id, and `routes.json` what is equal for all of them. They are made of MLflow's tags alone.
No MLflow and no Spark here.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson

from manymodels_spark.errors import PayloadError
from manymodels_spark.keys import PartitionKey, Value, typed

if TYPE_CHECKING:
    import pyarrow as pa

TABLE, HEAD = "routes.parquet", "routes.json"
FORMAT = 1


class Route(NamedTuple):
    """Where one partition's champion is. `key` is canonical, `location` the folder of its files."""

    partition_id: str
    key: str
    model_id: str
    sha256: str
    location: str


@dataclass(frozen=True)
class Shape:
    """What all partitions of a spec share. `kinds` is each partition column's type as
    `keys` names it ("" where mixed).
    """

    spec: str
    task: str
    columns: tuple[str, ...]
    kinds: Mapping[str, str]
    time: str | None
    horizon: int
    levels: tuple[int, ...]
    memory_mb: float = 512


@dataclass(frozen=True)
class Routes:
    """All routes of a spec, in little memory: 20 bytes a partition and Arrow's columns."""

    shape: Shape
    table: pa.Table
    _ids: np.ndarray = field(repr=False, compare=False)

    @classmethod
    def of(cls, shape: Shape, routes: Iterable[Route]) -> Routes:
        """Routes of these partitions."""
        import pyarrow as pa

        ordered = sorted(routes)
        columns = {name: [getattr(route, name) for route in ordered] for name in Route._fields}
        schema = pa.schema([(name, pa.string()) for name in Route._fields])
        return cls._indexed(shape, pa.table(columns, schema=schema))

    @classmethod
    def read(cls, folder: Path) -> Routes:
        """The inverse of `files`. Raises PayloadError where they are damaged."""
        import pyarrow.parquet as pq

        try:
            head = orjson.loads((folder / HEAD).read_bytes())
            _require_known(int(head.pop("format", 1)))
            shape = Shape(**{**head, "columns": tuple(head["columns"]), "levels": tuple(head["levels"])})
            return cls._indexed(shape, pq.read_table(io.BytesIO((folder / TABLE).read_bytes())))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PayloadError(
                f"the routes in {folder} cannot be read ({error}). Promote again, or run `manymodels index "
                "SPEC`"
            ) from error

    @classmethod
    def _indexed(cls, shape: Shape, table: pa.Table) -> Routes:
        return cls(shape, table, np.array(table["partition_id"].to_pylist(), dtype="S20"))

    def __len__(self) -> int:
        return len(self._ids)

    def files(self) -> dict[str, bytes]:
        """File name to content."""
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(self.table, buffer, compression="zstd")
        head = {"format": FORMAT, **asdict(self.shape)}
        return {HEAD: orjson.dumps(head, option=orjson.OPT_INDENT_2), TABLE: buffer.getvalue()}

    @property
    def digest(self) -> str:
        """Equal for equal champions, whenever and in whatever order they were written down."""
        lines = zip(
            *(self.table[name].to_pylist() for name in ("partition_id", "model_id", "sha256")), strict=True
        )
        shape = asdict(self.shape)
        return hashlib.sha256(orjson.dumps([shape, list(lines)], option=orjson.OPT_SORT_KEYS)).hexdigest()

    def find(self, partition_id: str) -> Route | None:
        """The route of a partition, None where it has no champion."""
        position = int(np.searchsorted(self._ids, partition_id.encode()))
        if position == len(self._ids) or self._ids[position] != partition_id.encode():
            return None
        return Route(*(self.table[name][position].as_py() for name in Route._fields))

    def key_of(self, values: Sequence[Any]) -> PartitionKey:
        """The key of one row's values, in the order of `shape.columns`.
        Raises ValueError naming the column.
        """
        pairs: dict[str, Value] = {}
        for name, value in zip(self.shape.columns, values, strict=True):
            try:
                pairs[name] = typed(value, self.shape.kinds[name]) if self.shape.kinds[name] else value
            except (ValueError, ArithmeticError, TypeError) as error:
                raise ValueError(f"column {name}: {error}") from error
        return PartitionKey.of(pairs)


def _require_known(found: int) -> None:
    if found > FORMAT:
        raise PayloadError(
            f"the routing model has format {found}, and this version reads formats up to {FORMAT}. "
            "Install a newer manymodels-spark"
        )


def kinds_of(columns: Sequence[str], keys: Iterable[str]) -> dict[str, str]:
    """Each column's type in canonical keys; "" where it has several, so that values are taken as they are."""
    found: dict[str, set[str]] = {name: set() for name in columns}
    for key in keys:
        for name, kind, _ in orjson.loads(key):
            if kind != "null":
                found[name].add(kind)
    return {name: next(iter(kinds)) if len(kinds) == 1 else "" for name, kinds in found.items()}
