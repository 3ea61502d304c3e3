"""Fitted state as JSON and back, bit for bit: nested dicts, lists, tuples, numbers and NumPy arrays."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

_KIND = "~"


def encode(value: Any) -> Any:
    """A value as JSON can hold it. Raises TypeError for anything that is not data."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        return {
            _KIND: "array",
            "type": array.dtype.str,
            "shape": list(value.shape),
            "data": _text(array.tobytes()),
        }
    if isinstance(value, np.generic):
        return {_KIND: "scalar", "type": value.dtype.str, "data": _text(value.tobytes())}
    if isinstance(value, int):
        # JSON's writer holds 64 bits.
        return value if -(2**63) <= value < 2**63 else {_KIND: "integer", "text": str(value)}
    if isinstance(value, float):
        # JSON knows neither NaN nor infinity.
        return {_KIND: "float", "hex": value.hex()}
    if isinstance(value, tuple):
        return {_KIND: "tuple", "items": [encode(item) for item in value]}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {_KIND: "dict", "items": [[encode(key), encode(item)] for key, item in value.items()]}
    raise TypeError(f"{type(value).__name__} is no data and cannot be stored as JSON")


def decode(value: Any) -> Any:
    """The inverse of `encode`."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    match value[_KIND]:
        case "array":
            flat = np.frombuffer(base64.b64decode(value["data"]), dtype=np.dtype(value["type"]))
            return flat.reshape(value["shape"]).copy()
        case "scalar":
            return np.frombuffer(base64.b64decode(value["data"]), dtype=np.dtype(value["type"]))[0]
        case "integer":
            return int(value["text"])
        case "float":
            return float.fromhex(value["hex"])
        case "tuple":
            return tuple(decode(item) for item in value["items"])
        case "dict":
            return {decode(key): decode(item) for key, item in value["items"]}
        case kind:
            raise ValueError(f"unknown kind {kind!r} in a stored model")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
