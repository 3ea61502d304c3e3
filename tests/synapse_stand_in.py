"""A stand-in for a Synapse dedicated pool: a DB-API connection that runs the generated T-SQL in DuckDB.

It transpiles statements with sqlglot, maps COPY INTO to files of a folder that plays
the lake, and keeps the pool's rule that no DDL may stand in a transaction. It records
every statement, and can die before or after any of them. What it cannot tell is what
Synapse itself would say: types, collations, limits and permissions are DuckDB's here.
"""

from __future__ import annotations

import functools
import hashlib
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import mssql_python
import sqlglot
from sqlglot import exp

from manymodels_spark.warehouse.digest import SYNAPSE_CELLS

TYPES = {
    "NVARCHAR": "VARCHAR",
    "VARCHAR": "VARCHAR",
    "FLOAT": "DOUBLE",
    "REAL": "FLOAT",
    "BIT": "BOOLEAN",
    "VARBINARY": "BLOB",
    "DATETIME2": "TIMESTAMP",
}
_IDENTIFIER = r"((?:\[(?:[^\]]|\]\])+\]))"
_OPTIONS = re.compile(
    r"\bWITH \(DISTRIBUTION = (?:HASH\((?:\[(?:[^\]]|\]\])+\])\)|\w+), (?:HEAP|CLUSTERED COLUMNSTORE INDEX)\)"
)
_TABLE = r"(\[(?:[^\]]|\]\])+\]\.\[(?:[^\]]|\]\])+\])"
_RENAME = re.compile(rf"RENAME OBJECT {_TABLE} TO {_IDENTIFIER}\Z")
_SWITCH = re.compile(rf"ALTER TABLE {_TABLE} SWITCH TO {_TABLE} WITH \(TRUNCATE_TARGET = ON\)\Z")
_DDL = re.compile(r"(CREATE|DROP|ALTER|RENAME|COPY)\b")
_TRANSACTIONS = {
    "BEGIN TRANSACTION": "BEGIN",
    "COMMIT TRANSACTION": "COMMIT",
    "ROLLBACK TRANSACTION": "ROLLBACK",
}


class Killed(BaseException):
    """The process died: nothing may catch this as an error."""


class StandIn:
    """A connection; several may share one database. `lake` is the folder of containers, `saved` a database
    that another one saved, to begin with a copy of it.
    """

    def __init__(
        self, lake: Path, database: duckdb.DuckDBPyConnection | None = None, saved: Path | None = None
    ) -> None:
        self.lake = lake
        self.database = database or duckdb.connect(":memory:")
        if saved is not None:
            self.database.execute(
                f"ATTACH '{saved}' AS saved (READ_ONLY); COPY FROM DATABASE saved TO memory; DETACH saved"
            )
        if database is None:
            self.database.execute("CREATE SCHEMA IF NOT EXISTS dbo; SET TimeZone = 'UTC'")
            self.database.create_function(
                "cell_digest", _digest, ["VARCHAR", "VARCHAR"], "BIGINT", null_handling="special"
            )
            self.database.create_function(
                "float_digest", _float_digest, ["DOUBLE"], "BIGINT", null_handling="special"
            )
        self.statements: list[str] = []
        self.before: Callable[[int, str], None] = lambda number, statement: None
        self.after: Callable[[int, str], None] = lambda number, statement: None
        self.in_transaction = False
        self.dead = False

    def another(self) -> StandIn:
        """A new connection to the same database, as the next process has it."""
        return StandIn(self.lake, self.database)

    def save(self, path: Path) -> None:
        """Write all tables to a file, of which any number of pools can be made."""
        self.database.execute(f"ATTACH '{path}' AS saved; COPY FROM DATABASE memory TO saved; DETACH saved")

    def cursor(self) -> Cursor:
        """See DB-API."""
        return Cursor(self)

    def close(self) -> None:
        """See DB-API."""

    def die(self) -> None:
        """End as a killed process does: the server takes the open transaction back."""
        if self.in_transaction:
            self.database.execute("ROLLBACK")
        self.dead = True
        raise Killed

    def run(self, statement: str) -> None:
        """Run one statement of T-SQL."""
        if self.dead:
            raise mssql_python.OperationalError("the connection is gone", "08S01")
        number = len(self.statements)
        self.statements.append(statement)
        self.before(number, statement)
        try:
            self._run(statement)
        except (duckdb.ConversionException, duckdb.OutOfRangeException) as error:
            raise mssql_python.DataError("refused", str(error)) from error
        except duckdb.ConstraintException as error:
            raise mssql_python.IntegrityError("refused", str(error)) from error
        except duckdb.Error as error:
            raise mssql_python.ProgrammingError("wrong", f"{error}\n{statement}") from error
        self.after(number, statement)

    def _run(self, statement: str) -> None:
        if statement in _TRANSACTIONS:
            self.database.execute(_TRANSACTIONS[statement])
            self.in_transaction = statement.startswith("BEGIN")
        elif self.in_transaction and _DDL.match(statement):
            raise mssql_python.ProgrammingError("no DDL within a transaction", statement)
        elif statement.startswith("COPY INTO"):
            self._copy(statement)
        elif found := _SWITCH.match(statement):
            self._switch(*(quoted(part) for part in found.groups()))
        elif found := _RENAME.match(statement):
            self.database.execute(f"ALTER TABLE {quoted(found[1])} RENAME TO {quoted(found[2])}")
        else:
            self.database.execute(to_duckdb(statement))

    def _copy(self, statement: str) -> None:
        tree = sqlglot.parse_one(statement, read="tsql")
        assert isinstance(tree, exp.Copy)
        columns = ", ".join(column.sql("duckdb") for column in tree.this.expressions)
        files = [str(self.lake / file.name.split("/", 3)[3]) for file in tree.args["files"]]
        self.database.execute(
            f"INSERT INTO {tree.this.this.sql('duckdb')} ({columns}) SELECT * FROM read_parquet({files!r}, "
            "hive_partitioning = false)"
        )

    def _switch(self, source: str, target: str) -> None:
        """One statement to those who look: the rows are moved in a transaction of DuckDB's."""
        self.database.execute("BEGIN")
        try:
            self.database.execute(f"DELETE FROM {target}")
            self.database.execute(f"INSERT INTO {target} SELECT * FROM {source}")
            self.database.execute(f"DELETE FROM {source}")
        except duckdb.Error:
            self.database.execute("ROLLBACK")
            raise
        self.database.execute("COMMIT")


