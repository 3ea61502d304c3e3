"""The semantic model as TMDL: a table per view with its columns and measures, relationships,
the connection's parameters.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from manymodels_spark.powerbi.measures import Measure
from manymodels_spark.warehouse.views import DAY, MOMENT, NUMBER, WHOLE, View

_SPACE = uuid.UUID("6f1d3c52-6a1f-4d0e-9f0b-3b7a6f2f5a11")
_TYPES = {DAY: "dateTime", MOMENT: "dateTime"}


def model_files(
    tables: Sequence[tuple[str, View]], measures: Sequence[Measure], server: str, database: str, schema: str
) -> dict[str, str]:
    """The files of a semantic model's `definition` folder by path. `tables` are (name in the model, view)."""
    files = {
        "database.tmdl": "database ManyModels\n\tcompatibilityLevel: 1567\n",
        "model.tmdl": _model([name for name, _ in tables]),
        "expressions.tmdl": "\n".join(
            _parameter(name, value) for name, value in (("Server", server), ("Database", database))
        ),
        "relationships.tmdl": "\n".join(_relationships(dict(tables))),
    }
    for name, view in tables:
        own = [measure for measure in measures if measure.table == name]
        files[f"tables/{name}.tmdl"] = _table(name, view, own, schema)
    return files


def _model(names: Sequence[str]) -> str:
    references = "".join(f"ref table {name}\n" for name in names)
    return (
        "model Model\n\tculture: en-US\n\tdefaultPowerBIDataSourceVersion: "
        f"powerBI_V3\n\tdiscourageImplicitMeasures\n\n{references}"
    )


def _parameter(name: str, value: str) -> str:
    kind = 'meta [IsParameterQuery=true, Type="Text", IsParameterQueryRequired=true]'
    return (
        f'expression {name} = "{value.replace(chr(34), chr(34) * 2)}" {kind}\n\tlineageTag: '
        f"{_tag('expression', name)}\n"
    )


def _relationships(tables: dict[str, View]) -> list[str]:
    """Every fact to each dimension whose key it has; the models to their partitions stay apart,
    or there were two ways.
    """
    keys = {"dim_partition": "partition_id", "dim_date": "date", "dim_model": "model_id"}
    found = []
    for name, view in tables.items():
        for dimension, key in keys.items():
            if (
                name.startswith("fact_")
                and dimension in tables
                and key in {column for column, *_ in view.columns}
            ):
                tag = _tag("relationship", name, dimension)
                found.append(
                    f"relationship {tag}\n\tfromColumn: {name}.{key}\n\ttoColumn: {dimension}.{key}\n"
                )
    return found


def _table(name: str, view: View, measures: Sequence[Measure], schema: str) -> str:
    parts = [f"table {name}\n\tlineageTag: {_tag(name)}\n"]
    parts += [
        f"\tmeasure {quoted(one.name)} = {one.dax}\n\t\tformatString: {one.format}\n\t\tlineageTag: "
        f"{_tag(name, 'measure', one.name)}\n"
        for one in measures
    ]
    parts += [_column(name, column, kind) for column, kind, _ in view.columns]
    rows = f'Source{{[Schema = "{schema}", Item = "{view.name}"]}}[Data]'
    query = (
        "let\n\t\t\t\tSource = Sql.Database(Server, Database),\n\t\t\t\tRows = "
        f"{rows}\n\t\t\tin\n\t\t\t\tRows"
    )
    parts.append(f"\tpartition {name} = m\n\t\tmode: import\n\t\tsource =\n\t\t\t{query}\n")
    return "\n".join(parts)


def _column(table: str, column: str, kind: str) -> str:
    summed = "sum" if kind in (NUMBER, WHOLE) and table.startswith("fact_") else "none"
    format_ = "\t\tformatString: yyyy-mm-dd\n" if kind == DAY else ""
    key = (
        "\t\tisKey\n"
        if (table, column)
        in {("dim_partition", "partition_id"), ("dim_date", "date"), ("dim_model", "model_id")}
        else ""
    )
    return (
        f"\tcolumn {quoted(column)}\n\t\tdataType: {_TYPES.get(kind, kind)}\n{format_}{key}"
        f"\t\tlineageTag: {_tag(table, column)}\n\t\tsummarizeBy: {summed}\n\t\tsourceColumn: {column}\n"
    )


def quoted(name: str) -> str:
    """A name as TMDL has it: in single quotes where it is more than letters, digits and underscores."""
    return name if name.isidentifier() else "'" + name.replace("'", "''") + "'"


def _tag(*parts: str) -> str:
    """Equal for equal names, so that files that are written again do not differ."""
    return str(uuid.uuid5(_SPACE, "/".join(parts)))
