"""The T-SQL of a load into a Synapse dedicated SQL pool: text in, text out.

Every function gives one statement, complete and without parameters, so that a person can read it and a parser
can check it. Rows are brought by SELECT and not by VALUES, which a dedicated pool takes with plain constants
only. This module must know no connection.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from manymodels_spark.warehouse import types
from manymodels_spark.warehouse.base import LEDGER, LEDGER_SCHEMA, Loaded
from manymodels_spark.warehouse.digest import SYNAPSE_CELLS, cell_kind, sql_digest
from manymodels_spark.warehouse.synapse_names import Layout, Names, listed, name, qualified, text, url

JOURNAL, LOCKS = "manymodels_pending", "manymodels_locks"
JOURNAL_SCHEMA = pa.schema(
    [
        pa.field("spec", pa.string()),
        pa.field("table", pa.string()),
        pa.field("source", pa.string()),
        pa.field("version", pa.int64()),
        pa.field("rows", pa.int64()),
        pa.field("checksum", pa.string()),
        pa.field("run_id", pa.string()),
        pa.field("way", pa.string()),
        pa.field("token", pa.string()),
        pa.field("total", pa.int64()),
    ]
)
LOCKS_SCHEMA = pa.schema([pa.field("table", pa.string()), pa.field("run_id", pa.string())])

BEGIN, COMMIT, ROLLBACK = "BEGIN TRANSACTION", "COMMIT TRANSACTION", "ROLLBACK TRANSACTION"
_BINARY = "Latin1_General_100_BIN2"


def sql_type(field: pa.Field, layout: Layout) -> str:
    """The T-SQL type of a column in a table of this layout."""
    kind = types.sql_type(field, types.SYNAPSE)
    return kind if layout.bounded else kind.replace("(4000)", "(max)").replace("(8000)", "(max)")


def create(table: str, schema: pa.Schema, layout: Layout) -> str:
    """An empty table."""
    columns = ",\n    ".join(f"{name(field.name)} {sql_type(field, layout)} NULL" for field in schema)
    return f"CREATE TABLE {table} (\n    {columns}\n)\n{layout.options}"


def create_book(schema: str, book: str) -> str:
    """The ledger, the journal or the locks: small tables of single rows."""
    fields = {LEDGER: LEDGER_SCHEMA, JOURNAL: JOURNAL_SCHEMA, LOCKS: LOCKS_SCHEMA}[book]
    columns = ",\n    ".join(
        f"{name(field.name)} {types.sql_type(field, types.SYNAPSE, 400)} NULL" for field in fields
    )
    return (
        f"CREATE TABLE {qualified(schema, book)} (\n    {columns}\n)\nWITH (DISTRIBUTION = ROUND_ROBIN, HEAP)"
    )


def clone(table: str, source: str, layout: Layout) -> str:
    """An empty table with the very columns of another, types and nullability included, as SWITCH demands."""
    return f"CREATE TABLE {table}\n{layout.options}\nAS SELECT * FROM {source} WHERE 1 = 0"


def number(table: str, source: str, columns: Sequence[str], column: str) -> str:
    """The rows of a table numbered from 1, to look for a refused one."""
    return (
        f"CREATE TABLE {table}\nWITH (DISTRIBUTION = ROUND_ROBIN, HEAP)\n"
        f"AS SELECT ROW_NUMBER() OVER (ORDER BY (SELECT NULL)) AS {name(column)}, {listed(columns)} FROM "
        f"{source}"
    )


def drop(table: str) -> str:
    """Remove a table."""
    return f"DROP TABLE {table}"


def add_column(table: str, field: pa.Field, layout: Layout) -> str:
    """One more column, NULL in the rows that are there."""
    return f"ALTER TABLE {table} ADD {name(field.name)} {sql_type(field, layout)} NULL"


def copy_into(table: str, columns: Sequence[str], files: Sequence[str]) -> str:
    """Load exported Parquet files, read by the pool's own managed identity.
    Columns go by their order in the file.
    """
    places = ",\n    ".join("'" + url(file).replace("'", "''") + "'" for file in files)
    return (
        f"COPY INTO {table} ({listed(columns)})\nFROM {places}\n"
        "WITH (FILE_TYPE = 'PARQUET', CREDENTIAL = (IDENTITY = 'Managed Identity'))"
    )


def delete(table: str, where: str) -> str:
    """Take rows away."""
    return f"DELETE FROM {table}" + (f"\n{where}" if where else "")


def insert(table: str, columns: Sequence[str], rows: str) -> str:
    """Bring the rows of a query."""
    return f"INSERT INTO {table} ({listed(columns)})\n{rows}"


def affected(names: Names, schema: pa.Schema, key: Sequence[str], *, on: str, keep: bool = False) -> str:
    """The condition for the rows of table `on` (a bare name) that an export replaces;
    with `keep` for all others.

    The first column of a key is never NULL, so that rows are matched where they lie, by their distribution.
    """
    first, *rest = key
    conditions = [_equal(schema.field(first), on), *(_same(schema.field(column), on) for column in rest)]
    same = "\n      AND ".join(conditions)
    return (
        f"WHERE {'NOT ' if keep else ''}EXISTS (\n    SELECT 1 FROM {names['keys']} AS k\n    WHERE {same}\n)"
    )


def _same(field: pa.Field, table: str) -> str:
    nothing = f"k.{name(field.name)} IS NULL AND {name(table)}.{name(field.name)} IS NULL"
    return f"({_equal(field, table)} OR ({nothing}))"


def _equal(field: pa.Field, table: str) -> str:
    """Text is compared twice: as the columns' collation has it, which moves no rows,
    then in case and accents.
    """
    left, right = f"k.{name(field.name)}", f"{name(table)}.{name(field.name)}"
    if cell_kind(field.type) != "string":
        return f"{left} = {right}"
    return f"{left} = {right} AND {left} COLLATE {_BINARY} = {right} COLLATE {_BINARY}"


def rows_of(table: str, columns: Sequence[str], where: str = "") -> str:
    """A query of a table's rows."""
    return f"SELECT {listed(columns)} FROM {table}" + (f"\n{where}" if where else "")


