"""The sections on partitions that need attention, and the list of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from manymodels_spark.display import plural
from manymodels_spark.frames import records
from manymodels_spark.reporting import figures, svg
from manymodels_spark.reporting.page.blocks import (
    Block,
    Cell,
    Heading,
    Legend,
    Link,
    Paragraph,
    PartitionList,
    Section,
    Table,
    section,
)
from manymodels_spark.reporting.records import FAILED, FALLBACK, FITTED, NEVER, ReportData

SPARK_ROWS = 84
_KINDS = {
    "": "all",
    FITTED: "fitted",
    FALLBACK: "fallback",
    FAILED: "in quarantine",
    NEVER: "never fitted",
    "detail": "with history",
}


_LEGEND = Legend(
    [
        ("history", "history"),
        ("fold", "backtest folds"),
        ("forecast", "forecast"),
        ("band", "widest interval"),
    ]
)


def picks(data: ReportData) -> Section:
    """The best, the worst and the most changed partitions."""
    chosen = figures.pick(data.partitions, figures.PICKED, higher_is_better=data.higher_is_better)
    rows = {
        str(row["partition_id"]): row
        for row in records(data.partitions[data.partitions["partition_id"].isin(chosen.ids)])
    }
    names = [
        ("Worst", chosen.worst),
        ("Best", chosen.best),
        ("Most changed since the model before", chosen.changed),
    ]
    lead = (
        "The last rows with what the newest model predicted of each fold, and the forecast. A click opens "
        "the partition."
    )
    parts: list[Block] = []
    for title, ids in names:
        parts.append(Heading(title))
        parts.append(
            _picked(data, rows, ids) if ids else Paragraph("None: no partition has a value to compare.")
        )
    return section("picks", "What needs attention", lead, _LEGEND, parts)


def _picked(data: ReportData, rows: Mapping[str, Mapping[str, Any]], ids: list[str]) -> Block:
    head = [
        "partition",
        "history, folds and forecast",
        "model",
        data.metric,
        "folds",
        "seasonal naive",
        "before",
        "rows",
    ]
    lines: list[tuple[Cell, ...]] = [
        (
            Link(one, figures.title_of(rows[one], data.partition_by)),
            _drawn(data, one),
            *_facts(rows[one], _folds(data, rows[one])),
        )
        for one in ids
    ]
    return Table(head, lines, (3, 5, 6, 7))


def _drawn(data: ReportData, partition: str) -> Markup:
    """The last rows of a partition with its forecast and the widest interval, small;
    a dash where they are not held.
    """
    near = data.details.get(partition)
    if near is None or not (near.history or near.forecast):
        return Markup("–")
    first = max(len(near.history) - SPARK_ROWS, 0)
    past = [value for _, value in near.history[first:]]
    folds = [(max(start - first, 0), values[max(first - start, 0) :]) for start, values in near.curves()]
    ahead = [value for _, value, _ in near.forecast]
    edges = [bands[max(bands)] for _, _, bands in near.forecast if bands]
    band = [(low, high) for low, high in edges if low is not None and high is not None]
    series = svg.Series(past, folds, ahead, band if len(band) == len(ahead) else [])
    return svg.spark(series, "history, folds and forecast")


def _folds(data: ReportData, row: Mapping[str, Any]) -> str:
    """The chosen candidate's metric in each fold, newest first."""
    near = data.details.get(str(row["partition_id"]))
    scores = near.scores if near is not None else []
    own = next((score for score in scores if score["candidate"] == row["family"]), None)
    folds: Any = own["folds"] if own is not None else []
    return "  ".join(svg.number(fold.get(data.metric)) for fold in folds) or "–"


def _facts(row: Mapping[str, Any], folds: str) -> tuple[Cell, ...]:
    return (
        str(row["family"]),
        float(row["metric"]),
        folds,
        float(row["naive"]),
        float(row["previous"]),
        int(row["rows"]),
    )


def quarantine(data: ReportData) -> Section:
    """Partitions without a model by reason, and what was not scored."""
    rows: list[tuple[Cell, ...]] = [
        (
            row.reason,
            row.partitions,
            "; ".join(f"{key}: {message}" for key, message in row.examples),
            row.advice,
        )
        for row in data.quarantine
    ]
    listed = (
        Table(["reason", "partitions", "examples", "what to do"], rows, (1,))
        if rows
        else Paragraph("No partition is in quarantine.")
    )
    missed: list[tuple[Cell, ...]] = [(share.name, share.count, share.detail) for share in data.unscored]
    unscored = (
        Table(["not scored because", "partitions", "example"], missed, (1,))
        if missed
        else Paragraph("All were scored.")
    )
    never = int((data.partitions["status"] == NEVER).sum())
    note = Paragraph(f"Never fitted: {plural(never, 'partition')}.", "note") if never else None
    return section("quarantine", "Without a model", "", note, listed, Heading("Not scored"), unscored)


def partitions(data: ReportData, listed: int) -> Section:
    """The list of partitions with search and details, filled by the page's script."""
    cut = len(data.partitions) - listed
    text = f"Not listed: {plural(cut, 'partition')} with a low error, to keep this file small."
    example = f"{data.partition_by[0]}=… or any part of a name, id or model"
    return section(
        "partitions",
        "Every partition",
        "",
        Paragraph(text, "note") if cut else None,
        PartitionList(example, list(_KINDS.items())),
    )
