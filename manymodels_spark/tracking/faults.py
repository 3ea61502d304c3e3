"""What an error of MLflow's client means: was the call refused, did it fail, or does nobody know?

MLflow wraps errors of the network in its own, so the chain of causes is read and not only the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from manymodels_spark.errors import TrackingError

NOT_ALLOWED = (401, 403)
REFUSED = 429
TRANSIENT = frozenset({408, 500, 502, 503, 504})
LONGEST_PAUSE = 120.0
_STATUS = re.compile(
    r"failed with error code (\d{3})|too many (\d{3}) error responses|^(\d{3}) (?:Client|Server) Error"
)
# Words of MLflow's own texts around a broken connection, for versions that drop the cause.
_LOST = re.compile(
    r"API request to \S+ failed with (?:timeout )?exception (?!.*too many \d{3} error)", re.DOTALL
)
_NOT_SENT = (
    "NewConnectionError",
    "NameResolutionError",
    "ConnectionRefusedError",
    "ConnectTimeoutError",
    "ConnectTimeout",
)
_BROKEN = (
    *_NOT_SENT,
    "ConnectionError",
    "ConnectionResetError",
    "ConnectionAbortedError",
    "BrokenPipeError",
    "ProtocolError",
    "RemoteDisconnected",
    "ChunkedEncodingError",
    "ReadTimeout",
    "ReadTimeoutError",
    "Timeout",
    "TimeoutError",
    "IncompleteRead",
)


class LostAnswer(TrackingError):
    """The call may have worked, but its answer was lost: look before making anything again."""


def status_of(error: BaseException) -> int | None:
    """The HTTP status with which the server answered, None where it did not or where it is no server."""
    response = getattr(error, "response", None)
    if response is not None and getattr(response, "status_code", None):
        return int(response.status_code)
    if type(error).__name__ == "RestException":
        return int(error.get_http_status_code())  # type: ignore[attr-defined]
    found = _STATUS.search(str(error))
    return int(next(group for group in found.groups() if group)) if found else None


def is_lost(error: BaseException) -> bool:
    """Whether the connection broke or could not be made: there is no answer."""
    if status_of(error) is not None:
        return False
    return any(type(cause).__name__ in _BROKEN for cause in _causes(error)) or bool(_LOST.search(str(error)))


def is_not_done(error: BaseException) -> bool:
    """Whether it is certain that the call changed nothing: refused by a limit, never sent, or rolled back."""
    if status_of(error) == REFUSED or "database is locked" in str(error):
        return True
    causes = {type(cause).__name__ for cause in _causes(error)}
    text = str(error)
    return status_of(error) is None and (
        bool(causes & set(_NOT_SENT)) or any(f"{name}(" in text for name in _NOT_SENT)
    )


def is_transient(error: BaseException) -> bool:
    """Whether the same call may work a little later."""
    return is_not_done(error) or is_lost(error) or status_of(error) in TRANSIENT


def seconds_of(header: str | None, now: datetime | None = None) -> float | None:
    """The seconds that a Retry-After header asks for, as a number or a date; None for none or nonsense.

    Never more than two minutes: a wrong header must not stop a night's work.
    """
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(header) - (now or datetime.now(UTC))).total_seconds()
        except (ValueError, TypeError):
            return None
    return None if math.isnan(seconds) else min(LONGEST_PAUSE, max(0.0, seconds))


def retry_after_of(error: BaseException) -> str | None:
    """The Retry-After header of the answer that an error carries, where it carries one."""
    for cause in _causes(error):
        headers = getattr(getattr(cause, "response", None), "headers", None)
        if headers and headers.get("Retry-After"):
            return str(headers["Retry-After"])
    return None


def backoff(attempt: int, share: float) -> float:
    """The pause after the `attempt`-th failure, doubling up to 30 s; `share` in 0..1 spreads the callers."""
    return float(min(30.0, 0.25 * 2**attempt)) * (0.5 + 0.5 * share)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from or while handling."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
