"""The few pieces of markup that the sections are made of. Texts are escaped here, numbers are written by
`number`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from manymodels_spark.reporting.svg import number

LONG = 32


class Markup(str):
    """Text that is markup already; everything else is escaped by `cell`."""

    __slots__ = ()


def cell(value: object) -> str:
    """A value as markup: floats in three digits, counts with thousands apart, texts escaped."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return escape("–" if value is None else str(value))
    return f"{value:,}" if isinstance(value, int) else number(value)


def table(head: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[int] = ()) -> Markup:
    """A table that scrolls sideways where it is too wide; the columns in `numbers` are set right, long texts
    wrap.
    """
    kind = [' class="n"' if index in numbers else "" for index in range(len(head))]
    heads = "".join(f'<th scope="col"{kind[index]}>{escape(name)}</th>' for index, name in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind[index] or _wide(value)}>{cell(value)}</td>" for index, value in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return Markup(
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _wide(value: object) -> str:
    shown = re.sub("<[^>]*>", "", value) if isinstance(value, Markup) else str(value)
    return ' class="wide"' if len(shown) > LONG else ""


def section(name: str, title: str, lead: str, *parts: str) -> Markup:
    """A section with its heading and a line that says what it shows. `lead` is text."""
    said = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    return Markup(f'<section id="{name}"><h2>{escape(title)}</h2>{said}{"".join(parts)}</section>')


def paragraph(text: str, kind: str = "soft") -> Markup:
    """A paragraph of text."""
    return Markup(f'<p class="{kind}">{escape(text)}</p>')


def heading(text: str) -> Markup:
    """A heading within a section."""
    return Markup(f"<h3>{escape(text)}</h3>")


def scroll(inner: str) -> Markup:
    """A drawing that may be wider than the window."""
    return Markup(f'<div class="scroll">{inner}</div>')


def to_partition(partition_id: str, text: str) -> Markup:
    """A link that opens a partition in the list. Ids are letters and digits, and escaped all the same."""
    return Markup(f'<a href="#p-{escape(partition_id)}">{escape(text)}</a>')


def percent(part: float, whole: float) -> str:
    """`12.5 %`, or a dash where there is no whole."""
    return f"{part / whole:.1%}".replace("%", " %") if whole else "–"


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
