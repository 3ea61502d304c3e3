"""What a request may look like: pydantic models that refuse by name, and the examples of the OpenAPI
document.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from manymodels_spark.serving.failures import ScoreError, forget_frames, invalid

Scalar = bool | int | float | str | None
Level = Annotated[int, Field(ge=1, le=99)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Split(_Part):
    """Rows as MLflow's scoring server takes them in `dataframe_split`; an index is allowed and not used."""

    columns: list[str]
    data: list[list[Scalar]]
    index: list[Scalar] | None = None


class Item(_Part):
    """One partition to score: by its key or id, for a horizon, or for given rows (times and features)."""

    partition: dict[str, Scalar] | None = Field(
        None, description="The partition key, column to value. Dates and times are ISO 8601 text."
    )
    partition_id: str | None = Field(
        None, description="Its id instead, as answers and the list of models give it."
    )
    horizon: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Steps after the last training row; by default the model's own. Forecasts only."
    )
    dataframe_split: Split | None = None
    dataframe_records: list[dict[str, Scalar]] | None = None
    intervals: Annotated[list[Level], Field(max_length=20)] = Field(
        [], description="Levels in percent, e.g. [80, 95]: adds lower_80, upper_80, ..."
    )
    orient: Literal["records", "split"] = Field("records", description="The form of the predictions.")

    @property
    def rows(self) -> int:
        """How many rows were given."""
        return len(self.dataframe_split.data if self.dataframe_split else self.dataframe_records or ())

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.partition is None) == (self.partition_id is None):
            raise ValueError("give either `partition` (column to value) or `partition_id`")
        if self.dataframe_split is not None and self.dataframe_records is not None:
            raise ValueError("give the rows once, as `dataframe_split` or as `dataframe_records`")
        return self


class Batch(_Part):
    """Many partitions in one request; each succeeds or fails on its own."""

    items: Annotated[list[Item], Field(min_length=1)]


_ROWS: dict[str, TypeAdapter[Any]] = {
    "data": TypeAdapter(list[list[Scalar]], config=ConfigDict(strict=True)),
    "dataframe_records": TypeAdapter(list[dict[str, Scalar]], config=ConfigDict(strict=True)),
}
CHUNK = 500
# Bytes of a body, and of its values on average, from which on it holds no rows that any model takes.
LONG_BODY, LONG_VALUE = 1_000_000, 1_000


def decoded(body: bytes, values: int) -> Any:
    """What a body holds. A decoder reads it in one go, and no other thread runs meanwhile: what would take
    long is refused before.

    Args:
        body: JSON.
        values: The most values, counted by the commas between them.

    Raises:
        ScoreError: It is no JSON (400), or has too many values or far too long ones (413).

    """
    if (commas := body.count(b",")) > values:
        raise ScoreError(
            413,
            "too_many_values",
            f"the body has {commas:,} commas, and at most {values:,} are taken. Send the items in parts",
        )
    if len(body) > LONG_BODY and (mean := len(body) // (commas + 1)) > LONG_VALUE:
        raise ScoreError(
            413,
            "values_too_long",
            f"the body's values have {mean:,} bytes on average, and at most {LONG_VALUE:,} are taken",
        )
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ScoreError(
            400, "malformed_json", f"the body is no valid JSON ({where}). NaN is written as null"
        ) from None


def item_of(data: Any, most: int) -> Item:
    """One item of a request, of at most `most` rows. Raises ScoreError (422 naming the field, 413)."""
    split = _rows(data.get("dataframe_split"), "data") if isinstance(data, dict) else []
    records = _rows(data, "dataframe_records")
    for rows in (split, records):
        if len(rows) > most:
            raise ScoreError(
                413,
                "too_many_rows",
                f"{len(rows)} rows in one item, at most {most} are taken. Send them in parts",
            )
    try:
        if len(split) > CHUNK:
            _check_rows("data", split)
            item = Item.model_validate({**data, "dataframe_split": {**data["dataframe_split"], "data": []}})
            assert item.dataframe_split is not None
            whole = item.dataframe_split.model_copy(update={"data": split})
            return item.model_copy(update={"dataframe_split": whole})
        if len(records) > CHUNK:
            _check_rows("dataframe_records", records)
            item = Item.model_validate({**data, "dataframe_records": []})
            return item.model_copy(update={"dataframe_records": records})
        return Item.model_validate(data)
    except ValidationError as error:
        raise invalid(_reason(error)) from None


def _rows(owner: Any, name: str) -> list[Any]:
    rows = owner.get(name) if isinstance(owner, dict) else None
    return rows if isinstance(rows, list) else []


def _check_rows(name: str, rows: list[Any]) -> None:
    """Check many rows in parts: pydantic checks a value in one go, and no other thread runs meanwhile."""
    for start in range(0, len(rows), CHUNK):
        try:
            _ROWS[name].validate_python(rows[start : start + CHUNK])
        except ValidationError as error:
            row = start + int(error.errors(include_input=False, include_url=False)[0]["loc"][0])
            where = "dataframe_split.data" if name == "data" else name
            raise invalid(
                f"{where}.{row}: numbers, text, true, false or null are expected in a row"
            ) from None


def items_of(data: Any, limit: int, rows: int) -> tuple[list[Item | ScoreError], bool]:
    """The items of a decoded body, and whether the body is a batch. A bad item of a batch fails alone.

    Args:
        data: The decoded body.
        limit: The most items of a batch.
        rows: The most rows of an item.

    Raises:
        ScoreError: The body is neither an item nor a batch (422), or has too many items (413).

    """
    if not isinstance(data, dict):
        raise invalid('the body is no JSON object. Expected one item, or {"items": [...]}')
    if "items" not in data:
        return [item_of(data, rows)], False
    listed = data["items"]
    if len(data) > 1 or not isinstance(listed, list) or not listed:
        raise invalid('a batch is {"items": [...]} with at least one item and no other field')
    if len(listed) > limit:
        raise ScoreError(
            413,
            "too_many_items",
            f"{len(listed)} items in one request, at most {limit} are taken. Send them in parts",
        )
    return [_try(one, rows) for one in listed], True


def _try(data: Any, rows: int) -> Item | ScoreError:
    try:
        return item_of(data, rows)
    except ScoreError as error:
        return forget_frames(error)


def _reason(error: ValidationError) -> str:
    """The first mistakes, each with its place; never a value, which may be anybody's data."""
    lines = []
    for detail in error.errors(include_input=False, include_url=False, include_context=False)[:3]:
        where = ".".join(str(part) for part in detail["loc"])
        text = detail["msg"].removeprefix("Value error, ")
        lines.append(f"{where}: {text}" if where else text)
    return "; ".join(dict.fromkeys(lines))
