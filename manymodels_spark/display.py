"""How objects show themselves: in a notebook as a title and a plain table, every text escaped;
counts with their noun.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def plural(count: int, noun: str) -> str:
    """`1 partition`, `2,000 partitions`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def html_table(title: str, rows: Iterable[Sequence[object]], head: Sequence[str] = ()) -> str:
    """A titled table; whole numbers have thousands apart, other floats three decimals, None is a dash."""
    heads = (
        "<tr>" + "".join(f"<th style='text-align:left'>{escape(name)}</th>" for name in head) + "</tr>"
        if head
        else ""
    )
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{_cell(value)}</td>" for value in row) + "</tr>"
        for row in rows
    )
    return f"<div><b>{escape(title)}</b><table>{heads}{body}</table></div>"


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return escape(str(value))
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