def count(table: str) -> str:
    """How many rows a table has."""
    return f"SELECT COUNT_BIG(*) FROM {table}"


def digest(table: str, schema: pa.Schema, layout: Layout, where: str = "") -> str:
    """The checksum's numbers (see `digest.py`) of a table's rows,
    in the types that they were exported with.
    """
    cells = ", ".join(
        f"CAST({name(field.name)} AS {sql_type(field, layout)}) AS {name(field.name)}" for field in schema
    )
    source = f"(SELECT {cells} FROM {table}" + (f"\n{where}" if where else "") + ") AS typed"
    return sql_digest(
        schema,
        source,
        lambda field: SYNAPSE_CELLS[cell_kind(field.type)].format(name(field.name)),
        "COUNT_BIG(*)",
    )


def switch(source: str, target: str) -> str:
    """Put all rows of one table in place of another's: one statement, which moves no row."""
    return f"ALTER TABLE {source} SWITCH TO {target} WITH (TRUNCATE_TARGET = ON)"


def rename(table: str, to: str) -> str:
    """Give a table another name in its schema."""
    return f"RENAME OBJECT {table} TO {name(to)}"


def columns_of(schema: str, table: str) -> str:
    """The columns of a table in their order; none where there is no such table."""
    return (
        "SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS\n"
        f"WHERE TABLE_SCHEMA = {text(schema)} AND TABLE_NAME = {text(table)}\nORDER BY ORDINAL_POSITION"
    )


def tables_like(schema: str, table: str) -> str:
    """The tables whose names begin like this one's work tables."""
    pattern = table.replace("~", "~~").replace("%", "~%").replace("_", "~_").replace("[", "~[") + "~_~_%"
    return (
        "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES\n"
        f"WHERE TABLE_SCHEMA = {text(schema)} AND TABLE_NAME LIKE {text(pattern)} ESCAPE '~'"
    )


def schema_exists(schema: str) -> str:
    """One row where the schema is there."""
    return f"SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA WHERE SCHEMA_NAME = {text(schema)}"


def newest(schema: str, spec: str, table: str) -> str:
    """The ledger's newest row of a spec's table."""
    return (
        f"SELECT TOP (1) {listed(LEDGER_SCHEMA.names)} FROM {qualified(schema, LEDGER)}\n"
        f"WHERE [spec] = {text(spec)} AND [table] = {text(table)}\nORDER BY [loaded_at] DESC, [version] DESC"
    )


def other_specs(schema: str, spec: str, table: str) -> str:
    """The other specs that have loaded this table."""
    return (
        f"SELECT DISTINCT [spec] FROM {qualified(schema, LEDGER)}\nWHERE [table] = {text(table)} AND "
        f"[spec] <> {text(spec)}"
    )


def note(schema: str, row: Loaded) -> str:
    """A row of the ledger, at the pool's own time."""
    values = (
        f"{text(row.spec)}, {text(row.table)}, {text(row.source)}, {row.version:d}, {row.rows:d}, "
        f"{text(row.checksum)}, SYSUTCDATETIME(), {text(row.run_id)}"
    )
    return f"INSERT INTO {qualified(schema, LEDGER)} ({listed(LEDGER_SCHEMA.names)})\nSELECT {values}"


def intend(schema: str, row: Loaded, way: str, token: str, total: int) -> str:
    """A row of the journal: this load is checked and complete; what is left is to put it in place."""
    values = (
        f"{text(row.spec)}, {text(row.table)}, {text(row.source)}, {row.version:d}, {row.rows:d}, "
        f"{text(row.checksum)}, {text(row.run_id)}, {text(way)}, {text(token)}, {total:d}"
    )
    return f"INSERT INTO {qualified(schema, JOURNAL)} ({listed(JOURNAL_SCHEMA.names)})\nSELECT {values}"


def pending(schema: str, table: str) -> str:
    """The journal's rows of a table."""
    return (
        f"SELECT {listed(JOURNAL_SCHEMA.names)} FROM {qualified(schema, JOURNAL)}\nWHERE [table] = "
        f"{text(table)}"
    )


def settle(schema: str, table: str, token: str) -> str:
    """Take a row out of the journal."""
    return (
        f"DELETE FROM {qualified(schema, JOURNAL)}\nWHERE [table] = {text(table)} AND [token] = {text(token)}"
    )


def has_lock(schema: str, table: str) -> str:
    """One row or more where the table's lock has been made."""
    return f"SELECT COUNT_BIG(*) FROM {qualified(schema, LOCKS)} WHERE [table] = {text(table)}"


def make_lock(schema: str, table: str) -> str:
    """The row that loads of one table wait for."""
    return f"INSERT INTO {qualified(schema, LOCKS)} ([table], [run_id])\nSELECT {text(table)}, N''"


def lock(schema: str, table: str, run_id: str) -> str:
    """Wait for, then hold until the transaction ends, the right to change a table."""
    return f"UPDATE {qualified(schema, LOCKS)} SET [run_id] = {text(run_id)} WHERE [table] = {text(table)}"


def all_tables(schema: str) -> str:
    """The tables and views of a schema."""
    return f"SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES\nWHERE TABLE_SCHEMA = {text(schema)}"
