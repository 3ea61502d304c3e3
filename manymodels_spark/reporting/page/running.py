"""The sections about the run itself: counts that must add up, decisions of the promotion, where the time
went.
"""

from __future__ import annotations

from html import escape

from manymodels_spark.frames import records
from manymodels_spark.reporting import figures
from manymodels_spark.reporting.page.markup import (
    Markup,
    duration,
    heading,
    paragraph,
    percent,
    section,
    table,
    to_partition,
)
from manymodels_spark.reporting.records import ReportData, TrainRow


def counts(data: ReportData) -> Markup:
    """Partitions in = fitted + unchanged + inactive + in quarantine, by stage, and whether that is so."""
    parts: list[str] = []
    if not data.training:
        parts.append(paragraph("No training run is recorded yet.", "note"))
    else:
        parts.append(_reconciled(data.training[0]))
    rows = [
        (row.stage, row.status, row.note, row.started_at, duration(row.seconds), row.calls)
        for row in data.stages
    ]
    parts.append(table(["stage", "status", "what happened", "began", "took", "MLflow calls"], rows, (4, 5)))
    return section("counts", "What came in and what came out", "The newest run of each stage.", *parts)


def _reconciled(run: TrainRow) -> Markup:
    if run.status != "done":
        text = (
            f"The newest training run ({run.run_id}) is {run.status}: its counts are not final. What it "
            "committed is shown."
        )
        return paragraph(text, "note")
    found = {
        name: int(run.counts.get(name, 0))
        for name in ("partitions", "fitted", "unchanged", "inactive", "quarantined")
    }
    total = sum(found.values()) - found["partitions"]
    adds = total == found["partitions"]
    verdict = (
        '<b class="good">adds up</b>'
        if adds
        else f'<b class="bad">does not add up: {found["partitions"] - total:,} missing</b>'
    )
    inactive = f"{found['inactive']:,} inactive + " if found["inactive"] else ""
    sums = (
        f"{found['partitions']:,} in = {found['fitted']:,} fitted + {found['unchanged']:,} unchanged + "
        f"{inactive}{found['quarantined']:,} in quarantine"
    )
    none = (
        paragraph("Not one partition has a model. See the reasons under Without a model.", "note")
        if _nothing(found)
        else ""
    )
    return Markup(f'<p class="sum">{escape(sums)} &nbsp;{verdict}</p>{none}')


def _nothing(found: dict[str, int]) -> bool:
    return found["partitions"] > 0 and found["fitted"] + found["unchanged"] == 0


def decisions(data: ReportData) -> Markup:
    """What the newest promotion decided, by reason."""
    if not data.decisions:
        return section("decisions", "What was promoted", "", paragraph("Nothing was judged yet."))
    total = sum(row.count for row in data.decisions)
    rows = [(row.name, row.detail, row.count, percent(row.count, total)) for row in data.decisions]
    lead = (
        "The newest promotion: each model's decision with the gate that made it. The numbers stand in each "
        "partition's detail."
    )
    return section(
        "decisions",
        "What was promoted",
        lead,
        table(["decision", "because", "partitions", "share"], rows, (2, 3)),
    )


def time(data: ReportData) -> Markup:
    """Training runs with their efficiency, and the partitions that took longest."""
    rows = [
        (
            run.run_id,
            run.status,
            run.started_at,
            int(run.counts.get("fitted", 0)),
            duration(run.seconds),
            duration(run.fit_seconds),
            _efficiency(run, data.cores),
        )
        for run in data.training
    ]
    head = ["training run", "status", "began", "fitted", "took", "inside fits", "efficiency"]
    lead = (
        f"Efficiency is the share of {data.cores} cores' time that was spent inside fits; the rest is "
        "reading, shuffling, logging."
    )
    return section(
        "time",
        "Where the time went",
        lead,
        table(head, rows, range(3, 7)) if rows else paragraph("No training run yet."),
        heading("Slowest partitions"),
        _slowest(data),
    )


def _efficiency(run: TrainRow, cores: int) -> str:
    return percent(run.fit_seconds, run.seconds * cores) if run.fit_seconds and run.seconds else "–"


def _slowest(data: ReportData, count: int = 10) -> Markup:
    slow = (
        figures.finite(data.partitions, "seconds")
        .sort_values("seconds", ascending=False, kind="stable")
        .head(count)
    )
    total = float(figures.finite(data.partitions, "seconds")["seconds"].sum())
    rows = [
        (
            to_partition(row["partition_id"], figures.title_of(row, data.partition_by)),
            str(row["family"] or "–"),
            int(row["rows"]),
            duration(float(row["seconds"])),
            percent(float(row["seconds"]), total),
        )
        for row in records(slow)
    ]
    return (
        table(["partition", "model", "rows", "fit", "of all fits"], rows, (2, 3, 4))
        if rows
        else paragraph("Nothing was fitted.")
    )
