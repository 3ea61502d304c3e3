"""The report as one HTML file that opens without a network: sections as markup, partitions as data for its
script.

Whatever comes from data is escaped; the script puts text into the page only as text, and the page's policy
lets no other script run.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from html import escape
from importlib.resources import files
from string import Template

from manymodels_spark.reporting.page.encode import encode
from manymodels_spark.reporting.page.sections import sections
from manymodels_spark.reporting.records import ReportData

LARGEST = 8_000_000


def render(data: ReportData, largest: int = LARGEST) -> str:
    """The whole page. `largest` bounds the bytes of the partitions' data; beyond it only the most telling are
    listed.
    """
    script, style = _file("page.js"), _file("page.css")
    encoded, listed = encode(data, largest)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; "
        "form-action 'none'"
    )
    return Template(_file("index.html")).substitute(
        policy=policy,
        title=escape(f"{data.spec}: report"),
        style=style,
        body=sections(data, listed),
        data=encoded,
        script=script,
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@lru_cache(maxsize=3)
def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
