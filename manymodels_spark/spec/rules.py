"""The parts of a spec that set rules: gates of a promotion, limits of a run, alerts of the monitoring."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from manymodels_spark.spec.metric_names import Metric
from manymodels_spark.spec.parts import Fraction, Megabytes, Part, Percent


class Gate(Part):
    """One business rule of a promotion: a metric's bound, better than the champion, enough rows, or a
    function.
    """

    metric: Metric | None = None
    below: float | None = None
    above: float | None = None
    better_than: Literal["champion", "seasonal_naive"] | None = None
    by: Fraction = 0.0
    rows: Annotated[int, Field(ge=1)] | None = None
    folds: Annotated[int, Field(ge=1)] | None = None
    coverage: Annotated[int, Field(ge=1, le=99)] | None = None
    within: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    max_age_days: Annotated[int, Field(ge=1)] | None = None
    function: Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")] | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        kinds = [
            self.metric,
            self.better_than,
            self.rows,
            self.folds,
            self.coverage,
            self.max_age_days,
            self.function,
        ]
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError(
                "a gate is exactly one of: metric with below or above, better_than, rows, folds, "
                "coverage with within, max_age_days, function"
            )
        if self.metric is not None and (self.below is None) == (self.above is None):
            raise ValueError(
                "a metric's gate requires either `below` or `above`, e.g. {metric: wape, below: 0.35}"
            )
        if self.coverage is not None and self.within is None:
            raise ValueError("a coverage gate requires its bounds, e.g. {coverage: 80, within: [0.7, 0.95]}")
        return self


class Promote(Part):
    """Which models may go to production, how they are registered there and whose approval they need."""

    all: list[Gate] = []
    any: list[Gate] = []
    form: Literal["logged_models", "registered_models"] = "logged_models"
    approval: str | None = None
    route: bool | Annotated[str, Field(min_length=1, max_length=255)] = True


class Limits(Part):
    """Bounds for one fit and for a run."""

    seconds_per_fit: Annotated[float, Field(gt=0)] = 300
    memory_per_fit: Megabytes | None = None
    failures: Fraction = 1.0
    unscored: Fraction = 0.01
    partitions_per_wave: Annotated[int, Field(ge=1)] = 1000


class Monitor(Part):
    """When live forecasts need attention: how large a change must be, how sure, and how many partitions may
    have one.
    """

    window: Annotated[int, Field(ge=7)] | None = None
    worse_by: Annotated[float, Percent, Field(gt=0)] = 0.5
    bias: Annotated[float, Percent, Field(gt=0)] = 0.2
    coverage: Fraction = 0.15
    stability: Annotated[float, Field(gt=0)] = 0.25
    significance: Annotated[float, Field(gt=0, lt=0.5)] = 0.02  # the share of alerts that may be false
    alerts: Fraction = 0.05
