"""Data Factory's look-ups and copies on Postgres, with a pipeline's own queries translated from T-SQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sqlglot
from deploy_files import DEPLOY, read

from box.expressions import resolved


@dataclass
class Factory:
    """A factory with a database, a lake (files of rows) and the watermark that a pipeline keeps there."""

    database: Any
    watermark: str = "1900-01-01T00:00:00"
    files: list[list[tuple[Any, ...]]] = field(default_factory=list)
    started: list[dict[str, Any]] = field(default_factory=list)

    def run(self, pipeline: str, **given: Any) -> None:
        """Run a pipeline's activities in their order; each one after those that it depends on."""
        properties = read(DEPLOY / "datafactory" / "pipeline" / f"{pipeline}.json")["properties"]
        defaults = {name: one.get("defaultValue") for name, one in properties["parameters"].items()}
        outputs: dict[str, Any] = {}
        names = {
            "pipeline": lambda: {"parameters": {**defaults, **given}, "RunId": f"run-{len(self.files)}"},
            "activity": lambda name: {"output": outputs[name]},
        }
        for activity in properties["activities"]:
            assert {one["activity"] for one in activity["dependsOn"]} <= outputs.keys()
            outputs[activity["name"]] = getattr(self, f"_{activity['type']}")(activity, names) or {}

    def _Lookup(self, activity: dict[str, Any], names: Any) -> dict[str, Any]:
        if activity["name"] == "LastWatermark":
            return {"firstRow": {"watermark": self.watermark}}
        ((found,),) = self._rows(activity, names)
        return {"firstRow": {"watermark": found.isoformat()}}

    def _Copy(self, activity: dict[str, Any], names: Any) -> None:
        rows = self._rows(activity, names)
        if activity["name"] == "KeepWatermark":
            self.watermark = str(rows[0][0])
        else:
            self.files.append(rows)

    def _ExecutePipeline(self, activity: dict[str, Any], names: Any) -> None:
        given = activity["typeProperties"]["parameters"]
        self.started.append({name: resolved(value, names) for name, value in given.items()})

    def _rows(self, activity: dict[str, Any], names: Any) -> list[tuple[Any, ...]]:
        query = resolved(activity["typeProperties"]["source"]["sqlReaderQuery"], names)
        (statement,) = sqlglot.transpile(query, read="tsql", write="postgres")
        found: list[tuple[Any, ...]] = self.database.execute(statement).fetchall()
        return found
