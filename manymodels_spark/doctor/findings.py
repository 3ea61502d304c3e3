"""What a check says: one line with its state, what was found and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """The outcome of one check. `advice` says what to do where it failed;
    a skipped check says why in `found`.
    """

    check: str
    state: State
    found: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.found}. {self.advice}".strip()


def ok(check: str, found: str) -> Finding:
    """A check that passed."""
    return Finding(check, "ok", found)


def failed(check: str, found: str, advice: str) -> Finding:
    """A check that failed, with what to do."""
    return Finding(check, "failed", found, advice)


def skipped(check: str, why: str) -> Finding:
    """A check that could not be made here."""
    return Finding(check, "skipped", why)


def first_line(error: BaseException) -> str:
    """The line of an error that says what happened, without the passwords that drivers like to repeat."""
    import re

    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    text = re.sub(r"(?i)(password|pwd|accountkey|sig|token)=[^;&\s]+", r"\1=***", text)
    return re.sub(r"://[^/@\s]+@", "://***@", text)[:240].rstrip(".")
