"""Whether the indices inside stored trees stay inside them.

scikit-learn follows a tree's child and feature indices without looking at bounds, so that an altered array
would read foreign memory or end the process. Only what came from a file has to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from manymodels_spark.errors import PayloadError

_UNBOUNDED = 2**31


def check_trees(root: Any) -> None:
    """Return where every tree below an estimator is sound.

    Args:
        root: A loaded estimator or pipeline.

    Raises:
        PayloadError: A node's children lie before it or outside its tree, or it reads a feature that the
            estimator does not take.

    """
    for tree, width in _trees(root):
        sound = _sound_histogram_tree(tree, width) if hasattr(tree, "nodes") else _sound_tree(tree, width)
        if not sound:
            raise PayloadError(
                "a stored tree points outside itself: it is damaged. Train the partition again"
            )


def _trees(root: Any) -> Iterator[tuple[Any, int]]:
    """Each tree below an object, with the least number of features that any of its owners takes."""
    pending: list[tuple[Any, int]] = [(root, _UNBOUNDED)]
    seen: set[tuple[int, int]] = set()
    while pending:
        value, width = pending.pop()
        if isinstance(value, np.ndarray):
            value = value.ravel().tolist() if value.dtype == object else None
        if isinstance(value, (str, bytes, int, float, type(None))) or (id(value), width) in seen:
            continue
        seen.add((id(value), width))
        if type(value).__name__ in {"Tree", "TreePredictor"}:
            yield value, width
        elif isinstance(value, (list, tuple)):
            pending.extend((part, width) for part in value)
        else:
            parts = value if isinstance(value, dict) else getattr(value, "__dict__", {})
            own = parts.get("n_features_in_")
            width = min(width, int(own)) if isinstance(own, (int, np.integer)) else width
            pending.extend((part, width) for part in parts.values())


def _sound_tree(tree: Any, width: int) -> bool:
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    inner = left != -1
    return tree.n_features <= width and _inside(left, right, feature, inner, tree.n_features)


def _sound_histogram_tree(tree: Any, width: int) -> bool:
    nodes = tree.nodes
    inner = nodes["is_leaf"] == 0
    sets = nodes["bitset_idx"][inner & (nodes["is_categorical"] != 0)]
    inside = _inside(nodes["left"], nodes["right"], nodes["feature_idx"], inner, width)
    return inside and bool((sets < len(tree.raw_left_cat_bitsets)).all())


def _inside(left: Any, right: Any, feature: Any, inner: Any, width: int) -> bool:
    """Whether all inner nodes lead to later nodes of the same tree and read one of `width` features."""
    own = np.flatnonzero(inner)
    children = np.column_stack([left[inner], right[inner]]).astype(np.int64)
    ahead = bool((children > own[:, None]).all() and (children < len(left)).all())
    read = feature[inner].astype(np.int64)
    return len(left) > 0 and ahead and bool((read >= 0).all() and (read < width).all())
