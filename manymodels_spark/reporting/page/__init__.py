"""The report as one HTML file that opens without a network: sections as markup,
partitions as data for its script.

Templates escape whatever comes from data; the script puts text into the page only as text, and the page's
policy lets no other script run.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from manymodels_spark.reporting.page.encode import encode
from manymodels_spark.reporting.page.sections import sections, tiles
from manymodels_spark.reporting.records import ReportData
from manymodels_spark.reporting.svg import number

LARGEST = 8_000_000


def render(data: ReportData, largest: int = LARGEST) -> str:
    """The whole page.

    Args:
        data: what is shown.
        largest: most bytes of the partitions' data; beyond it only the most telling partitions are listed.

    Returns:
        A document that loads nothing.

    """
    script, style = _file("page.js"), _file("page.css")
    encoded, listed = encode(data, largest)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; "
        "form-action 'none'"
    )
    return (
        _templates()
        .get_template("index.html")
        .render(
            policy=Markup(policy),
            style=Markup(style),
            script=Markup(script),
            data=data,
            listed=Markup(encoded),
            tiles=tiles(data),
            sections=sections(data, listed),
        )
    )


@lru_cache(maxsize=1)
def _templates() -> Environment:
    templates = Environment(loader=PackageLoader(__package__, ""), autoescape=True, undefined=StrictUndefined)
    templates.filters["written"] = _written
    return templates


def _written(value: object) -> object:
    """A cell's value: floats in three digits, counts with thousands apart, a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return f"{value:,}" if isinstance(value, int) else number(value)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@lru_cache(maxsize=2)
def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
