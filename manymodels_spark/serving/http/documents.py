"""The OpenAPI document: what the routes take and give, with examples of each."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from manymodels_spark.serving.schemas import Batch, Item

_REF = "#/components/schemas/{model}"
_ERROR: dict[str, Any] = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            "required": ["code", "message"],
        }
    },
    "required": ["error"],
}
_RESULT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "status": {"type": "integer"},
        "partition_id": {"type": "string"},
        "partition": {"type": "object"},
        "model_id": {"type": "string"},
        "family": {"type": "string"},
        "predictions": {"anyOf": [{"type": "array", "items": {"type": "object"}}, {"type": "object"}]},
        "error": {"$ref": "#/components/schemas/Error/properties/error"},
    },
    "required": ["status"],
}
_REASONS = {
    400: "The body is no valid JSON",
    401: "A key or token is expected",
    404: "The partition has no champion",
    408: "The body came too slowly",
    413: "The body, its items or its rows are too many",
    422: "The request says something that cannot be answered",
    424: "The partition's model failed its verification",
    503: "The model cannot be loaded at the moment; see Retry-After",
}
_REQUESTS: dict[str, Any] = {
    "forecast by horizon": {
        "value": {"partition": {"store": 3, "item": 7}, "horizon": 14, "intervals": [80, 95]},
    },
    "forecast of given times and features": {
        "value": {
            "partition": {"store": 3, "item": 7},
            "dataframe_records": [
                {"date": "2026-11-25", "promotion": 0, "price": 2.5},
                {"date": "2026-11-26", "promotion": 1, "price": 1.99},
            ],
        },
    },
    "rows of a table": {
        "value": {
            "partition": {"machine": "press-4"},
            "dataframe_split": {"columns": ["temperature", "age"], "data": [[71.5, 4], [64.0, 11]]},
        },
    },
    "many partitions": {
        "value": {
            "items": [
                {"partition": {"store": 3, "item": 7}},
                {"partition": {"store": 3, "item": 8}, "horizon": 7},
            ]
        },
    },
}
_ANSWER: dict[str, Any] = {
    "status": 200,
    "partition_id": "q5dd3m2w7zjw4x2n6a3b",
    "partition": {"store": 3, "item": 7},
    "model_id": "m-5d8c1f0e7b364d6a9f53c6a1e2b7d904",
    "family": "auto_ets",
    "predictions": [{"date": "2026-11-25T00:00:00", "prediction": 12.4, "lower_80": 8.1, "upper_80": 16.7}],
}


def _errors(*statuses: int) -> dict[int | str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {status: {"description": _REASONS[status], "content": content} for status in statuses}


def _answer(description: str, schema: dict[str, Any], **examples: Any) -> dict[int | str, Any]:
    named = {name: {"value": value} for name, value in examples.items()}
    return {
        200: {
            "description": description,
            "content": {"application/json": {"schema": schema, "examples": named}},
        }
    }


_ONE_OR_MANY = {
    "anyOf": [
        {"$ref": "#/components/schemas/Result"},
        {
            "type": "object",
            "properties": {"results": {"type": "array", "items": {"$ref": "#/components/schemas/Result"}}},
            "required": ["results"],
        },
    ]
}
SCORE: dict[str, Any] = {
    "responses": {
        **_answer(
            "The predictions; of many partitions, each item with its own status",
            _ONE_OR_MANY,
            one=_ANSWER,
            many={"results": [_ANSWER]},
        ),
        **_errors(400, 401, 404, 408, 413, 422, 424, 503),
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "anyOf": [{"$ref": _REF.format(model="Item")}, {"$ref": _REF.format(model="Batch")}]
                    },
                    "examples": _REQUESTS,
                }
            },
        }
    },
}
MODELS: dict[str, Any] = {
    "responses": {**_answer("Partitions with a champion", {"type": "object"}), **_errors(401, 422, 503)},
}
MODEL: dict[str, Any] = {
    "responses": {
        **_answer("The champion and the end of its history", {"type": "object"}),
        **_errors(401, 404, 422, 424, 503),
    },
}


def complete(app: FastAPI) -> None:
    """Add the schemas that the routes refer to."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for model in (Item, Batch):
            schema = model.model_json_schema(ref_template=_REF)
            schemas.update(schema.pop("$defs", {}))
            schemas[model.__name__] = schema
        schemas.update(Error=_ERROR, Result=_RESULT)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
