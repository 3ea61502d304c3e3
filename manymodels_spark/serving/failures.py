"""Every way in which a request fails: an HTTP status, a code for programs and a plain reason for people.

No key, path or trace ever gets into an answer: whatever is not listed here becomes `internal`, without
detail.
"""

from __future__ import annotations

from typing import Any, TypeVar

from manymodels_spark.errors import FitError, ManyModelsError, PayloadError
from manymodels_spark.families.deadline import DeadlinePassed
from manymodels_spark.serving.models.cache import Busy
from manymodels_spark.serving.models.sources import SourceDown, UnknownPartition

E = TypeVar("E", bound=BaseException)


class ScoreError(ManyModelsError):
    """A request or an item that cannot be answered. `retry_after` is in seconds."""

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        self.status, self.code, self.retry_after = status, code, retry_after
        super().__init__(message)

    def as_dict(self) -> dict[str, Any]:
        """As an answer holds it."""
        return {"code": self.code, "message": str(self)}


def invalid(message: str) -> ScoreError:
    """What the client has to correct."""
    return ScoreError(422, "invalid", message)


def forget_frames(error: E) -> E:
    """The error without the frames that it came through, and without the errors that it came from.

    Frames hold the request, which holds the errors of its items: a circle, which stays in memory until the
    garbage collector finds it, and makes that take half a second.
    """
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


def explained(error: BaseException, retry_after: int) -> ScoreError:
    """Any failure as one that may be shown."""
    match error:
        case ScoreError():
            return error
        case UnknownPartition():
            return ScoreError(404, "unknown_partition", str(error))
        case SourceDown():
            message = "the model is not in memory and its source cannot be reached. Ask again in a moment"
            return ScoreError(503, "source_down", message, retry_after)
        case DeadlinePassed():
            return ScoreError(503, "timeout", str(error), 1)
        case Busy():
            return ScoreError(503, "busy", str(error), 1)
        case TimeoutError():
            return ScoreError(
                503, "timeout", "the model is still being loaded. Ask again in a moment", retry_after
            )
        case PayloadError():
            # The model, not the request, has to be corrected, and repeating the request is of no use.
            message = "the partition's model failed its verification and is not loaded. Promote it again"
            return ScoreError(424, "model_unusable", message)
        case FitError():
            return invalid(str(error))
        case _:
            return ScoreError(
                500, "internal", "the model failed on this request; the server's log has the reason"
            )
