"""All that a user can say about a server: bounds, times, who may ask.

Values come from the command line or from environment variables.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, SecretStr, StringConstraints, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from manymodels_spark.errors import ManyModelsError

PREFIX = "MANYMODELS_SERVE_"
MIB = 1024 * 1024


def _lines(value: Any) -> Any:
    """Text as its lines or comma-separated parts. What is given must hold an entry, and no blank one."""
    if isinstance(value, str):
        # A partition key in JSON holds commas of its own.
        whole = "\n" in value or value.lstrip().startswith("{")
        value = [part for part in (value.splitlines() if whole else value.split(",")) if part.strip()]
    found = tuple(part.strip() if isinstance(part, str) else part for part in value)
    if not found:
        raise ValueError("it is given but holds no entry. Add one, or leave it out")
    if "" in found:
        raise ValueError("an entry is blank")
    return found


Seconds = Annotated[float, Field(gt=0)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Texts = Annotated[tuple[Text, ...], NoDecode, BeforeValidator(_lines)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_lines)]


class ServingSettings(BaseSettings):
    """Bounds of one server process; sizes in MiB, times in seconds.

    Every field may come from the environment: `MANYMODELS_SERVE_CACHE_MB=1024` and so on; lists are separated
    by line ends, or by commas.

    `rss_mb` bounds the whole process, None where only the models' own bytes count. `values` bounds what a
    body holds, by its commas: it is decoded in one go. `cells` bounds an answer:
    items x steps or rows x (1 + 2 x levels), added up over a request. `queue` is how many large requests may
    wait for a predictor, and 32 times as many small ones. `keys` are bearer keys. `entra_roles` and
    `entra_scopes` are what a token must have one of, `entra_clients` the applications that it may come from.
    With neither `keys` nor Entra the endpoint is open, which `open` must say where it listens beyond the
    loopback address. `families` are those named `module:Class` that models may have beside those of the spec:
    no other module is imported for a model. At the start one champion of each family among the first `sample`
    is loaded, and `warm` (ids or JSON keys).
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, validate_default=False)

    cache_models: Annotated[int, Field(ge=1)] | None = None
    cache_mb: Annotated[float, Field(gt=0)] = 512
    rss_mb: Annotated[float, Field(gt=0)] | None = None
    ttl: Seconds = 300
    negative_ttl: Seconds = 30
    retry_after: Annotated[int, Field(ge=1)] = 5
    warm: Texts = ()
    sample: Annotated[int, Field(ge=0, le=1000)] = 50
    disk: Path | None = None
    disk_mb: Annotated[float, Field(gt=0)] = 4096
    loaders: Annotated[int, Field(ge=1, le=64)] = 4
    pending_loads: Annotated[int, Field(ge=1)] = 256
    predictors: Annotated[int, Field(ge=1, le=64)] = 2
    queue: Annotated[int, Field(ge=1)] = 64
    body_mb: Annotated[float, Field(gt=0)] = 8
    items: Annotated[int, Field(ge=1)] = 1000
    rows: Annotated[int, Field(ge=1)] = 50_000
    values: Annotated[int, Field(ge=1)] = 500_000
    horizon: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    cells: Annotated[int, Field(ge=1)] = 500_000
    body_seconds: Seconds = 10
    load_seconds: Seconds = 10
    request_seconds: Seconds = 30
    keys: Secrets = ()
    entra_tenant: Text | None = None
    entra_audience: Text | None = None
    entra_issuer: Text | None = None
    entra_keys_url: Text | None = None
    entra_roles: Texts = ()
    entra_scopes: Texts = ()
    entra_clients: Texts = ()
    open: bool = False
    allow_pickle: bool = False
    families: Annotated[tuple[Text, ...], NoDecode, BeforeValidator(_lines)] = ()

    @classmethod
    def of_environment(cls, **given: Any) -> Self:
        """The settings of the environment, where an argument that is given (and not None) wins.

        Raises:
            ManyModelsError: A value is out of bounds or says nothing; the message names field and variable.

        """
        try:
            return cls(**{name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = str(first["loc"][0]) if first["loc"] else "entra_tenant"
            where = where.removeprefix(PREFIX.lower()).lower()
            message = first["msg"].removeprefix("Value error, ")
            raise ManyModelsError(
                f"serving setting {where} (or {PREFIX}{where.upper()}): {message}. Correct it and start again"
            ) from None

    @property
    def guarded(self) -> bool:
        """Whether callers have to show a key or a token."""
        return bool(self.keys) or self.entra_audience is not None

    @model_validator(mode="after")
    def _whole_entra(self) -> Self:
        """A tenant without an audience would let everybody in who asks without a token."""
        given = {
            name for name in type(self).model_fields if name.startswith("entra_") and getattr(self, name)
        }
        missing = {"entra_tenant", "entra_audience"} - given
        if given and missing:
            raise ValueError(f"{' and '.join(sorted(missing))} is missing next to {', '.join(sorted(given))}")
        if any(not key.get_secret_value().strip() for key in self.keys):
            raise ValueError("keys: a key is blank")
        return self


def require_access_control(settings: ServingSettings, host: str | None) -> None:
    """Return where it is said who may ask.

    Args:
        settings: The server's settings.
        host: The address that the server listens on, None where another program decides that.

    Raises:
        ManyModelsError: The server would answer everybody, on an address that others may reach, without
            `open`.

    """
    if settings.guarded or settings.open or (host is not None and is_loopback(host)):
        return
    where = "listen on an address that this program does not know" if host is None else f"listen on {host}"
    raise ManyModelsError(
        f"the server would {where} and answer everybody. Give --key-file (or {PREFIX}KEYS) or --entra-tenant "
        f"with --entra-audience; or say --open (or {PREFIX}OPEN=true) where another gate stands in front"
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
