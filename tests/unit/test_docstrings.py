"""What people call or implement is documented by parts: arguments, what comes back, what is raised."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from manymodels_spark.families import base as families
from manymodels_spark.notebook import api, champion, training_run
from manymodels_spark.warehouse import base as warehouse

PUBLIC = (
    api.ManyModels,
    champion.ChampionModel,
    training_run.TrainingRun,
    families.Family,
    families.Problem,
    warehouse.Warehouse,
)


def methods() -> Iterator[Any]:
    for owner in PUBLIC:
        for name, found in vars(owner).items():
            function = getattr(found, "__func__", found)
            if not name.startswith("_") and inspect.isfunction(function):
                yield pytest.param(function, id=f"{owner.__name__}.{name}")


@pytest.mark.parametrize("method", methods())
def test_a_public_method_says_what_it_takes_gives_and_raises(method: Callable[..., Any]) -> None:
    doc = inspect.getdoc(method) or ""
    signature = inspect.signature(method)
    takes = {name for name in signature.parameters if name not in ("self", "cls")}
    described = {name for name in takes if f"    {name}: " in doc or f"    **{name}: " in doc}

    assert described == takes
    assert ("Returns:" in doc) == (signature.return_annotation not in ("None", None))
    raised = {
        ast.unparse(node.exc.func)
        for node in ast.walk(ast.parse(inspect.cleandoc(f"\n{inspect.getsource(method)}")))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    }
    assert {name for name in raised if f"{name}: " not in doc} == set()