class Cursor:
    """A cursor of the stand-in."""

    def __init__(self, connection: StandIn) -> None:
        self.connection = connection

    def execute(self, statement: str) -> Cursor:
        """See DB-API."""
        self.connection.run(statement)
        return self

    @property
    def description(self) -> Any:
        """See DB-API."""
        return self.connection.database.description

    def fetchone(self) -> Any:
        """See DB-API."""
        return self.connection.database.fetchone()

    def fetchall(self) -> Any:
        """See DB-API."""
        return self.connection.database.fetchall()


@functools.lru_cache(maxsize=10_000)
def to_duckdb(statement: str) -> str:
    """A statement of plain T-SQL, or one that makes a table, as DuckDB has it."""
    plain = _OPTIONS.sub("", statement)
    for pattern, function in _cells():
        plain = pattern.sub(function, plain)
    tree = sqlglot.parse_one(plain, read="tsql").transform(_translated)
    return tree.sql("duckdb")


def quoted(name: str) -> str:
    """Names in brackets as names in double quotes."""
    parts = re.findall(r"\[((?:[^\]]|\]\])+)\]", name)
    return ".".join('"' + part.replace("]]", "]").replace('"', '""') + '"' for part in parts)


def _translated(node: exp.Expression) -> exp.Expression:
    if isinstance(node, exp.National):
        return exp.Literal.string(node.this)
    if isinstance(node, exp.Collate):
        return node.this
    if isinstance(node, exp.Anonymous) and node.name.upper() == "SYSUTCDATETIME":
        return sqlglot.parse_one("CAST(CURRENT_TIMESTAMP AS TIMESTAMP)", read="duckdb")
    if isinstance(node, exp.DataType):
        return _type(node)
    return node


def _type(node: exp.DataType) -> exp.DataType:
    kind = node.sql("tsql").partition("(")[0].upper()
    if kind == "FLOAT" and not node.expressions:  # how sqlglot reads T-SQL's real
        kind = "REAL"
    return exp.DataType.build(TYPES[kind], dialect="duckdb") if kind in TYPES else node


def _cells() -> list[tuple[re.Pattern[str], str]]:
    """The digests' expressions by their own templates, and what computes the same here."""
    functions = {
        "float": r"float_digest(\1)",
        "string": r"cell_digest(CAST(\1 AS VARCHAR(max)), typeof(\1))",
        "decimal": r"cell_digest(CAST(\1 AS VARCHAR(max)), 'TEXT8')",
        "timestamp": r"epoch_us(\1)",  # whose beginning looks like a date's
        "date": r"DATEDIFF(DAY, CAST('1970-01-01' AS DATE), \1)",
    }
    patterns = []
    for kind, function in functions.items():
        template = re.escape(SYNAPSE_CELLS[kind]).replace(r"\{0\}", _IDENTIFIER)
        patterns.append((re.compile(template), function))
    return patterns


def _digest(cell: str | None, kind: str) -> int | None:
    """What HASHBYTES sees: nvarchar in UTF-16, varchar and varbinary as bytes."""
    if cell is None:
        return None
    if kind == "BLOB":
        data = re.sub(rb"\\x([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), cell.encode())
    else:
        data = cell.encode("ascii" if kind == "TEXT8" else "utf-16-le")
    return int.from_bytes(hashlib.md5(data, usedforsecurity=False).digest()[:4], "big")


def _float_digest(cell: float | None) -> int | None:
    """A float's 64 bits as a whole number, as CONVERT to BINARY(8) and BIGINT gives them."""
    return None if cell is None else int(struct.unpack(">q", struct.pack(">d", cell))[0])
