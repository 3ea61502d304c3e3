"""Many Models on Spark: one model per partition, thousands of them, from one spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manymodels_spark._version import __version__

if TYPE_CHECKING:
    from manymodels_spark.notebook.api import ManyModels
    from manymodels_spark.spec import Spec

__all__ = ["ManyModels", "Spec", "__version__"]

_HOME = {"ManyModels": "manymodels_spark.notebook.api", "Spec": "manymodels_spark.spec"}


def __getattr__(name: str) -> Any:
    """The public names, imported when first used:
    a fit in an executor must not pay for the whole pipeline.
    """
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
