"""Data Factory's expressions, as far as our pipelines use them.

https://learn.microsoft.com/azure/data-factory/control-flow-expression-language-functions
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

_TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*')|(\d+)|([A-Za-z_]\w*)|(.))")


def resolved(value: Any, names: Mapping[str, Any]) -> Any:
    """A property: an expression is evaluated, all else is taken as it is."""
    if isinstance(value, dict) and value.get("type") == "Expression":
        value = value["value"]
    if not isinstance(value, str) or not value.startswith("@"):
        return value
    return Expression(value[1:], names).value()


class Expression:
    """One expression over `names`, such as the functions `pipeline` and `activity`, which give objects."""

    def __init__(self, text: str, names: Mapping[str, Any]) -> None:
        self.tokens = [next(filter(None, found)) for found in _TOKEN.findall(text)]
        self.names = {**FUNCTIONS, **names}

    def value(self) -> Any:
        """What it gives. Raises KeyError for a function or property that there is not."""
        found = self._term()
        assert not self.tokens, f"left over: {self.tokens}"
        return found

    def _term(self) -> Any:
        token = self.tokens.pop(0)
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if token.isdigit():
            return int(token)
        found = self.names[token]
        while self.tokens and self.tokens[0] in "(.":
            found = found(*self._arguments()) if self.tokens.pop(0) == "(" else found[self.tokens.pop(0)]
        return found

    def _arguments(self) -> list[Any]:
        found: list[Any] = []
        while self.tokens[0] != ")":
            found.append(self._term())
            if self.tokens[0] == ",":
                self.tokens.pop(0)
        self.tokens.pop(0)
        return found


def _subtract(moment: str, interval: int, unit: str, form: str = "o") -> str:
    """`subtractFromTime`: the moment less so many units, in the form `yyyy-MM-ddTHH:mm:ss.fff`."""
    assert form == "yyyy-MM-ddTHH:mm:ss.fff", form
    found = datetime.fromisoformat(moment) - timedelta(**{f"{unit.lower()}s": interval})
    return found.isoformat(timespec="milliseconds")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "concat": lambda *parts: "".join(map(str, parts)),
    "replace": lambda text, old, new: text.replace(old, new),
    "subtractFromTime": _subtract,
}
