"""The bounds and whole numbers that a spec asks of predictions (`predict.minimum`, `maximum`, `integer`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manymodels_spark.spec.model import Predict

Floats = NDArray[np.float64]
# What rounding errors of a scaled residual may add to a bound that is a whole number.
_SLACK = 1e-6


@dataclass(frozen=True)
class Bounds:
    """Applied to a combined prediction before it is judged, before intervals are calibrated, and to them."""

    minimum: float | None = None
    maximum: float | None = None
    integer: bool = False

    @classmethod
    def of(cls, predict: Predict) -> Bounds:
        """Those of a spec."""
        return cls(predict.minimum, predict.maximum, predict.integer)

    @classmethod
    def of_dict(cls, values: Mapping[str, Any] | None) -> Bounds:
        """The inverse of `as_dict`; no bounds for a payload without them."""
        return cls(**values) if values else NO_BOUNDS

    def as_dict(self) -> dict[str, Any] | None:
        """The fields as JSON holds them, None where nothing is asked for."""
        return None if self == NO_BOUNDS else asdict(self)

    def applied(self, values: Floats) -> Floats:
        """Predictions or quantiles within the bounds, and whole where asked for, of the same shape."""
        return self._clipped(np.rint(values) if self.integer else values)

    def lower(self, values: Floats) -> Floats:
        """Lower ends of intervals: the smallest whole number inside, which holds the same whole actuals."""
        return self._clipped(np.ceil(values - _SLACK) if self.integer else values)

    def upper(self, values: Floats) -> Floats:
        """Upper ends of intervals: the largest whole number inside."""
        return self._clipped(np.floor(values + _SLACK) if self.integer else values)

    def _clipped(self, values: Floats) -> Floats:
        if self.minimum is None and self.maximum is None:
            return values
        return np.asarray(np.clip(values, self.minimum, self.maximum), dtype=np.float64)


NO_BOUNDS = Bounds()
