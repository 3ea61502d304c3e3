"""The hint after a name that is not known: what was probably meant, and what there is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Names less alike than this are no slip of the keyboard.
_ALIKE = 0.5


def did_you_mean(given: str, known: Iterable[str], *, listed: bool = True) -> str:
    """` Did you mean 'metric'? Known: folds, gap, metric`, beginning with a space; empty where nothing is
    known.

    Args:
        given: the name that is not known.
        known: the names that are, in the order to list them in.
        listed: whether to list them after the hint.

    """
    names = list(known)
    close = difflib.get_close_matches(given, names, 1, _ALIKE)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known: {', '.join(names)}" if names and listed else hint
