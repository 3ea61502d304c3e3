"""The JSON Schema of a spec, for completion and checks in editors. Generated from the model, never written by
hand.
"""

from __future__ import annotations

from typing import Any

from manymodels_spark.spec.model import Spec

URL = "https://json-schema.org/draft/2020-12/schema"
_SHORT_FORMS = ("source", "warehouse", "fallback")


def json_schema() -> dict[str, Any]:
    """The schema, which also takes the short forms that the reader takes (`csv: path`, `- prophet:
    {...}`).
    """
    schema = Spec.model_json_schema(by_alias=True)
    properties = schema["properties"]
    for name in _SHORT_FORMS:
        properties[name] = {
            "description": f"One key that names the kind, with its options ({name}).",
            "type": ["object", "string", "null"],
        }
    properties["candidates"]["items"] = {"type": ["string", "object"], "maxProperties": 1}
    for part in schema["$defs"].values():
        calendar = part.get("properties", {}).get("calendar")
        if calendar is not None:
            part["properties"]["calendar"] = {"type": ["object", "null"]}
            part["properties"]["closed"] = {"type": ["object", "array", "string"]}
    for name in ("failures", "unscored"):
        schema["$defs"]["Limits"]["properties"][name] = {
            "type": ["number", "string"],
            "pattern": "^[0-9.]+%$",
        }
    schema["$defs"]["Limits"]["properties"]["memory_per_fit"] = {"type": ["integer", "string", "null"]}
    schema["$defs"]["Gate"]["properties"]["by"] = {"type": ["number", "string"]}
    return {"$schema": URL, "title": "Many Models on Spark: a spec", **schema}
