"""One model as bytes: a self-contained document that predicts on any machine with the families' libraries.

The same model always gives the same bytes, so a checksum names it. Nothing is ever unpickled unless the
caller says so and the family needs it.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

import orjson

from manymodels_spark.errors import PayloadError

# 1: symmetric intervals, rows as steps. 2: closed steps, bounds, signed quantiles. Older ones predict as
# before: what they lack has a default.
FORMAT = 2
_LEVEL = 6
# The most that a payload's JSON may be: some ten times a random forest on ten thousand rows.
LIMIT = 256 * 1024 * 1024


def seal(document: dict[str, Any]) -> bytes:
    """The document as bytes: sorted JSON under zlib. Raises PayloadError where no version would open it."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY
    text = orjson.dumps({"manymodels": FORMAT, **document}, option=options)
    if len(text) > LIMIT:
        raise PayloadError(
            f"the fitted model takes {len(text):,} bytes, and at most {LIMIT:,} are stored. Choose a smaller "
            "one: fewer trees, less depth"
        )
    return zlib.compress(text, _LEVEL)


def open_payload(
    data: bytes, expected_sha256: str | None = None, *, allow_pickle: bool = False, limit: int = LIMIT
) -> dict[str, Any]:
    """The document in a payload.

    Args:
        data: What `seal` returned.
        expected_sha256: The checksum that the payload must have; None where nobody states one.
        allow_pickle: Whether members that have to be unpickled may be in it.
        limit: The most bytes that are decompressed: a few kilobytes of zlib can hold gigabytes.

    Raises:
        PayloadError: where the checksum is wrong, the bytes are damaged or larger than the limit, the format
            is of a newer version, or a member would have to be unpickled and `allow_pickle` is not set.

    """
    if expected_sha256 is not None and sha256(data) != expected_sha256:
        raise PayloadError(
            f"the payload's SHA-256 is {sha256(data)[:12]}…, {expected_sha256[:12]}… is expected: not loaded"
        )
    try:
        document: dict[str, Any] = orjson.loads(_decompressed(data, limit))
    except (zlib.error, orjson.JSONDecodeError) as error:
        raise PayloadError(
            f"the payload is damaged ({error}): {len(data)} bytes. Train the partition again"
        ) from error
    _require_format(document)
    if not isinstance(document.get("members"), list):
        raise PayloadError(
            "the payload has no members, so there is no model in it. Train the partition again"
        )
    if not allow_pickle and any(member.get("pickled") for member in document["members"]):
        raise PayloadError("the payload holds a pickled model, and loading pickles was not allowed")
    return document


def _decompressed(data: bytes, limit: int) -> bytes:
    inflate = zlib.decompressobj()
    text = inflate.decompress(data, limit)
    if inflate.unconsumed_tail:
        raise PayloadError(
            f"the payload's {len(data):,} bytes decompress to more than {limit:,}: not loaded. No model of "
            "this package is so large"
        )
    if not inflate.eof:
        raise zlib.error("it ends too early")
    return text


def _require_format(document: Any) -> None:
    found = document.get("manymodels") if isinstance(document, dict) else None
    if not isinstance(found, int) or found < 1:
        raise PayloadError("the payload names no format: it is not a model of manymodels-spark")
    if found > FORMAT:
        raise PayloadError(
            f"the payload has format {found}, and this version reads up to {FORMAT}. Install a newer "
            f"manymodels-spark"
        )


def sha256(data: bytes) -> str:
    """The checksum of a payload, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
