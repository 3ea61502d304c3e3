"""All files of a Power BI project for one spec, and the T-SQL of the views that it reads."""

from __future__ import annotations

import json
from pathlib import Path

from manymodels_spark.powerbi.measures import measures
from manymodels_spark.powerbi.model import model_files
from manymodels_spark.powerbi.report import report_files
from manymodels_spark.warehouse import views

_PROPERTIES = "https://developer.microsoft.com/json-schemas/fabric"


def project_files(star: views.Star, server: str, database: str, schema: str) -> dict[str, str]:
    """The project's files by path: `views.sql`, SPEC.pbip, SPEC.pbids,
    SPEC.SemanticModel/ and SPEC.Report/.
    """
    made = views.star(star, views.SYNAPSE, schema)
    tables = [(view.name.removeprefix(f"{star.spec}_"), view) for view in made]
    measured = measures(star.intervals, forecast=star.time is not None)
    model = model_files(tables, measured, server, database, schema)
    level = star.intervals[0] if star.intervals and star.time else None
    report = report_files(star.partition_by, level)
    return {
        "views.sql": views_script(made, schema),
        f"{star.spec}.pbip": _json(
            {
                "$schema": f"{_PROPERTIES}/pbip/pbipProperties/1.0.0/schema.json",
                "version": "1.0",
                "artifacts": [{"report": {"path": f"{star.spec}.Report"}}],
                "settings": {"enableAutoRecovery": True},
            }
        ),
        f"{star.spec}.pbids": _json(
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
        f"{star.spec}.SemanticModel/definition.pbism": _json({"version": "4.0", "settings": {}}),
        f"{star.spec}.Report/definition.pbir": _json(
            {
                "$schema": f"{_PROPERTIES}/item/report/definitionProperties/1.0.0/schema.json",
                "version": "4.0",
                "datasetReference": {"byPath": {"path": f"../{star.spec}.SemanticModel"}},
            }
        ),
        **{f"{star.spec}.SemanticModel/definition/{path}": text for path, text in model.items()},
        **{f"{star.spec}.Report/definition/{path}": text for path, text in report.items()},
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
