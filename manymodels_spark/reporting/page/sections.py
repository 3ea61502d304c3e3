"""The report's sections in their order, and the numbers above them."""

from __future__ import annotations

from manymodels_spark.reporting import figures, svg
from manymodels_spark.reporting.page import attention, quality, running
from manymodels_spark.reporting.page.blocks import Section, percent
from manymodels_spark.reporting.records import FAILED, FALLBACK, FITTED, ReportData


def sections(data: ReportData, listed: int) -> list[tuple[str, Section]]:
    """Each section with its name in the page's navigation; `listed` partitions are in the script's data."""
    return [
        ("Counts", running.counts(data)),
        ("Errors", quality.errors(data)),
        ("Models", quality.models(data)),
        ("Where", quality.where(data)),
        ("Best and worst", attention.picks(data)),
        ("Intervals", quality.coverage(data)),
        ("Quarantine", attention.quarantine(data)),
        ("Promotion", running.decisions(data)),
        ("Time", running.time(data)),
        ("Partitions", attention.partitions(data, listed)),
    ]


def tiles(data: ReportData) -> list[tuple[str | None, str, str]]:
    """The few numbers that are looked for first: value, name, class of the style sheet."""
    frame = data.partitions
    known = figures.finite(frame, "metric")
    both = figures.finite(known, "naive")
    usable = int(frame["status"].isin([FITTED, FALLBACK]).sum())
    return [
        (f"{len(frame):,}", "partitions", ""),
        (f"{usable:,}", f"with a model ({percent(usable, len(frame))})", "" if usable else "bad"),
        (f"{int((frame['status'] == FAILED).sum()):,}", "in quarantine", ""),
        (f"{sum(share.count for share in data.champions):,}", "champions in production", ""),
        (svg.number(float(known["metric"].median()) if len(known) else None), f"median {data.metric}", ""),
        (
            svg.number(float(both["naive"].median()) if len(both) else None),
            f"median {data.metric}, seasonal naive",
            "",
        ),
    ]
