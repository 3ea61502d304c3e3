"""A fitted scikit-learn pipeline as JSON values and back: skops' own schema and arrays, made canonical.

skops names arrays and objects by their memory addresses and stores what happens to lie in a structure's
padding, so that one model gives different bytes at each dump. Here objects are numbered in the order of the
schema and padding is zeroed: the same model always gives the same values. Nothing is pickled.
"""

from __future__ import annotations

import base64
import io
import zipfile
from typing import Any

import numpy as np
import orjson

from manymodels_spark.errors import PayloadError

_SCHEMA = "schema.json"
_TRUSTED = ("sklearn.", "numpy.", "scipy.", "builtins.", "collections.")
# Types that skops asks about, met so far and found among the trusted: asking again takes as long as loading.
_accepted: set[str] = set()


def dump(estimator: Any) -> dict[str, Any]:
    """The estimator as `{"schema": ..., "arrays": {name: base 64}}`."""
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(estimator))) as archive:
        schema = orjson.loads(archive.read(_SCHEMA))
        names = _renumber(schema)
        arrays = {new: _text(_zeroed(old, archive.read(old))) for old, new in names.items()}
    return {"schema": schema, "arrays": arrays}


def load(state: dict[str, Any]) -> Any:
    """The inverse of `dump`. Raises PayloadError for a type that no pipeline of this package holds."""
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    data = _archive(state)
    try:
        return skops.io.loads(data, trusted=sorted(_accepted))
    except UntrustedTypesFoundException:
        _accepted.update(_checked(skops.io.get_untrusted_types(data=data)))
        return skops.io.loads(data, trusted=sorted(_accepted))


def _checked(types: list[str]) -> list[str]:
    """The types, all of them from libraries that pipelines are made of."""
    foreign = [name for name in types if not name.startswith(_TRUSTED)]
    if foreign:
        raise PayloadError(
            f"the stored pipeline holds {', '.join(foreign)}, which is not loaded. Train it again"
        )
    return types


def _archive(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(_SCHEMA, orjson.dumps(state["schema"]))
        for name, text in state["arrays"].items():
            archive.writestr(name, base64.b64decode(text))
    return buffer.getvalue()


def _renumber(schema: dict[str, Any]) -> dict[str, str]:
    """Number the schema's objects in place; gives each array's old name and its new one."""
    numbers: dict[Any, int] = {}
    files: dict[str, str] = {}
    pending: list[Any] = [schema]
    while pending:
        node = pending.pop()
        children = list(node.values()) if isinstance(node, dict) else node
        if isinstance(node, dict) and "__id__" in node:
            # Equal plain values share an address by chance only, and need not.
            identity = object() if node.get("__loader__") == "JsonNode" else node["__id__"]
            node["__id__"] = numbers.setdefault(identity, len(numbers) + 1)
            if isinstance(node.get("file"), str):
                suffix = node["file"].rpartition(".")[2]
                node["file"] = files.setdefault(node["file"], f"{node['__id__']}.{suffix}")
        pending.extend(child for child in reversed(children) if isinstance(child, (dict, list)))
    return files


def _zeroed(name: str, data: bytes) -> bytes:
    """The array file with zeros where a structure's fields leave holes; other files as they are."""
    if not name.endswith(".npy"):
        return data
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.dtype.names is None:
        return data
    # Not zeros_like, which fills field by field.
    clean = np.zeros(array.shape, array.dtype)
    for field in array.dtype.names:
        clean[field] = array[field]
    if "missing_go_to_left" in array.dtype.names and "left_child" in array.dtype.names:
        # scikit-learn's trees leave this field of a leaf as the memory was.
        clean["missing_go_to_left"][array["left_child"] < 0] = 0
    buffer = io.BytesIO()
    np.save(buffer, clean, allow_pickle=False)
    return buffer.getvalue()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
