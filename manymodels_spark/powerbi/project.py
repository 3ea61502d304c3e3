"""All files of a Power BI project for one spec, and the T-SQL of the views that it reads."""

from __future__ import annotations

import json
from pathlib import Path

from manymodels_spark.powerbi.access import TABLE, access_script, access_view, role, role_name
from manymodels_spark.powerbi.measures import measures
from manymodels_spark.powerbi.model import model_files
from manymodels_spark.powerbi.report import report_files
from manymodels_spark.warehouse import views

_PROPERTIES = "https://developer.microsoft.com/json-schemas/fabric"


def project_files(
    star: views.Star, server: str, database: str, schema: str, access: str | None = None
) -> dict[str, str]:
    """The project's files by path: `views.sql`, SPEC.pbip, SPEC.pbids, SPEC.SemanticModel/ and SPEC.Report/.

    With `access`, a partition column, also a role of row-level security by it, and `access.sql`, the table
    of who may see what. Raises ManyModelsError where it is no partition column.
    """
    made = views.star(star, views.SYNAPSE, schema)
    tables = [(view.name.removeprefix(f"{star.spec}_"), view) for view in made]
    if access is not None:
        tables.append((TABLE, access_view(star, access)))
    measured = measures(star.intervals, forecast=star.time is not None)
    model = model_files(tables, measured, server, database, schema)
    if access is not None:
        model["roles/access.tmdl"] = role(tables, access)
        model["model.tmdl"] += f"ref role {role_name(access)}\n"
    level = star.intervals[0] if star.intervals and star.time else None
    report = report_files(star.partition_by, level)
    return {
        **({} if access is None else {"access.sql": access_script(tables[-1][1], schema)}),
        "views.sql": views_script(made, schema),
        **_opened(star.spec, server, database),
        **{f"{star.spec}.SemanticModel/definition/{path}": text for path, text in model.items()},
        **{f"{star.spec}.Report/definition/{path}": text for path, text in report.items()},
    }


def _opened(spec: str, server: str, database: str) -> dict[str, str]:
    """What Power BI Desktop opens: the project, the connection alone, and the heads of model and report."""
    return {
        f"{spec}.pbip": _json(
            {
                "$schema": f"{_PROPERTIES}/pbip/pbipProperties/1.0.0/schema.json",
                "version": "1.0",
                "artifacts": [{"report": {"path": f"{spec}.Report"}}],
                "settings": {"enableAutoRecovery": True},
            }
        ),
        f"{spec}.pbids": _json(
            {
                "version": "0.1",
                "connections": [
                    {
                        "details": {"protocol": "tds", "address": {"server": server, "database": database}},
                        "options": {},
                        "mode": "Import",
                    }
                ],
            }
        ),
        f"{spec}.SemanticModel/definition.pbism": _json({"version": "4.0", "settings": {}}),
        f"{spec}.Report/definition.pbir": _json(
            {
                "$schema": f"{_PROPERTIES}/item/report/definitionProperties/1.0.0/schema.json",
                "version": "4.0",
                "datasetReference": {"byPath": {"path": f"../{spec}.SemanticModel"}},
            }
        ),
    }


def views_script(made: list[views.View], schema: str) -> str:
    """One script that makes the views, for those who make them by hand:
    `manymodels load` does it by itself.
    """
    quote = views.SYNAPSE.quote
    parts = [
        f"CREATE VIEW {quote(schema)}.{quote(view.name)} AS\n{view.select(views.SYNAPSE)};\nGO\n"
        for view in made
    ]
    return "-- Made by `manymodels powerbi`; `manymodels load` makes the same views.\n" + "\n".join(parts)


def write_project(files: dict[str, str], out: Path) -> None:
    """Write the files below a folder."""
    for name, text in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _json(content: object) -> str:
    return json.dumps(content, indent=2) + "\n"
