"""The report's sections in their order: what came in and went out, how good the models are, who needs a
person.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import numpy as np

from manymodels_spark.display import plural
from manymodels_spark.frames import records
from manymodels_spark.reporting import figures, svg
from manymodels_spark.reporting.page import running
from manymodels_spark.reporting.page.markup import (
    Markup,
    heading,
    paragraph,
    percent,
    scroll,
    section,
    table,
    to_partition,
)
from manymodels_spark.reporting.records import FAILED, FALLBACK, FITTED, NEVER, ReportData, column

SPARK_ROWS, SLICES = 84, 12
_KINDS = {
    "": "all",
    FITTED: "fitted",
    FALLBACK: "fallback",
    FAILED: "in quarantine",
    NEVER: "never fitted",
    "detail": "with history",
}


def sections(data: ReportData, listed: int) -> str:
    """The body of the page; `listed` partitions are in the data of its script."""
    parts: list[tuple[str, str, Callable[[], Markup]]] = [
        ("counts", "Counts", lambda: running.counts(data)),
        ("errors", "Errors", lambda: errors(data)),
        ("models", "Models", lambda: models(data)),
        ("where", "Where", lambda: where(data)),
        ("picks", "Best and worst", lambda: picks(data)),
        ("coverage", "Intervals", lambda: coverage(data)),
        ("quarantine", "Quarantine", lambda: quarantine(data)),
        ("decisions", "Promotion", lambda: running.decisions(data)),
        ("time", "Time", lambda: running.time(data)),
        ("partitions", "Partitions", lambda: partitions(data, listed)),
    ]
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in parts)
    head = (
        f"<header><h1>{escape(data.spec)}</h1><p class='soft'>{escape(data.task)} of {escape(data.target)} "
        "by "
        f"{escape(', '.join(data.partition_by))}, written "
        f"{escape(data.made_at)}</p><nav>{links}</nav></header>"
    )
    body = "".join(make() for _, _, make in parts)
    return (
        f"{head}<main>{tiles(data)}{body}</main><footer>Metrics are means over the backtest's folds.</footer>"
    )


def tiles(data: ReportData) -> str:
    """The few numbers that a person looks for first."""
    frame = data.partitions
    known = figures.finite(frame, "metric")
    both = figures.finite(known, "naive")
    usable = int(frame["status"].isin([FITTED, FALLBACK]).sum())
    shown = [
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
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><b class="{kind}">{value}</b><span>{escape(name)}</span></div>'
            for value, name, kind in shown
        )
        + "</div>"
    )


def errors(data: ReportData) -> Markup:
    """How the metric is spread over partitions, and every metric by family."""
    values = data.partitions["metric"].to_numpy(float)
    found = figures.histogram(values)
    better = "higher is better" if data.higher_is_better else "lower is better"
    lead = f"The spec's metric is {data.metric} ({better}): one value per partition, from its backtest."
    if found is None:
        return section(
            "errors", "How good the models are", lead, paragraph("No partition has a value of it.", "note")
        )
    missing = int((data.partitions["status"].isin([FITTED, FALLBACK]) & ~np.isfinite(values)).sum())
    why = "there was nothing to judge by, or the error's scale is zero"
    said = (
        paragraph(f"Without a value of it: {plural(missing, 'partition')} with a model; {why}.")
        if missing
        else ""
    )
    head = ["metric", "family", "partitions", "10 %", "25 %", "median", "75 %", "90 %"]
    rows = [(row.metric, row.family, row.partitions, *row.quantiles) for row in data.spreads]
    spreads = table(head, rows, range(2, 8)) if rows else ""
    picture = svg.histogram(found, f"{data.metric} of {plural(int(np.isfinite(values).sum()), 'partition')}")
    return section(
        "errors",
        "How good the models are",
        lead,
        picture,
        said,
        heading("Quantiles over partitions"),
        spreads,
    )


def models(data: ReportData) -> Markup:
    """Champions by family, and every candidate over all partitions."""
    total = sum(share.count for share in data.champions)
    shares = [
        (
            share.name,
            share.count,
            percent(share.count, total),
            Markup(svg.share(share.count / total, share.name)),
        )
        for share in data.champions
    ]
    left = (
        table(["champion's family", "partitions", "share", ""], shares, (1, 2))
        if shares
        else paragraph("No champion yet.", "note")
    )
    rows = [
        (
            row.candidate,
            row.tried,
            row.wins,
            percent(row.wins, row.tried),
            row.errors,
            *row.quartiles,
            row.seconds,
        )
        for row in data.candidates
    ]
    head = [
        "candidate",
        "tried",
        "won",
        "share won",
        "failed",
        f"{data.metric} 25 %",
        "median",
        "75 %",
        "core seconds",
    ]
    right = table(head, rows, range(1, 9)) if rows else paragraph("No candidate has a score.")
    lead = "What is in production, and what each candidate did in the newest fit of every partition."
    return section("models", "Which models", lead, left, heading("Candidates"), right)


def where(data: ReportData) -> Markup:
    """The metric by each partition column, and by two of them as a heat map."""
    if not np.isfinite(data.partitions["metric"].to_numpy(float)).any():
        return section("where", "Where it is hard", "", paragraph(f"No partition has a {data.metric}."))
    parts: list[str] = []
    if (pair := _pair(data)) is not None and (found := figures.grid(data.partitions, *pair)) is not None:
        out = f" {found.left_out:,} partitions of rarer values are not in it." if found.left_out else ""
        parts += [
            heading(f"{pair[0]} x {pair[1]}"),
            paragraph(f"Median {data.metric} of each cell; grey where there is none.{out}"),
        ]
        parts += [scroll(svg.heat_map(found, data.metric)), scroll(svg.legend(svg.levels(found.values)))]
    tables = [made for name in data.partition_by if (made := _by_value(data, name))]
    if tables:
        parts.append(f'<div class="{"two" if len(tables) > 1 else ""}">{"".join(tables)}</div>')
    return section(
        "where", "Where it is hard", f"{data.metric} by the columns that make a partition.", *parts
    )


def _pair(data: ReportData) -> tuple[str, str] | None:
    """The first two columns with more than one value, the one with fewer values first; None where there are
    none.
    """
    sizes = {name: data.partitions[column(name)].nunique() for name in data.partition_by}
    several = sorted(
        [name for name, size in sizes.items() if 1 < size <= 400][:2], key=lambda name: sizes[name]
    )
    return (several[0], several[1]) if len(several) == 2 else None


def _by_value(data: ReportData, name: str) -> str:
    """A table of the hardest values of one partition column; empty where it has one value, or a value per
    partition.
    """
    slices, left_out = figures.slices(data.partitions, name, SLICES)
    if len(slices) < 2 or all(one.partitions == 1 for one in slices):
        return ""
    most = max(one.high for one in slices)
    rows = [
        (
            one.value[:80],
            one.partitions,
            one.low,
            one.median,
            one.high,
            Markup(svg.span(one.low, one.median, one.high, most)),
        )
        for one in slices
    ]
    more = paragraph(f"{left_out:,} values with a lower median are not listed.") if left_out else ""
    head = [name, "partitions", "25 %", "median", "75 %", f"{data.metric}, middle half"]
    return f"<div>{heading(f'By {name}')}{table(head, rows, range(1, 5))}{more}</div>"


def picks(data: ReportData) -> Markup:
    """The partitions that a person should look at."""
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
    parts: list[str] = []
    for title, ids in names:
        parts.append(heading(title))
        parts.append(
            _picked(data, rows, ids) if ids else paragraph("None: no partition has a value to compare.")
        )
    return section("picks", "Who needs a person", lead, _legend(), *parts)


def _legend() -> Markup:
    """What the colours of a small chart stand for."""
    names = {
        "history": "history",
        "fold": "backtest folds",
        "forecast": "forecast",
        "band": "widest interval",
    }
    return Markup(
        '<p class="legend">'
        + "".join(f'<span class="key {kind}-key">{text}</span>' for kind, text in names.items())
        + "</p>"
    )


def _picked(data: ReportData, rows: Mapping[str, Mapping[str, Any]], ids: list[str]) -> Markup:
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
    lines = [
        (
            to_partition(one, figures.title_of(rows[one], data.partition_by)),
            _drawn(data, one),
            *_told(rows[one], _folds(data, rows[one])),
        )
        for one in ids
    ]
    return table(head, lines, (3, 5, 6, 7))


def _drawn(data: ReportData, partition: str) -> Markup:
    """The last rows of a partition with its forecast and the widest interval, small; a dash where they are
    not held.
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
    return Markup(svg.spark(series, "history, folds and forecast"))


