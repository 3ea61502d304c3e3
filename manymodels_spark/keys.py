"""A partition's identity: a typed key, its canonical text, a stable id, readable tags and a safe slug.

Python is the one place where ids are computed; Spark calls this module on the distinct keys and joins the ids
back. It knows neither Spark nor MLflow.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import MAX_PREC, Context, Decimal
from urllib.parse import quote, unquote

Value = None | bool | int | float | Decimal | str | date | datetime | bytes

ID_LENGTH = 20
TAG_VALUE_LIMIT = 5000
TAG_KEY_LIMIT = 250
_EXACT = Context(prec=MAX_PREC)  # by itself Decimal rounds to 28 digits
_TAG_KEY = re.compile(r"[\w.\-/: ]+\Z", re.ASCII)


@dataclass(frozen=True)
class PartitionKey:
    """The values of the partition columns of one partition, typed: store 1 and store "1" are two keys.

    The order in which the columns are given does not matter: `values` is kept sorted by column name.
    """

    values: tuple[tuple[str, Value], ...]

    @classmethod
    def of(cls, values: Mapping[str, Value] | Iterable[tuple[str, Value]]) -> PartitionKey:
        """The key of a mapping from column to value, e.g. `PartitionKey.of({"store": 3, "item": "a/b"})`."""
        pairs = values.items() if isinstance(values, Mapping) else values
        return cls(
            tuple(sorted(((str(name), _plain(value)) for name, value in pairs), key=lambda pair: pair[0]))
        )

    @classmethod
    def parse(cls, canonical: str) -> PartitionKey:
        """The inverse of `canonical`."""
        return cls(tuple((name, _decode(kind, text)) for name, kind, text in json.loads(canonical)))

    @property
    def canonical(self) -> str:
        """JSON text `[[column, type, value], ...]` sorted by column:
        equal for equal keys and only for them.
        """
        cells = [[name, *_encode(value)] for name, value in self.values]
        return json.dumps(cells, ensure_ascii=False, separators=(",", ":"))

    @property
    def id(self) -> str:
        """20 lower-case characters (100 bits of SHA-256 in base 32), safe in paths, names and SQL."""
        digest = hashlib.sha256(self.canonical.encode("utf-8", "surrogatepass")).digest()
        return base64.b32encode(digest)[:ID_LENGTH].decode().lower()

    @property
    def seed(self) -> int:
        """A seed for random generators, from the id, below 2**31."""
        return int.from_bytes(hashlib.sha256(self.id.encode()).digest()[:4], "big") >> 1

    @property
    def tags(self) -> dict[str, str]:
        """One tag per partition column with its readable value; see `tag_key` and `tag_value`."""
        return {tag_key(name): tag_value(readable(value)) for name, value in self.values}

    @property
    def slug(self) -> str:
        """Up to 60 characters of `[a-z0-9-]` to recognise the partition by;
        not unique, use it with the id.
        """
        text = "-".join(f"{name}-{readable(value)}" for name, value in self.values)
        ascii_text = unicodedata.normalize("NFKD", text[:400]).encode("ascii", "ignore").decode().lower()
        return re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")[:60].strip("-") or "partition"

    def as_dict(self) -> dict[str, Value]:
        """Column to value, in column order."""
        return dict(self.values)

    def __str__(self) -> str:
        return "  ".join(f"{name}={readable(value)}" for name, value in self.values)


def readable(value: Value) -> str:
    """A value in readable form: `3`, `a/b`, `2026-11-24`, `null`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, date) else str(value)


def typed(value: object, kind: str) -> Value:
    """A value as a column of that kind holds it: 3.0 and a NumPy 3 are the `int` 3,
    text is read as `date` and so on.

    `kind` is a type as `canonical` names it. Raises ValueError where the value is none of that kind;
    null is of any.
    """
    plain = _plain(value)
    if plain is None or (isinstance(plain, float) and math.isnan(plain) and kind != "float"):
        return None
    own, _ = _encode(plain)
    if own == kind:
        return plain
    match kind, plain:
        case "int", float() if plain.is_integer():
            return int(plain)
        case "float", int() if own == "int":
            return float(plain)
        case "decimal", (int() | float() | str()) if own != "bool":
            return Decimal(str(plain))
        case "date", datetime() if plain == plain.replace(hour=0, minute=0, second=0, microsecond=0):
            return plain.date()
        case (("timestamp" | "instant"), str()):
            return typed(datetime.fromisoformat(plain), kind)
        case "instant", datetime():
            return plain.replace(tzinfo=UTC)
        case (("date" | "binary"), str()):
            return _decode(kind, plain)
    raise ValueError(f"{readable(plain)[:80]!r} is {own}, {kind} is expected")


def tag_key(name: str) -> str:
    """A tag key in MLflow's alphabet; other characters are percent-encoded, reversed by `untag_key`.

    A key beyond MLflow's 250 characters keeps its start and gets a digest of the whole;
    see `canonical` for the name.
    """
    plain = (
        _TAG_KEY.match(name) and "%" not in name and not name.startswith(("mlflow.", "manymodels.", "key."))
    )
    key = name if plain else "key." + quote(name, safe="").replace("~", "%7E").replace("%", ":")
    if len(key) <= TAG_KEY_LIMIT:
        return key
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{key[: TAG_KEY_LIMIT - 20]}..{digest[:16]}"


def untag_key(key: str) -> str:
    """The column's name from its tag key."""
    return unquote(key.removeprefix("key.").replace(":", "%")) if key.startswith("key.") else key


def tag_value(text: str) -> str:
    """Text within MLflow's limit; longer text keeps its start and gets a digest
    of the whole (see `canonical`).

    A NUL, which Postgres takes in no text, is shown as its symbol.
    """
    text = text.replace("\0", "\N{SYMBOL FOR NULL}")
    if len(text) <= TAG_VALUE_LIMIT:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[: TAG_VALUE_LIMIT - 80]}… sha256:{digest}"


def _plain(value: object) -> Value:
    """Numpy and pandas scalars as the Python values they stand for."""
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if hasattr(value, "to_pydatetime"):
        value = value.to_pydatetime()
    elif hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if not isinstance(value, (bool, int, float, Decimal, str, date, bytes)):
        raise TypeError(f"{value!r} ({type(value).__name__}) cannot be part of a partition key")
    return value


def _encode(value: Value) -> tuple[str, str]:
    match value:
        case None:
            return "null", ""
        case bool():
            return "bool", "true" if value else "false"
        case int():
            return "int", str(value)
        case float():
            return "float", "nan" if math.isnan(value) else repr(value + 0.0)
        case Decimal():
            return "decimal", str(value.normalize(_EXACT))
        case str():
            return "string", value
        case datetime():
            return ("instant" if value.tzinfo else "timestamp"), value.isoformat()
        case date():
            return "date", value.isoformat()
        case bytes():
            return "binary", value.hex()


def _decode(kind: str, text: str) -> Value:
    match kind:
        case "null":
            return None
        case "bool":
            return text == "true"
        case "int":
            return int(text)
        case "float":
            return float(text)
        case "decimal":
            return Decimal(text)
        case "string":
            return text
        case "instant" | "timestamp":
            return datetime.fromisoformat(text)
        case "date":
            return date.fromisoformat(text)
        case "binary":
            return bytes.fromhex(text)
        case _:
            raise ValueError(f"unknown type {kind!r} in a partition key")
