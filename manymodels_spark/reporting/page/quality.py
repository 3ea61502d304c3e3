"""The sections on how good the models are: errors, families, where it is hard, intervals."""

from __future__ import annotations

import math

import numpy as np

from manymodels_spark.display import plural
from manymodels_spark.reporting import figures, svg
from manymodels_spark.reporting.page.blocks import (
    Block,
    Cell,
    Drawing,
    Heading,
    Paragraph,
    Section,
    Side,
    Table,
    percent,
    section,
)
from manymodels_spark.reporting.records import FALLBACK, FITTED, ReportData, column

SLICES = 12


def errors(data: ReportData) -> Section:
    """How the metric is spread over partitions, and every metric by family."""
    values = data.partitions["metric"].to_numpy(float)
    found = figures.histogram(values)
    better = "higher is better" if data.higher_is_better else "lower is better"
    lead = f"The spec's metric is {data.metric} ({better}): one value per partition, from its backtest."
    if found is None:
        return section(
            "errors", "How good the models are", lead, Paragraph("No partition has a value of it.", "note")
        )
    missing = int((data.partitions["status"].isin([FITTED, FALLBACK]) & ~np.isfinite(values)).sum())
    why = "there was nothing to judge by, or the error's scale is zero"
    without = f"Without a value of it: {plural(missing, 'partition')} with a model; {why}."
    head = ["metric", "family", "partitions", "10 %", "25 %", "median", "75 %", "90 %"]
    rows: list[tuple[Cell, ...]] = [
        (row.metric, row.family, row.partitions, *row.quantiles) for row in data.spreads
    ]
    picture = svg.histogram(found, f"{data.metric} of {plural(int(np.isfinite(values).sum()), 'partition')}")
    return section(
        "errors",
        "How good the models are",
        lead,
        Drawing(picture),
        Paragraph(without) if missing else None,
        Heading("Quantiles over partitions"),
        Table(head, rows, range(2, 8)) if rows else None,
    )


def models(data: ReportData) -> Section:
    """Champions by family, and every candidate over all partitions."""
    total = sum(share.count for share in data.champions)
    shares: list[tuple[Cell, ...]] = [
        (
            share.name,
            share.count,
            percent(share.count, total),
            svg.share(share.count / total, share.name),
        )
        for share in data.champions
    ]
    left = (
        Table(["champion's family", "partitions", "share", ""], shares, (1, 2))
        if shares
        else Paragraph("No champion yet.", "note")
    )
    rows: list[tuple[Cell, ...]] = [
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
    right = Table(head, rows, range(1, 9)) if rows else Paragraph("No candidate has a score.")
    lead = "What is in production, and what each candidate did in the newest fit of every partition."
    return section("models", "Which models", lead, left, Heading("Candidates"), right)


def where(data: ReportData) -> Section:
    """The metric by each partition column, and by two of them as a heat map."""
    if not np.isfinite(data.partitions["metric"].to_numpy(float)).any():
        return section("where", "Where it is hard", "", Paragraph(f"No partition has a {data.metric}."))
    parts: list[Block] = []
    if (pair := _pair(data)) is not None and (found := figures.grid(data.partitions, *pair)) is not None:
        out = f" {found.left_out:,} partitions of rarer values are not in it." if found.left_out else ""
        parts += [
            Heading(f"{pair[0]} x {pair[1]}"),
            Paragraph(f"Median {data.metric} of each cell; grey where there is none.{out}"),
        ]
        parts.append(Drawing(svg.heat_map(found, data.metric), scrolls=True))
        parts.append(Drawing(svg.legend(svg.levels(found.values)), scrolls=True))
    tables = [made for name in data.partition_by if (made := _by_value(data, name))]
    if tables:
        parts.append(Side(tables))
    return section("where", "Where it is hard", f"{data.metric} by the columns that make a partition.", parts)


def _pair(data: ReportData) -> tuple[str, str] | None:
    """The first two columns with more than one value, the one with fewer values first;
    None where there are none.
    """
    sizes = {name: data.partitions[column(name)].nunique() for name in data.partition_by}
    varied = sorted(
        [name for name, size in sizes.items() if 1 < size <= 400][:2], key=lambda name: sizes[name]
    )
    return (varied[0], varied[1]) if len(varied) == 2 else None


def _by_value(data: ReportData, name: str) -> list[Block]:
    """A table of the hardest values of one partition column;
    empty where it has one value, or a value per partition.
    """
    slices, left_out = figures.slices(data.partitions, name, SLICES)
    if len(slices) < 2 or all(one.partitions == 1 for one in slices):
        return []
    most = max(one.high for one in slices)
    rows: list[tuple[Cell, ...]] = [
        (
            one.value[:80],
            one.partitions,
            one.low,
            one.median,
            one.high,
            svg.span(one.low, one.median, one.high, most),
        )
        for one in slices
    ]
    head = [name, "partitions", "25 %", "median", "75 %", f"{data.metric}, middle half"]
    blocks: list[Block] = [Heading(f"By {name}"), Table(head, rows, range(1, 5))]
    if left_out:
        blocks.append(Paragraph(f"{left_out:,} values with a lower median are not listed."))
    return blocks


def coverage(data: ReportData) -> Section:
    """Interval coverage in the backtest against what was promised."""
    lead = "The share of actual values inside the interval, in folds that the interval was not made from."
    if not data.coverage:
        why = (
            "Not measured: it requires backtest.folds of 2 or more and intervals."
            if data.task == "forecast"
            else "No intervals."
        )
        return section("coverage", "Do the intervals hold", lead, Paragraph(why))
    rows: list[tuple[Cell, ...]] = [
        (
            f"{row.level} %",
            row.partitions,
            *(_of_hundred(value) for value in (row.mean, row.low, row.high)),
            svg.share(row.mean or 0.0, f"{row.level} % promised", row.level / 100),
        )
        for row in data.coverage
    ]
    head = ["promised", "partitions", "found (mean)", "lowest tenth below", "highest tenth above", ""]
    return section("coverage", "Do the intervals hold", lead, Table(head, rows, range(5)))


def _of_hundred(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f} %"
