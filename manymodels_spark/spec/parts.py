"""What all parts of a spec are made of: the base class, and values as people write them (`2%`, `512m`)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Identifier = Annotated[str, Field(min_length=1, max_length=255)]


class Part(BaseModel):
    """Base of all parts of a spec: unknown keys are refused, values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def percent(value: object) -> object:
    """`2%` as 0.02; numbers pass unchanged."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError:
            return value
    return value


def _megabytes(value: object) -> object:
    """`512m`, `2g` as megabytes; numbers pass unchanged."""
    units = {"m": 1, "mb": 1, "g": 1024, "gb": 1024}
    if isinstance(value, str):
        text = value.strip().lower()
        for unit in sorted(units, key=len, reverse=True):
            if text.endswith(unit) and text.removesuffix(unit).strip().isdigit():
                return int(text.removesuffix(unit)) * units[unit]
    return value


Percent = BeforeValidator(percent)
Fraction = Annotated[float, Percent, Field(ge=0, le=1)]
Megabytes = Annotated[int, BeforeValidator(_megabytes), Field(ge=64)]
