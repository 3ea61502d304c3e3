"""The parts of a spec that say what the rows are: the columns' roles, and what may be done before a fit."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from manymodels_spark.spec.frequency import Frequency
from manymodels_spark.spec.parts import Identifier, Part
from manymodels_spark.spec.source import Source

PLACE = r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$"
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


def _place(value: Any) -> Any:
    """One mistake where neither form was meant."""
    if (isinstance(value, str) and not re.fullmatch(PLACE, value)) or not isinstance(
        value, str | dict | PlaceColumn | None
    ):
        raise ValueError(
            "expected a country, e.g. ES, a region of it, e.g. ES-MD, or {column: NAME} with the column "
            "that says it"
        )
    return PlaceColumn.model_validate(value) if isinstance(value, dict) else value


class PlaceColumn(Part):
    """The column that says in which country or region a partition is."""

    column: Identifier


class Columns(Part):
    """The roles of the source's columns."""

    target: Identifier
    time: Identifier | None = None
    frequency: Frequency = "D"
    known_future: list[Identifier] = []
    features: list[Identifier] = []
    static: list[Identifier] = []
    id: Identifier | None = None
    group: Identifier | None = None
    holidays: Annotated[
        Annotated[str, Field(pattern=PLACE)] | PlaceColumn | None, BeforeValidator(_place)
    ] = None

    @property
    def inputs(self) -> list[str]:
        """All columns that a family may use to predict, in the order of the spec."""
        return list(dict.fromkeys([*self.known_future, *self.features, *self.static]))


class Closed(Part):
    """Steps on which a partition is closed: neither trained on as sales nor judged.

    `auto` takes every weekday on which a partition never had a row. `column` names a column of the rows (and
    of `prepare.calendar` for the days to come) that is true, 1 or `closed` where it is closed. `predict` says
    whether closed steps of the horizon are predicted as 0 or left out.
    """

    weekdays: list[Weekday] = []
    holidays: bool = False
    column: Identifier | None = None
    auto: bool = False
    predict: Literal["zero", "leave_out"] = "zero"

    def __bool__(self) -> bool:
        return bool(self.weekdays or self.holidays or self.column or self.auto)


def _closed(value: Any) -> Any:
    """`auto`, or a list of weekdays, as the part that it means."""
    if value == "auto":
        return {"auto": True}
    return {"weekdays": value} if isinstance(value, list) else value


class Prepare(Part):
    """What may be done to the rows before a fit; nothing is touched that is not asked for here."""

    duplicates: Literal["last", "sum", "mean", "error"] = "last"
    gaps: Literal["zero", "forward", "leave"] = "leave"
    not_finite: Literal["quarantine", "drop"] = "quarantine"
    bad_times: Literal["quarantine", "drop"] = "quarantine"
    null_keys: Literal["quarantine", "keep"] = "quarantine"
    negatives: Literal["keep", "zero", "drop"] = "keep"
    outliers: Annotated[float, Field(gt=0)] | None = None
    timezone: str = "UTC"
    history: Annotated[int, Field(ge=2)] | None = None
    calendar: Source | None = None
    closed: Annotated[Closed, BeforeValidator(_closed)] = Closed()
    until: Literal["latest", "last_row"] | date | None = None
    inactive_after: Annotated[int, Field(ge=1)] | None = None
