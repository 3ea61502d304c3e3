"""All that a user can say about a server: bounds, times, keys. Values come from the command line or
environment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from manymodels_spark.errors import ManyModelsError

PREFIX = "MANYMODELS_SERVE_"
MIB = 1024 * 1024

Seconds = Annotated[float, Field(gt=0)]


class ServingSettings(BaseModel):
    """Bounds of one server process; sizes in MiB, times in seconds.

    `rss_mb` bounds the whole process, None where only the models' own bytes count. `keys` are bearer keys;
    with neither `keys` nor `entra_audience` the endpoint is open, which suits a laptop only. At the start one
    champion of each family among the first `sample` is loaded, and `warm` (ids or JSON keys).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cache_models: Annotated[int, Field(ge=1)] | None = None
    cache_mb: Annotated[float, Field(gt=0)] = 512
    rss_mb: Annotated[float, Field(gt=0)] | None = None
    ttl: Seconds = 300
    negative_ttl: Seconds = 30
    retry_after: Annotated[int, Field(ge=1)] = 5
    warm: tuple[str, ...] = ()
    sample: Annotated[int, Field(ge=0, le=1000)] = 50
    disk: Path | None = None
    disk_mb: Annotated[float, Field(gt=0)] = 4096
    loaders: Annotated[int, Field(ge=1, le=64)] = 4
    pending_loads: Annotated[int, Field(ge=1)] = 256
    predictors: Annotated[int, Field(ge=1, le=64)] = 2
    body_mb: Annotated[float, Field(gt=0)] = 8
    items: Annotated[int, Field(ge=1)] = 1000
    rows: Annotated[int, Field(ge=1)] = 50_000
    horizon: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    body_seconds: Seconds = 10
    load_seconds: Seconds = 10
    request_seconds: Seconds = 30
    keys: tuple[SecretStr, ...] = ()
    entra_tenant: str | None = None
    entra_audience: str | None = None
    entra_issuer: str | None = None
    entra_keys_url: str | None = None
    allow_pickle: bool = False

    @classmethod
    def of_environment(cls, **given: Any) -> Self:
        """`MANYMODELS_SERVE_CACHE_MB=1024` and so on for every field; lists are separated by line ends, or by
        commas.

        What is given as an argument (and not None) wins. Raises ManyModelsError naming the variable.
        """
        found: dict[str, Any] = {}
        for name in cls.model_fields:
            text = os.environ.get(PREFIX + name.upper())
            if text:
                found[name] = _split(text) if name in _LISTS else text
        found.update({name: value for name, value in given.items() if value is not None})
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = str(first["loc"][0]) if first["loc"] else "settings"
            raise ManyModelsError(
                f"serving setting {where} (or {PREFIX}{where.upper()}): {first['msg']}. Correct it and "
                "start again"
            ) from None


_LISTS = {"warm", "keys"}


def _split(text: str) -> tuple[str, ...]:
    # A partition key in JSON holds commas of its own.
    parts = text.splitlines() if "\n" in text or text.lstrip().startswith("{") else text.split(",")
    return tuple(part.strip() for part in parts if part.strip())
