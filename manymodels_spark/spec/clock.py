"""On which clock a spec's times are kept.

Steps of a day and more are wall times in `prepare.timezone`: a day has a date, whatever its clock does.
Steps below a day are kept in UTC, where no hour comes twice and none is missing.
"""

from __future__ import annotations

from manymodels_spark.spec.frequency import step_of
from manymodels_spark.spec.model import Spec

UTC, DAY_SECONDS = "UTC", 86_400


def is_below_a_day(spec: Spec) -> bool:
    """Whether the spec forecasts steps shorter than a day."""
    return spec.task == "forecast" and step_of(spec.columns.frequency).seconds < DAY_SECONDS


def kept_zone(spec: Spec) -> str:
    """The zone whose wall time the lake, the models and the predictions keep."""
    return UTC if is_below_a_day(spec) else spec.prepare.timezone


def local_zone(spec: Spec) -> str | None:
    """The zone of the local clock where times are kept on another one, else None."""
    zone = spec.prepare.timezone
    return None if kept_zone(spec) == zone else zone
