"""From what a client writes to a partition id: JSON values become typed as the partition columns are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import orjson

from manymodels_spark.keys import PartitionKey, Value
from manymodels_spark.serving.failures import invalid
from manymodels_spark.serving.models.sources import is_partition_id
from manymodels_spark.serving.schemas import Item

REMEMBERED = 10_000
DIGITS = 38
_SIMPLE = frozenset({str, int, bool, type(None)})
_EXPECTED = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "decimal": 'a number, or text such as "1.50"',
    "string": "text",
    "date": 'text such as "2026-11-24"',
    "timestamp": 'text such as "2026-11-24T03:00:00"',
    "instant": 'text such as "2026-11-24T03:00:00+00:00"',
    "binary": "hexadecimal text",
}


def partition_id_of(item: Item, kinds: Mapping[str, str]) -> str:
    """The id of the partition that an item names. Raises ScoreError (422)."""
    if item.partition_id is not None:
        return checked(item.partition_id)
    assert item.partition is not None
    return id_of(item.partition, kinds)


def id_of(values: Mapping[str, Any], kinds: Mapping[str, str]) -> str:
    """The id of the key of JSON values. Raises ScoreError (422).

    Hashing a key costs as much as a small prediction, and most requests name a few popular ones: they are
    remembered.
    """
    if not _SIMPLE.issuperset(map(type, values.values())):
        return key_of(values, kinds).id
    # True and 1 are equal and no partition's name for each other.
    return _id_of(tuple((name, type(value), value) for name, value in values.items()), tuple(kinds.items()))


@lru_cache(maxsize=REMEMBERED)
def _id_of(values: tuple[tuple[str, type, Any], ...], kinds: tuple[tuple[str, str], ...]) -> str:
    return key_of({name: value for name, _, value in values}, dict(kinds)).id


def checked(partition_id: str) -> str:
    """The id itself where it has the form of one. Raises ScoreError (422)."""
    if not is_partition_id(partition_id):
        raise invalid(
            "partition_id: 20 characters of a-z and 2-7 are expected, as answers give it. Or give `partition`"
        )
    return partition_id


def named(text: str, kinds: Mapping[str, str]) -> str:
    """The id of a partition in a URL: the id itself, or the key as a JSON object. Raises ScoreError (422)."""
    if not text.startswith("{"):
        return checked(text)
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise invalid(
            'the partition in the URL is no valid JSON. Expected its id, or an object such as {"store": 3}'
        ) from None
    return key_of(values, kinds).id


def key_of(values: Mapping[str, Any], kinds: Mapping[str, str]) -> PartitionKey:
    """The key of JSON values, typed by `kinds` (column to type; empty: as JSON types them). Raises ScoreError
    (422).
    """
    if kinds and set(values) != set(kinds):
        raise invalid(f"partition: columns {', '.join(sorted(kinds))} are expected, each once, and no others")
    if not values:
        raise invalid("partition: at least one column is expected")
    try:
        key = PartitionKey.of(
            {name: _typed(name, value, kinds.get(name, "null")) for name, value in values.items()}
        )
        key.id  # noqa: B018  (text that is no valid Unicode shows here)
    except (TypeError, ValueError, ArithmeticError):
        # Text that is no Unicode, a moment before the year 1 in UTC, and whatever else has no canonical form.
        raise invalid("partition: text, numbers, true, false or null are expected as values") from None
    return key


def _typed(name: str, value: Any, kind: str) -> Value:
    if value is None or kind == "null":
        return _scalar(value)
    try:
        return _read(value, kind)
    except (ValueError, TypeError, ArithmeticError):
        raise invalid(f"partition.{name[:80]}: {_EXPECTED[kind]} is expected") from None


def _scalar(value: Any) -> Value:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(type(value).__name__)


def _read(value: Any, kind: str) -> Value:
    """A JSON value as the type that `keys.PartitionKey` names. Raises ValueError or TypeError."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    match kind:
        case "bool" if isinstance(value, bool):
            return value
        case "int" if number and isinstance(value, int):
            return int(value)
        case "float" if number:
            return float(value)
        case "decimal" if number or isinstance(value, str):
            return _decimal(str(value))
        case _ if not isinstance(value, str):
            raise TypeError(kind)
        case "string":
            return str(value)
        case "date":
            return date.fromisoformat(value)
        case "timestamp" | "instant":
            return _moment(datetime.fromisoformat(value), kind)
        case "binary":
            return bytes.fromhex(value)
        case _:
            raise ValueError(kind)


def _decimal(text: str) -> Decimal:
    """A number as tables hold it: finite, within 38 digits. Others have no key, or one of a gigabyte."""
    value = Decimal(text)
    if not value.is_finite() or len(value.as_tuple().digits) > DIGITS or abs(value.adjusted()) > DIGITS:
        raise ValueError(text)
    return value


def _moment(value: datetime, kind: str) -> datetime:
    if kind == "timestamp" and value.tzinfo is not None:
        raise ValueError("a time without a zone is expected")
    return value if kind == "timestamp" else value.replace(tzinfo=value.tzinfo or UTC)
