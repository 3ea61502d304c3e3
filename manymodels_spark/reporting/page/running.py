"""The sections about the run itself: counts that must add up, decisions of the promotion,
where the time went.
"""

from __future__ import annotations

from manymodels_spark.frames import records
from manymodels_spark.reporting import figures
from manymodels_spark.reporting.page.blocks import (
    Block,
    Cell,
    Heading,
    Link,
    Paragraph,
    Section,
    Sum,
    Table,
    duration,
    percent,
    section,
)
from manymodels_spark.reporting.records import ReportData, TrainRow


def counts(data: ReportData) -> Section:
    """Partitions in = fitted + unchanged + inactive + in quarantine, and what each stage did."""
    rows: list[list[Cell]] = [
        [row.stage, row.status, row.note, row.started_at, duration(row.seconds), row.calls]
        for row in data.stages
    ]
    return section(
        "counts",
        "What came in and what came out",
        "The newest run of each stage.",
        _reconciled(data.training[0])
        if data.training
        else Paragraph("No training run is recorded yet.", "note"),
        Table(["stage", "status", "what happened", "began", "took", "MLflow calls"], rows, (4, 5)),
    )


def _reconciled(run: TrainRow) -> list[Block]:
    if run.status != "done":
        text = (
            f"The newest training run ({run.run_id}) is {run.status}: its counts are not final. What it "
            "committed is shown."
        )
        return [Paragraph(text, "note")]
    names = ("partitions", "fitted", "unchanged", "inactive", "quarantined")
    found = {name: int(run.counts.get(name, 0)) for name in names}
    inactive = f"{found['inactive']:,} inactive + " if "inactive" in run.counts else ""
    sums = (
        f"{found['partitions']:,} in = {found['fitted']:,} fitted + {found['unchanged']:,} unchanged + "
        f"{inactive}{found['quarantined']:,} in quarantine"
    )
    blocks: list[Block] = [Sum(sums, 2 * found["partitions"] - sum(found.values()))]
    if _nothing(found):
        text = "Not one partition has a model. See the reasons under Without a model."
        blocks.append(Paragraph(text, "note"))
    return blocks


def _nothing(found: dict[str, int]) -> bool:
    return found["partitions"] > 0 and found["fitted"] + found["unchanged"] == 0


def decisions(data: ReportData) -> Section:
    """What the newest promotion decided, by reason."""
    if not data.decisions:
        return section("decisions", "What was promoted", "", Paragraph("Nothing was judged yet."))
    total = sum(row.count for row in data.decisions)
    rows: list[tuple[Cell, ...]] = [
        (row.name, row.detail, row.count, percent(row.count, total)) for row in data.decisions
    ]
    lead = (
        "The newest promotion: each model's decision with the gate that made it. The numbers are in each "
        "partition's detail."
    )
    return section(
        "decisions",
        "What was promoted",
        lead,
        Table(["decision", "because", "partitions", "share"], rows, (2, 3)),
    )


def time(data: ReportData) -> Section:
    """Training runs with their efficiency, and the partitions that took longest."""
    rows: list[tuple[Cell, ...]] = [
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
        Table(head, rows, range(3, 7)) if rows else Paragraph("No training run yet."),
        Heading("Slowest partitions"),
        _slowest(data),
    )


def _efficiency(run: TrainRow, cores: int) -> str:
    return percent(run.fit_seconds, run.seconds * cores) if run.fit_seconds and run.seconds else "–"


def _slowest(data: ReportData, count: int = 10) -> Block:
    slow = (
        figures.finite(data.partitions, "seconds")
        .sort_values("seconds", ascending=False, kind="stable")
        .head(count)
    )
    total = float(figures.finite(data.partitions, "seconds")["seconds"].sum())
    rows: list[tuple[Cell, ...]] = [
        (
            Link(row["partition_id"], figures.title_of(row, data.partition_by)),
            str(row["family"] or "–"),
            int(row["rows"]),
            duration(float(row["seconds"])),
            percent(float(row["seconds"]), total),
        )
        for row in records(slow)
    ]
    return (
        Table(["partition", "model", "rows", "fit", "of all fits"], rows, (2, 3, 4))
        if rows
        else Paragraph("Nothing was fitted.")
    )
