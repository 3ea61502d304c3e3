"""The web page: four small files of our own, sent as they are; nothing comes from elsewhere."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from fastapi.responses import Response

from manymodels_spark.serving.failures import ScoreError

TYPES = {
    "index.html": "text/html; charset=utf-8",
    "chart.js": "text/javascript; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri "
    "'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def response(name: str) -> Response:
    """One of the page's files. Raises ScoreError (404) for any other name."""
    if name not in TYPES:
        raise ScoreError(404, "not_found", "there is nothing at this address. See /openapi.json")
    headers = {
        "Content-Security-Policy": _POLICY,
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
    }
    return Response(_content(name), 200, headers, TYPES[name])


@lru_cache(maxsize=len(TYPES))
def _content(name: str) -> bytes:
    return files(__package__).joinpath(name).read_bytes()