def _folds(data: ReportData, row: Mapping[str, Any]) -> str:
    """The chosen candidate's metric in each fold, newest first."""
    near = data.details.get(str(row["partition_id"]))
    scores = near.scores if near is not None else []
    own = next((score for score in scores if score["candidate"] == row["family"]), None)
    folds: Any = own["folds"] if own is not None else []
    return "  ".join(svg.number(fold.get(data.metric)) for fold in folds) or "–"


def _told(row: Mapping[str, Any], folds: str) -> tuple[object, ...]:
    return (
        str(row["family"]),
        float(row["metric"]),
        folds,
        float(row["naive"]),
        float(row["previous"]),
        int(row["rows"]),
    )


def coverage(data: ReportData) -> Markup:
    """Interval coverage in the backtest against what was promised."""
    lead = "The share of actual values inside the interval, in folds that the interval was not made from."
    if not data.coverage:
        why = (
            "Not measured: it wants backtest.folds of 2 or more and intervals."
            if data.task == "forecast"
            else "No intervals."
        )
        return section("coverage", "Do the intervals hold", lead, paragraph(why))
    rows = [
        (
            f"{row.level} %",
            row.partitions,
            *(_of_hundred(value) for value in (row.mean, row.low, row.high)),
            Markup(svg.share(row.mean or 0.0, f"{row.level} % promised", row.level / 100)),
        )
        for row in data.coverage
    ]
    head = ["promised", "partitions", "found (mean)", "lowest tenth below", "highest tenth above", ""]
    return section("coverage", "Do the intervals hold", lead, table(head, rows, range(5)))


