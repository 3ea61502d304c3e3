"""A fitted scikit-learn pipeline as JSON values and back: skops' own schema and arrays, made canonical.

skops names arrays and objects by their memory addresses and stores what happens to lie in a structure's
padding, so that one model gives different bytes at each dump. Here objects are numbered in the order of the
schema and padding is zeroed: the same model always gives the same values. Nothing is pickled, and only the
classes of `ALLOWED` are ever constructed: skops' own list trusts all of scikit-learn's estimators and all
ufuncs, which is more than a model of this package needs.
"""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import orjson

from manymodels_spark.errors import PayloadError
from manymodels_spark.families.tree_indices import check_trees

_SCHEMA = "schema.json"
_TREES = "sklearn.ensemble._hist_gradient_boosting"
# Each of skops' nodes that a pipeline of `families/sklearn.py` holds, with the exact classes it may make.
# Nodes of functions, methods, partials, operators and arbitrary constructors are missing on purpose.
ALLOWED: dict[str, frozenset[str]] = {
    "DTypeNode": frozenset({"numpy.dtype"}),
    "DictNode": frozenset({"builtins.dict"}),
    "JsonNode": frozenset({"builtins.str"}),
    "ListNode": frozenset({"builtins.list"}),
    "LossNode": frozenset(
        f"sklearn._loss._loss.Cy{name}"
        for name in ("HalfBinomialLoss", "HalfMultinomialLoss", "HalfSquaredError")
    ),
    "NdArrayNode": frozenset(f"numpy.{name}" for name in ("ndarray", "float64", "int64", "uint64")),
    "ObjectNode": frozenset(
        {
            "sklearn._loss.link.IdentityLink",
            "sklearn._loss.link.Interval",
            "sklearn._loss.link.LogitLink",
            "sklearn._loss.link.MultinomialLogit",
            "sklearn._loss.loss.HalfBinomialLoss",
            "sklearn._loss.loss.HalfMultinomialLoss",
            "sklearn._loss.loss.HalfSquaredError",
            "sklearn.compose._column_transformer.ColumnTransformer",
            "sklearn.ensemble._forest.RandomForestClassifier",
            "sklearn.ensemble._forest.RandomForestRegressor",
            f"{_TREES}.binning._BinMapper",
            f"{_TREES}.gradient_boosting.HistGradientBoostingClassifier",
            f"{_TREES}.gradient_boosting.HistGradientBoostingRegressor",
            f"{_TREES}.predictor.TreePredictor",
            "sklearn.impute._base.SimpleImputer",
            "sklearn.linear_model._logistic.LogisticRegression",
            "sklearn.linear_model._ridge.Ridge",
            "sklearn.pipeline.Pipeline",
            "sklearn.preprocessing._data.StandardScaler",
            "sklearn.preprocessing._encoders.OneHotEncoder",
            "sklearn.preprocessing._label.LabelEncoder",
            "sklearn.tree._classes.DecisionTreeClassifier",
            "sklearn.tree._classes.DecisionTreeRegressor",
        }
    ),
    "RandomGeneratorNode": frozenset({"numpy.random._generator.Generator"}),
    "SliceNode": frozenset({"builtins.slice"}),
    "TreeNode": frozenset({"sklearn.tree._tree.Tree"}),
    "TupleNode": frozenset({"builtins.tuple"}),
    "TypeNode": frozenset({"builtins.str", "numpy.float64"}),
}


def dump(estimator: Any, also: Collection[str] = ()) -> dict[str, Any]:
    """The estimator as `{"schema": ..., "arrays": {name: base 64}}`.

    Args:
        estimator: A fitted estimator or pipeline.
        also: Dotted names of classes beyond `ALLOWED` that a family's own pipelines hold.

    Raises:
        PayloadError: The estimator holds something that `load` would refuse.

    """
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(estimator))) as archive:
        schema = orjson.loads(archive.read(_SCHEMA))
        _checked(schema, also)
        names = _renumber(schema)
        arrays = {new: _text(_zeroed(old, archive.read(old))) for old, new in names.items()}
    return {"schema": schema, "arrays": arrays}


def load(state: dict[str, Any], also: Collection[str] = ()) -> Any:
    """The inverse of `dump`.

    Raises:
        PayloadError: The state holds a class that is neither in `ALLOWED` nor in `also`, a function of any
            kind, a tree whose indices point outside it, or nothing that skops can read.

    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    names = _checked(state.get("schema"), also)
    try:
        found = skops.io.loads(_archive(state), trusted=names)
    except UntrustedTypesFoundException as error:
        raise PayloadError(f"the stored pipeline is not loaded: {error}") from None
    except Exception as error:
        # Whatever skops, NumPy or scikit-learn stumble over in values that somebody altered.
        raise PayloadError(
            f"the stored pipeline is damaged ({type(error).__name__}). Train the partition again"
        ) from error
    check_trees(found)
    return found


def _checked(schema: Any, also: Collection[str]) -> list[str]:
    """The classes that a schema names, all of them allowed: nothing else is ever shown to skops."""
    if not isinstance(schema, dict) or "__loader__" not in schema:
        raise PayloadError("the stored pipeline has no schema. Train the partition again")
    found = {(str(node.get("__loader__")), _name(node)) for node in _nodes(schema)}
    foreign = sorted(name for loader, name in found if not _is_allowed(loader, name, also))
    if foreign:
        raise PayloadError(
            f"the stored pipeline holds {', '.join(foreign[:10])}, which is not loaded. Train it again"
        )
    return sorted({name for _, name in found})


def _is_allowed(loader: str, name: str, also: Collection[str]) -> bool:
    return name in ALLOWED.get(loader, ()) or (loader == "ObjectNode" and name in also)


def _name(node: dict[str, Any]) -> str:
    return f"{node.get('__module__')}.{node.get('__class__')}"


def _nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All of the schema's objects that say a class or a loader, at any depth."""
    pending: list[Any] = [schema]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if "__loader__" in value or "__class__" in value:
                yield value
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


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
