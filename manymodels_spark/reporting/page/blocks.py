"""What the report's sections are made of, as plain records; `blocks.html` says how each of them looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup

LONG = 32


@dataclass(frozen=True)
class Link:
    """A link that opens a partition in the list."""

    partition_id: str
    text: str


Cell = str | int | float | bool | None | Link | Markup


@dataclass(frozen=True)
class Block:
    """Base of what stands in a section; `kind` is the macro that draws it."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class Paragraph(Block):
    """A paragraph of text; `look` is a class of the style sheet."""

    kind: ClassVar[str] = "paragraph"
    text: str
    look: str = "soft"


@dataclass(frozen=True)
class Heading(Block):
    """A heading within a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Drawing(Block):
    """A chart; `scrolls` where it may be wider than the window."""

    kind: ClassVar[str] = "drawing"
    svg: Markup
    scrolls: bool = False


@dataclass(frozen=True)
class Table(Block):
    """A table that scrolls sideways where it is too wide; the columns in `numbers` are set right."""

    kind: ClassVar[str] = "table"
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numbers: Sequence[int] = ()

    def look(self, column: int, cell: Cell) -> str:
        """The class of a cell: numbers are set right, long texts wrap."""
        if column in self.numbers:
            return "n"
        shown = cell.text if isinstance(cell, Link) else str(cell)
        return "wide" if not isinstance(cell, Markup) and len(shown) > LONG else ""


@dataclass(frozen=True)
class Side(Block):
    """Blocks of which several groups stand next to each other."""

    kind: ClassVar[str] = "side"
    groups: Sequence[Sequence[Block]]


@dataclass(frozen=True)
class Sum(Block):
    """The sum that partitions must make, and how many are missing in it."""

    kind: ClassVar[str] = "sum"
    text: str
    missing: int


@dataclass(frozen=True)
class Legend(Block):
    """What the colours of a small chart stand for, by class of the style sheet."""

    kind: ClassVar[str] = "legend"
    names: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class PartitionList(Block):
    """The list of all partitions, filled by the page's script; `example` is of a search."""

    kind: ClassVar[str] = "partition_list"
    example: str
    kinds: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Section:
    """A section with its heading, and a line on what it shows."""

    name: str
    title: str
    lead: str
    blocks: Sequence[Block] = field(default=())


def section(name: str, title: str, lead: str, *blocks: Block | Iterable[Block] | None) -> Section:
    """A section of blocks and lists of blocks, in order; None is left out."""
    flat: list[Block] = []
    for one in blocks:
        flat.extend([one] if isinstance(one, Block) else one or [])
    return Section(name, title, lead, flat)


def percent(part: float, whole: float) -> str:
    """`12.5 %`, or a dash where there is no whole."""
    return f"{part / whole:.1%}".replace("%", " %") if whole else "–"


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