def _of_hundred(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f} %"


def quarantine(data: ReportData) -> Markup:
    """Partitions without a model by reason, and what was not scored."""
    if data.quarantine:
        rows = [
            (
                row.reason,
                row.partitions,
                "; ".join(f"{key}: {message}" for key, message in row.examples),
                row.advice,
            )
            for row in data.quarantine
        ]
        listed = table(["reason", "partitions", "examples", "what to do"], rows, (1,))
    else:
        listed = paragraph("Nobody is in quarantine.")
    missed = [(share.name, share.count, share.detail) for share in data.unscored]
    unscored = (
        table(["not scored because", "partitions", "example"], missed, (1,))
        if missed
        else paragraph("All were scored.")
    )
    never = int((data.partitions["status"] == NEVER).sum())
    said = paragraph(f"Never fitted: {plural(never, 'partition')}.", "note") if never else ""
    return section("quarantine", "Without a model", "", said, listed, heading("Not scored"), unscored)


def partitions(data: ReportData, listed: int) -> Markup:
    """The list of partitions: search, sort, and each from near. Filled by the page's script."""
    cut = len(data.partitions) - listed
    said = (
        paragraph(
            f"Not listed: {plural(cut, 'partition')} with a low error, to keep this file small.", "note"
        )
        if cut
        else ""
    )
    options = "".join(f'<option value="{value}">{text}</option>' for value, text in _KINDS.items())
    example = escape(f"{data.partition_by[0]}=… or any part of a name, id or model", quote=True)
    tools = (
        f'<div class="tools"><input id="search" type="search" aria-label="search" placeholder="{example}">'
        f'<select id="kind" aria-label="status">{options}</select></div>'
    )
    pages = (
        '<div class="tools"><button id="back" type="button">Back</button><button id="next" '
        'type="button">Next</button>'
        '<span id="listed" class="soft">The list wants a browser with JavaScript.</span></div>'
    )
    body = (
        '<div class="scroll"><table><thead id="heads"></thead><tbody id="rows" '
        'class="rows"></tbody></table></div>'
    )
    return section("partitions", "Every partition", "", said, tools, '<div id="detail"></div>', body, pages)
