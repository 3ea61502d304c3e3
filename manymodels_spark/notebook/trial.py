"""A trial as a notebook shows it."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import RenderableType

from manymodels_spark.reporting.terminal import as_html
from manymodels_spark.reporting.trial import trial_view
from manymodels_spark.stages.trial import Trial


@dataclass(frozen=True)
class Tried:
    """A trial that shows itself as `manymodels try` does; `trial` has its tables and figures."""

    trial: Trial

    def _repr_html_(self) -> str:
        return as_html(self._parts())

    def _parts(self) -> list[RenderableType]:
        return list(trial_view(self.trial, "mm.run()"))
