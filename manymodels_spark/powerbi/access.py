"""Row-level security: a role by which a person sees the partitions that a table of the warehouse gives."""

from __future__ import annotations

from collections.abc import Sequence

from manymodels_spark.errors import ManyModelsError
from manymodels_spark.warehouse.views import SYNAPSE, TEXT, Star, View

TABLE, PRINCIPAL = "access", "principal"


def access_view(star: Star, column: str) -> View:
    """The table SPEC_access, a row per person and value of the partition column, as the model reads it.

    Raises:
        ManyModelsError: where the column is none of the partition's.

    """
    if column not in star.partition_by:
        raise ManyModelsError(
            f"--access {column}: not a partition column. Expected one of {', '.join(star.partition_by)}"
        )
    return View(f"{star.spec}_{TABLE}", (), ((PRINCIPAL, TEXT, ""), (column, TEXT, "")), "")


def access_script(view: View, schema: str) -> str:
    """The statement that makes that table; `principal` is the name by which a person signs in."""
    quote = SYNAPSE.quote
    columns = ", ".join(f"{quote(name)} NVARCHAR(400) NOT NULL" for name, *_ in view.columns)
    return f"CREATE TABLE {quote(schema)}.{quote(view.name)} ({columns});\n"


def role_name(column: str) -> str:
    """The role's name as TMDL has it."""
    return "'by " + column.replace("'", "''") + "'"


def role(tables: Sequence[tuple[str, View]], column: str) -> str:
    """The role as TMDL. Each table of partitions is filtered by itself, whatever its relationships are."""
    rows = [
        f"\ttablePermission {table} = {_filter(table, view, column)}\n"
        for table, view in tables
        if table != TABLE and {"partition_id", column} & {each for each, *_ in view.columns}
    ]
    own = f"\ttablePermission {TABLE} = {TABLE}[{PRINCIPAL}] = USERPRINCIPALNAME()\n"
    return "\n".join([f"role {role_name(column)}\n\tmodelPermission: read\n", *rows, own])


def _filter(table: str, view: View, column: str) -> str:
    escaped = column.replace("]", "]]")
    value = (
        f"{table}[{escaped}]"
        if column in {name for name, *_ in view.columns}
        else f"LOOKUPVALUE(dim_partition[{escaped}], dim_partition[partition_id], {table}[partition_id])"
    )
    mine = f"FILTER({TABLE}, {TABLE}[{PRINCIPAL}] = USERPRINCIPALNAME())"
    return f'{value} IN SELECTCOLUMNS({mine}, "value", {TABLE}[{escaped}])'
